"""A device beside exact and noisy simulation: expectation values and images."""
