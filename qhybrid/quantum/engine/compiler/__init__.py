"""From Qiskit circuits and observables to sequences of fixed gates, rotations and Pauli terms."""
