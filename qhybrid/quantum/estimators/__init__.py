"""Expectation values as Qiskit primitives: compiled, from shots, or by Aer."""
