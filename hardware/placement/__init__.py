"""A circuit on a device: its ISA circuit, its qubits, and several copies side by side."""
