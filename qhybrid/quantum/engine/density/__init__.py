"""Noisy circuits: density matrices, as Pauli coefficients, forwards and backwards."""
