"""Memory of the kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.kernels.opcodes import MAX_DENSE_STATES, SIGN_CHUNK
from qhybrid.quantum.engine.statevector.program import StateVectorProgram


class Workspace(NamedTuple):
    """Memory of one thread, all of the program's precision and one-dimensional, in vectors of `LANES` numbers.

    Attributes:
        psi, lam, spare: States; `spare` is where a permutation writes.
        half: cos and sin of half of each angle.
        blocks: Unitaries of the one-qubit blocks, four vectors each.
        angle_slopes: Gradient by angle.
        terms: Values, or weights, of the observables' Pauli terms.
        chunk: Probabilities, or weights, of `SIGN_CHUNK` basis states.
        room: Amplitudes that a dense matrix mixes.
    """

    psi: Any
    lam: Any
    spare: Any
    half: Any
    blocks: Any
    angle_slopes: Any
    terms: Any
    chunk: Any
    room: Any


def make_workspace(program: StateVectorProgram, real: type[np.floating], *, backward: bool) -> Workspace:
    """Memory for one thread; about 2 or 3 states of `LANES` samples.

    Args:
        program: Arrays of the circuit.
        real: Precision of the states.
        backward: Whether there is memory for a backward pass.
    """

    def array(rows: int) -> Any:
        return np.zeros(max(rows, 1) * LANES, dtype=real)

    dim = 2**program.num_qubits
    num_terms = len(program.diagonal) + len(program.paulis)
    return Workspace(
        psi=array(2 * dim),
        lam=array(2 * dim if backward else 1),
        spare=array(2 * dim),
        half=array(2 * len(program.angle_offset)),
        blocks=array(4 * (len(program.block_start) - 1)),
        angle_slopes=array(len(program.angle_offset)),
        terms=array(max(num_terms, int(program.obs_term.max(initial=0)) + 1)),
        chunk=array(SIGN_CHUNK),
        room=array(2 * MAX_DENSE_STATES),
    )
