"""From gates to the arrays that the kernels interpret.

One-qubit gates are merged into blocks (one unitary in SU(2) per sample, written (a, b) for [[a, -b*], [b, a*]]);
runs of gates that only permute basis states and turn phases (CX, CZ, SWAP, CCX, ...) become one table; the first
block of a qubit that nothing else has touched is folded into the initial product state. The kernels are compiled once
for all circuits, because a circuit is data to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qhybrid.quantum.engine.compiler.angles import Angle
from qhybrid.quantum.engine.compiler.lowering import Fixed, Op, Rotation
from qhybrid.quantum.engine.compiler.paulis import Observables, pauli_of
from qhybrid.quantum.engine.kernels.opcodes import BLOCK, DENSE, FIXED_ELEMENT, PERMUTE, ROTATE, SIGN_CHUNK

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]


class StateVectorProgram(NamedTuple):
    """A circuit with observables as arrays; T is float32 or float64, D = 2**num_qubits.

    Attributes:
        num_qubits: Number of qubits of the compacted circuit.
        ops: Operations (n_ops, 5): kind and arguments. BLOCK: qubit, block. ROTATE: angle, x, z, number of Y. PERMUTE:
            table, phase table or -1. DENSE: offset in `dense`, number of qubits, offset in `dense_qubits`.
        initial: (num_qubits,) block that prepares the qubit from |0>, or -1.
        block_start: (n_blocks + 1,) range of each block in `elements`.
        elements: (n_elements, 2) kind; angle or constant.
        constants: (n_constants, 4) T, re a, im a, re b, im b of constant one-qubit gates.
        constant_turns: (n_constants, 9) T, M[P][Q] with E P E^dagger = sum_Q M[P][Q] Q for P, Q = X, Y, Z.
        angle_start, angle_feature, angle_slope, angle_offset: angles as sparse affine maps of the features.
        tables: (n_tables, D) int32, source state of each target state.
        phases: Phases that go with the tables, (n_phase_tables, 2 * D) T, real and imaginary parts interleaved.
        dense, dense_qubits: matrices (re, im interleaved, row major) and their qubits.
        diagonal: (T_z, 2) z mask and term of the strings of I and Z.
        sign_table: (T_z, min(D, SIGN_CHUNK)) T, signs of these strings over the first basis states.
        paulis: (T_x, 4) x, z, number of Y, term of the strings that are not diagonal.
        obs_start, obs_term, obs_coefficient, obs_constant: observables as sparse combinations of terms.
    """

    num_qubits: int
    ops: Ints
    initial: Ints
    block_start: Ints
    elements: Ints
    constants: Floats
    constant_turns: Floats
    angle_start: Ints
    angle_feature: Ints
    angle_slope: NDArray[np.float64]
    angle_offset: NDArray[np.float64]
    tables: NDArray[np.int32]
    phases: Floats
    dense: Floats
    dense_qubits: Ints
    diagonal: Ints
    sign_table: Floats
    paulis: Ints
    obs_start: Ints
    obs_term: Ints
    obs_coefficient: NDArray[np.float64]
    obs_constant: NDArray[np.float64]


def assemble(
    ops: Sequence[Op], qubits: Sequence[int], observables: Observables, real: type[np.floating]
) -> StateVectorProgram:
    """Arrays of a circuit.

    Args:
        ops: Gates on any qubits.
        qubits: The qubits that carry the state; position k of the list becomes bit k.
        observables: Observables on the compacted qubits.
        real: `numpy.float32` or `numpy.float64`.
    """
    builder = _Builder({qubit: index for index, qubit in enumerate(qubits)})
    for op in ops:
        builder.append(op)
    return builder.finish(observables, real)


@dataclass
class _Permutation:
    source: Ints
    phase: NDArray[np.complex128]
    qubits: set[int]


@dataclass
class _Builder:
    place: dict[int, int]
    angles: dict[Angle, int] = field(default_factory=dict)
    ops: list[tuple[int, ...]] = field(default_factory=list)
    blocks: list[list[tuple[int, int]]] = field(default_factory=list)
    constants: list[NDArray[np.complex128]] = field(default_factory=list)
    pending: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    permutation: _Permutation | None = None
    tables: list[_Permutation] = field(default_factory=list)
    dense: list[Fixed] = field(default_factory=list)
    untouched: set[int] = field(default_factory=set)
    initial: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.untouched = set(self.place.values())

    def append(self, op: Op) -> None:
        qubits = [self.place[q] for q in op.qubits]
        if len(qubits) == 1:
            self.pending.setdefault(qubits[0], []).append(self._element(op))
            return
        for qubit in qubits:
            self._flush_block(qubit)
        if isinstance(op, Rotation):
            self._flush_permutation(qubits)
            local = Rotation(tuple(qubits), op.pauli, op.angle)
            x, z = pauli_of(local)
            self._emit(qubits, ROTATE, self._angle(op.angle), x, z, (x & z).bit_count())
            return
        step = _as_permutation(op.matrix, qubits, len(self.place))
        if step is None:
            self._flush_permutation(qubits)
            offset = sum(2 * item.matrix.size for item in self.dense)
            where = sum(len(item.qubits) for item in self.dense)
            self.dense.append(Fixed(tuple(qubits), op.matrix))
            self._emit(qubits, DENSE, offset, len(qubits), where)
        elif self.permutation is None:
            self.permutation = step
        else:
            before = self.permutation
            self.permutation = _Permutation(
                before.source[step.source], step.phase * before.phase[step.source], before.qubits | step.qubits
            )

    def finish(self, observables: Observables, real: type[np.floating]) -> StateVectorProgram:
        for qubit in sorted(self.pending):
            self._flush_block(qubit)
        self._flush_permutation(None)
        n = len(self.place)
        sizes = [len(block) for block in self.blocks]
        angles = list(self.angles)
        diagonal = [(z, t) for t, (x, z) in enumerate(observables.paulis) if not x and z]
        others = [(x, z, (x & z).bit_count(), t) for t, (x, z) in enumerate(observables.paulis) if x]
        rows, terms = np.nonzero(observables.coefficients)
        varying = np.array([observables.paulis[t] != (0, 0) for t in terms], dtype=bool)
        constant = np.zeros(len(observables.coefficients))
        np.add.at(constant, rows[~varying], observables.coefficients[rows[~varying], terms[~varying]])
        rows, terms = rows[varying], terms[varying]
        phased = [table for table in self.tables if np.any(table.phase != 1)]
        states = np.arange(min(2**n, SIGN_CHUNK))
        return StateVectorProgram(
            num_qubits=n,
            ops=_table([self._with_phase_index(op, phased) for op in self.ops], 5),
            initial=np.array([self.initial.get(q, -1) for q in range(n)], dtype=np.int64),
            block_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            elements=_table([element for block in self.blocks for element in block], 2),
            constants=np.array([_su2(m) for m in self.constants], dtype=real).reshape(-1, 4),
            constant_turns=np.array([_turn(m) for m in self.constants], dtype=real).reshape(-1, 9),
            angle_start=np.concatenate([[0], np.cumsum([len(a.terms) for a in angles])]).astype(np.int64),
            angle_feature=np.array([k for a in angles for k, _ in a.terms], dtype=np.int64),
            angle_slope=np.array([c for a in angles for _, c in a.terms], dtype=np.float64),
            angle_offset=np.array([a.offset for a in angles], dtype=np.float64),
            tables=np.array([table.source for table in self.tables], dtype=np.int32).reshape(-1, 2**n),
            phases=np.array([_interleave(table.phase) for table in phased], dtype=real).reshape(-1, 2 * 2**n),
            dense=np.concatenate([np.zeros(0), *(_interleave(m.matrix.ravel()) for m in self.dense)]).astype(real),
            dense_qubits=np.array([q for item in self.dense for q in item.qubits], dtype=np.int64),
            diagonal=_table(diagonal, 2),
            sign_table=np.array([_signs(states & z) for z, _ in diagonal], dtype=real).reshape(-1, len(states)),
            paulis=_table(others, 4),
            obs_start=np.searchsorted(rows, np.arange(len(constant) + 1)).astype(np.int64),
            obs_term=terms.astype(np.int64),
            obs_coefficient=np.ascontiguousarray(observables.coefficients[rows, terms], dtype=np.float64),
            obs_constant=constant,
        )

    def _element(self, op: Op) -> tuple[int, int]:
        if isinstance(op, Rotation):
            return "XYZ".index(op.pauli), self._angle(op.angle)
        self.constants.append(op.matrix)
        return FIXED_ELEMENT, len(self.constants) - 1

    def _angle(self, angle: Angle) -> int:
        return self.angles.setdefault(angle, len(self.angles))

    def _flush_block(self, qubit: int) -> None:
        block = self.pending.pop(qubit, None)
        if block is None:
            return
        # A run of permutations stays open while blocks act on other qubits: a CX ladder becomes one table that way.
        self._flush_permutation([qubit])
        self.blocks.append(block)
        if qubit in self.untouched:
            self.initial[qubit] = len(self.blocks) - 1
            self.untouched.discard(qubit)
        else:
            self._emit([qubit], BLOCK, qubit, len(self.blocks) - 1)

    def _flush_permutation(self, qubits: Sequence[int] | None) -> None:
        waiting = self.permutation
        if waiting is None or (qubits is not None and not waiting.qubits.intersection(qubits)):
            return
        self.permutation = None
        if np.array_equal(waiting.source, np.arange(len(waiting.source))) and np.all(waiting.phase == 1):
            return
        self.tables.append(waiting)
        self._emit(sorted(waiting.qubits), PERMUTE, len(self.tables) - 1)

    def _emit(self, qubits: Sequence[int], *op: int) -> None:
        self.untouched.difference_update(qubits)
        self.ops.append((*op, *[0] * (5 - len(op))))

    def _with_phase_index(self, op: tuple[int, ...], phased: list[_Permutation]) -> tuple[int, ...]:
        if op[0] != PERMUTE:
            return op
        index = next((k for k, table in enumerate(phased) if table is self.tables[op[1]]), -1)
        return (PERMUTE, op[1], index, 0, 0)


def _as_permutation(matrix: NDArray[np.complex128], qubits: Sequence[int], num_qubits: int) -> _Permutation | None:
    """The gate as a table over all basis states if each row holds one entry, else None."""
    significant = np.abs(matrix) > 1e-12
    if np.any(significant.sum(axis=1) != 1):
        return None
    column = significant.argmax(axis=1)
    phase = matrix[np.arange(len(matrix)), column]
    states = np.arange(2**num_qubits, dtype=np.int64)
    local = sum((states >> q & 1) << k for k, q in enumerate(qubits))
    source = states & ~sum(1 << q for q in qubits)
    for k, q in enumerate(qubits):
        source |= (column[local] >> k & 1) << q
    return _Permutation(source, phase[local], set(qubits))


def _su2(matrix: NDArray[np.complex128]) -> tuple[float, float, float, float]:
    """(re a, im a, re b, im b) of a one-qubit unitary without its global phase."""
    special = matrix / np.sqrt(np.linalg.det(matrix) + 0j)
    return special[0, 0].real, special[0, 0].imag, special[1, 0].real, special[1, 0].imag


def _turn(matrix: NDArray[np.complex128]) -> NDArray[np.float64]:
    paulis = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    turned = matrix @ paulis @ matrix.conj().T
    return np.asarray(np.real(np.einsum("qab,pba->pq", paulis, turned)).ravel() / 2, dtype=np.float64)


def _interleave(values: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.ascontiguousarray(values, dtype=np.complex128).view(np.float64)


def _signs(masked: Ints) -> NDArray[np.float64]:
    return np.asarray(1.0 - 2.0 * (np.bitwise_count(masked) & 1), dtype=np.float64)


def _table(rows: Sequence[tuple[int, ...]], columns: int) -> Ints:
    return np.array(rows, dtype=np.int64).reshape(-1, columns)
