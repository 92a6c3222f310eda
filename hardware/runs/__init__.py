"""What is done to a run directory on a device: plan, submit, fetch, infer, replay, variants."""
