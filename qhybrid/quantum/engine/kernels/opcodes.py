"""What a program's numbers mean: operation kinds, element kinds, and the sizes that kernels and programs agree on."""

BLOCK, ROTATE, PERMUTE, DENSE = range(4)
"""Operation kinds: one-qubit block, Pauli rotation on several qubits, basis permutation with phases, dense matrix."""
FIXED_ELEMENT = 3
"""Element kinds of a block: 0, 1, 2 are rotations about X, Y, Z; 3 is a constant gate or, under noise, channel."""
SIGN_CHUNK = 256
"""Basis states whose signs are tabulated for diagonal observables; higher bits give one more sign per chunk."""
MAX_DENSE_STATES = 64
"""Basis states of the largest constant unitary that is applied as a matrix (6 qubits)."""
SUM_RUN = 64
"""Terms that are added up before they join a longer sum, which keeps single precision accurate."""
