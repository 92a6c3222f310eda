"""Training loop, averaged weights, checkpoints."""
