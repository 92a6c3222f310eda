"""Expectation values of any circuit on a device, through Qiskit's estimator interface: placed, paid once, resumable."""
