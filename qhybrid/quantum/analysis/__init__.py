"""What a circuit can learn and what a device leaves of it, told before any training."""
