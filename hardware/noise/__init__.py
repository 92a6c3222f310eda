"""Quantum noise drawn from a device into a bank."""
