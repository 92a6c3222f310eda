"""Probabilities of all outcomes of a noiseless circuit, for shots to be drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.compiler.lowering import Fixed, Op, Rotation
from qhybrid.quantum.engine.compiler.paulis import pauli_of
from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.vectors import fma, staged
from qhybrid.quantum.engine.statevector.gates import dense, rotate

_MAX_DENSE = 64


class OutcomeProgram(NamedTuple):
    """A circuit whose rotation k turns by angle k.

    Attributes:
        num_qubits: Number of qubits that carry the state.
        ops: Operations (n_ops, 5): rotations 0, angle, x, z, number of Y; constant gates 1, offset, number of qubits,
            offset in `qubits`, 0.
        matrices: Matrices of the constant gates, one after the other: real and imaginary parts interleaved, row major.
        qubits: Qubits that the matrices act on, one matrix after the other.
    """

    num_qubits: int
    ops: NDArray[np.int64]
    matrices: NDArray[np.float64]
    qubits: NDArray[np.int64]


def outcome_program(ops: Sequence[Op], qubits: Sequence[int]) -> OutcomeProgram:
    """Arrays of a circuit on the given qubits; position k of the list becomes bit k."""
    place = {qubit: index for index, qubit in enumerate(qubits)}
    rows: list[tuple[int, ...]] = []
    matrices: list[NDArray[np.float64]] = [np.zeros(0)]
    where: list[int] = []
    size = angles = 0
    for op in ops:
        local = tuple(place[q] for q in op.qubits)
        if isinstance(op, Rotation):
            x, z = pauli_of(Rotation(local, op.pauli, op.angle))
            rows.append((0, angles, x, z, (x & z).bit_count()))
            angles += 1
        elif isinstance(op, Fixed):
            rows.append((1, size, len(local), len(where), 0))
            matrices.append(np.ascontiguousarray(op.matrix, dtype=np.complex128).view(np.float64).ravel())
            where.extend(local)
            size += len(matrices[-1])
    return OutcomeProgram(
        len(qubits),
        np.array(rows, dtype=np.int64).reshape(-1, 5),
        np.concatenate(matrices),
        np.array(where, dtype=np.int64),
    )


def probabilities(program: OutcomeProgram, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (B, 2^n) of the outcomes in the Z basis at angles (B, K)."""
    dim = 2**program.num_qubits
    out = np.empty((len(angles), dim))
    psi, half, room = (np.zeros(rows * LANES) for rows in (2 * dim, 2, 2 * _MAX_DENSE))
    _probabilities(program, np.ascontiguousarray(angles, dtype=np.float64), psi, half, room, out)
    return out


@staged()
def _store_probability(room: Any, psi: Any, k: Any) -> None:
    x = psi[k]
    room.set_lane(0, fma(x.im, x.im, x.re * x.re))


@kernel(from_python=True)
def _probabilities(program: OutcomeProgram, angles: Any, psi: Any, half: Any, room: Any, out: Any) -> None:
    dim = 1 << program.num_qubits
    for sample in range(0, out.shape[0], LANES):
        psi[:] = 0.0
        psi[:LANES] = 1.0
        for index in range(program.ops.shape[0]):
            op = program.ops[index]
            if op[0] == 0:
                for lane in range(LANES):
                    angle = angles[min(sample + lane, out.shape[0] - 1), op[1]]
                    half[lane] = math.cos(angle / 2)
                    half[LANES + lane] = math.sin(angle / 2)
                rotate(psi, dim, op[2], op[3], op[4], half, 0, 1)
            else:
                dense(psi, dim, program.matrices, op[1], program.qubits, op[2], op[3], False, room)
        for k in range(dim):
            _store_probability(room, psi, k)
            for lane in range(min(LANES, out.shape[0] - sample)):
                out[sample + lane, k] = room[lane]
