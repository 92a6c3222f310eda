"""From rotations and channels to the arrays that the density-matrix kernels interpret.

As in `program`, a circuit is data to kernels that are compiled once. Rotations and channels on one qubit become
blocks (one affine map of the qubit's Bloch vector per sample); runs of Clifford gates with Pauli errors become one
table over all coefficients; any other channel is kept as the few entries of its matrix; the first block of a qubit
that nothing else has touched is folded into the initial product state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qhybrid.quantum.engine.compiler.angles import Angle
from qhybrid.quantum.engine.compiler.lowering import Rotation
from qhybrid.quantum.engine.compiler.paulis import Observables, Pauli, pauli_of
from qhybrid.quantum.engine.density.tables import Table, as_table, rotation_pairs, string_index
from qhybrid.quantum.engine.kernels.opcodes import FIXED_ELEMENT
from qhybrid.quantum.noise.channels import Channel, NoisyOp

BLOCK, ROTATE, TABLE, SPARSE = range(4)
"""Operation kinds: affine map of one qubit, Pauli rotation on several, signed scaled permutation, sparse matrix."""

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]


class DensityProgram(NamedTuple):
    """A noisy circuit with observables as arrays; T is float32 or float64, D = 4**num_qubits.

    Attributes:
        num_qubits: Qubits of the compacted circuit.
        ops: Operations (n_ops, 4): kind and arguments. BLOCK: qubit, block. ROTATE: angle, pair table. TABLE: table.
            SPARSE: matrix, number of qubits, offset in `sparse_qubits`.
        unital: Array (n_blocks,) of 0 and 1: 1 if the block maps the Bloch vector linearly, without a shift.
        initial: Block (num_qubits,) that prepares the qubit from |0>, or -1.
        block_start: (n_blocks + 1,) range of each block in `elements`.
        elements: (n_elements, 2) kind; angle or constant.
        constants: (n_constants, 12) T, rows X, Z, Y and columns I, X, Z, Y of constant channels on one qubit.
        angle_start, angle_feature, angle_slope, angle_offset: angles as sparse affine maps of the features.
        pairs: (n_pair_tables, D / 4, 2) int32; a rotation maps (r_0, r_1) to (c r_0 + s r_1, c r_1 - s r_0).
        table_source, table_factor: (n_tables, D) int32 and T; target = factor * state[source].
        sparse_row: (n_matrices, 257) ranges of the rows of each matrix in `sparse_column` and `sparse_value`.
        sparse_column, sparse_value: columns and values of the entries that are not 0.
        sparse_qubits: qubits of the matrices.
        obs_term: coefficients of the final state that are read.
        obs_start, obs_index, obs_coefficient, obs_constant: observables as sparse combinations of these coefficients.
    """

    num_qubits: int
    ops: Ints
    unital: Ints
    initial: Ints
    block_start: Ints
    elements: Ints
    constants: Floats
    angle_start: Ints
    angle_feature: Ints
    angle_slope: NDArray[np.float64]
    angle_offset: NDArray[np.float64]
    pairs: NDArray[np.int32]
    table_source: NDArray[np.int32]
    table_factor: Floats
    sparse_row: Ints
    sparse_column: Ints
    sparse_value: Floats
    sparse_qubits: Ints
    obs_term: Ints
    obs_start: Ints
    obs_index: Ints
    obs_coefficient: NDArray[np.float64]
    obs_constant: NDArray[np.float64]


def assemble_density(
    ops: Sequence[NoisyOp], qubits: Sequence[int], observables: Observables, real: type[np.floating]
) -> DensityProgram:
    """Arrays of a noisy circuit.

    Args:
        ops: Rotations and channels on any qubits.
        qubits: The qubits that carry the state; position k of the list becomes qubit k.
        observables: Observables on the compacted qubits.
        real: `numpy.float32` or `numpy.float64`.
    """
    builder = _Builder({qubit: index for index, qubit in enumerate(qubits)})
    for op in ops:
        builder.append(op)
    return builder.finish(observables, real)


@dataclass
class _Builder:
    place: dict[int, int]
    angles: dict[Angle, int] = field(default_factory=dict)
    ops: list[tuple[int, ...]] = field(default_factory=list)
    blocks: list[list[tuple[int, int]]] = field(default_factory=list)
    constants: list[NDArray[np.float64]] = field(default_factory=list)
    pending: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    waiting: Table | None = None
    tables: list[Table] = field(default_factory=list)
    pairs: dict[Pauli, NDArray[np.int32]] = field(default_factory=dict)
    sparse: list[NDArray[np.float64]] = field(default_factory=list)
    sparse_qubits: list[int] = field(default_factory=list)
    untouched: set[int] = field(default_factory=set)
    initial: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.untouched = set(self.place.values())

    def append(self, op: NoisyOp) -> None:
        qubits = tuple(self.place[q] for q in op.qubits)
        if len(qubits) == 1:
            self.pending.setdefault(qubits[0], []).append(self._element(op))
            return
        for qubit in qubits:
            self._flush_block(qubit)
        if isinstance(op, Rotation):
            self._flush_table(qubits)
            generator = pauli_of(Rotation(qubits, op.pauli, op.angle))
            if generator not in self.pairs:
                self.pairs[generator] = rotation_pairs(generator, len(self.place))
            self._emit(qubits, ROTATE, self._angle(op.angle), list(self.pairs).index(generator))
            return
        step = as_table(Channel(qubits, op.matrix), len(self.place))
        if step is None:
            self._flush_table(qubits)
            self._emit(qubits, SPARSE, self._matrix(op.matrix), len(qubits), len(self.sparse_qubits))
            self.sparse_qubits.extend(qubits)
        elif self.waiting is None:
            self.waiting = step
        else:
            before = self.waiting
            self.waiting = Table(
                before.source[step.source], step.factor * before.factor[step.source], before.qubits | step.qubits
            )

    def finish(self, observables: Observables, real: type[np.floating]) -> DensityProgram:
        for qubit in sorted(self.pending):
            self._flush_block(qubit)
        self._flush_table(None)
        n = len(self.place)
        rows, terms = np.nonzero(observables.coefficients)
        varying = np.array([observables.paulis[t] != (0, 0) for t in terms], dtype=bool)
        constant = np.zeros(len(observables.coefficients))
        np.add.at(constant, rows[~varying], observables.coefficients[rows[~varying], terms[~varying]])
        rows, terms = rows[varying], terms[varying]
        angles = list(self.angles)
        entries = [np.nonzero(matrix) for matrix in self.sparse]
        starts = np.cumsum([0, *(len(entry[0]) for entry in entries)])
        return DensityProgram(
            num_qubits=n,
            ops=np.array([(*op, *[0] * (4 - len(op))) for op in self.ops], dtype=np.int64).reshape(-1, 4),
            unital=np.array([self._is_unital(block) for block in self.blocks], dtype=np.int64),
            initial=np.array([self.initial.get(q, -1) for q in range(n)], dtype=np.int64),
            block_start=np.cumsum([0, *(len(block) for block in self.blocks)]).astype(np.int64),
            elements=np.array([e for block in self.blocks for e in block], dtype=np.int64).reshape(-1, 2),
            constants=np.array([matrix[1:].ravel() for matrix in self.constants], dtype=real).reshape(-1, 12),
            angle_start=np.cumsum([0, *(len(a.terms) for a in angles)]).astype(np.int64),
            angle_feature=np.array([k for a in angles for k, _ in a.terms], dtype=np.int64),
            angle_slope=np.array([c for a in angles for _, c in a.terms], dtype=np.float64),
            angle_offset=np.array([a.offset for a in angles], dtype=np.float64),
            pairs=np.array(list(self.pairs.values()), dtype=np.int32).reshape(-1, 4**n // 4, 2),
            table_source=np.array([table.source for table in self.tables], dtype=np.int32).reshape(-1, 4**n),
            table_factor=np.array([table.factor for table in self.tables], dtype=real).reshape(-1, 4**n),
            sparse_row=np.array(
                [
                    start + np.searchsorted(entry[0], np.arange(257))
                    for start, entry in zip(starts, entries, strict=False)
                ],
                dtype=np.int64,
            ).reshape(-1, 257),
            sparse_column=np.concatenate([np.zeros(0), *(entry[1] for entry in entries)]).astype(np.int64),
            sparse_value=np.concatenate([np.zeros(0), *(m[m != 0] for m in self.sparse)]).astype(real),
            sparse_qubits=np.array(self.sparse_qubits, dtype=np.int64),
            obs_term=np.array([string_index(pauli, n) for pauli in observables.paulis], dtype=np.int64),
            obs_start=np.searchsorted(rows, np.arange(len(constant) + 1)).astype(np.int64),
            obs_index=terms.astype(np.int64),
            obs_coefficient=np.ascontiguousarray(observables.coefficients[rows, terms], dtype=np.float64),
            obs_constant=constant,
        )

    def _element(self, op: NoisyOp) -> tuple[int, int]:
        if isinstance(op, Rotation):
            return "XYZ".index(op.pauli), self._angle(op.angle)
        for index, known in enumerate(self.constants):
            if np.array_equal(known, op.matrix):
                return FIXED_ELEMENT, index
        self.constants.append(op.matrix)
        return FIXED_ELEMENT, len(self.constants) - 1

    def _is_unital(self, block: list[tuple[int, int]]) -> bool:
        return not any(kind == FIXED_ELEMENT and self.constants[which][1:, 0].any() for kind, which in block)

    def _matrix(self, matrix: NDArray[np.float64]) -> int:
        for index, known in enumerate(self.sparse):
            if np.array_equal(known, matrix):
                return index
        self.sparse.append(matrix)
        return len(self.sparse) - 1

    def _angle(self, angle: Angle) -> int:
        return self.angles.setdefault(angle, len(self.angles))

    def _flush_block(self, qubit: int) -> None:
        block = self.pending.pop(qubit, None)
        if block is None:
            return
        # A run of permutations stays open while blocks act on other qubits: a noisy CX ladder becomes one table.
        self._flush_table([qubit])
        self.blocks.append(block)
        if qubit in self.untouched:
            self.initial[qubit] = len(self.blocks) - 1
            self.untouched.discard(qubit)
        else:
            self._emit([qubit], BLOCK, qubit, len(self.blocks) - 1)

    def _flush_table(self, qubits: Sequence[int] | None) -> None:
        waiting = self.waiting
        if waiting is None or (qubits is not None and not waiting.qubits.intersection(qubits)):
            return
        self.waiting = None
        # Layers of an ansatz repeat: equal tables are stored once.
        same = (
            k
            for k, known in enumerate(self.tables)
            if np.array_equal(known.source, waiting.source) and np.array_equal(known.factor, waiting.factor)
        )
        index = next(same, len(self.tables))
        if index == len(self.tables):
            self.tables.append(waiting)
        self._emit(waiting.qubits, TABLE, index)

    def _emit(self, qubits: Sequence[int] | frozenset[int], *op: int) -> None:
        self.untouched.difference_update(qubits)
        self.ops.append(op)
