"""The only door to the primitives of Runtime: what is sent, sending it, and judging what comes back."""
