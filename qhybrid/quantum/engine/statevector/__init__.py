"""Noiseless circuits: state vectors forwards and backwards."""
