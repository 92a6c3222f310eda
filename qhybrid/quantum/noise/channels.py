"""Quantum channels as real matrices on Pauli coefficients, and what a circuit of them can be shortened to.

A density matrix is rho = 2^-n sum_P r_P P with real r_P = Tr(P rho). In these coordinates a channel on k qubits is a
real 4^k x 4^k matrix (its Pauli transfer matrix), a Pauli channel is diagonal, a Clifford gate a signed permutation,
and a rotation exp(-i angle/2 P) turns pairs of coefficients. An expectation value is a coefficient of the final state.

Index of a Pauli string: two bits per qubit, x then z (I, X, Z, Y = 0, 1, 2, 3); `qubits[0]` has the lowest bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.compiler.lowering import Rotation
from qhybrid.quantum.engine.compiler.paulis import Observables, Pauli, commute, local_paulis, pauli_of

Array = NDArray[np.float64]

MAX_CHANNEL_QUBITS = 4
_TINY = 1e-14


@dataclass(frozen=True, eq=False)
class Channel:
    """A constant trace-preserving map.

    Attributes:
        qubits: The k qubits that it acts on.
        matrix: Map of the coefficients of the Pauli strings on these qubits, float64 (4^k, 4^k).
    """

    qubits: tuple[int, ...]
    matrix: Array


NoisyOp = Rotation | Channel


def channel_of_unitary(qubits: Sequence[int], unitary: NDArray[np.complex128]) -> Channel:
    """The channel rho -> U rho U^dagger.

    Raises:
        CircuitError: More than 4 qubits.
    """
    _require_small(len(qubits))
    return channel_of_superoperator(qubits, np.kron(unitary.conj(), unitary).astype(np.complex128, copy=False))


def channel_of_superoperator(qubits: Sequence[int], superoperator: NDArray[np.complex128]) -> Channel:
    """A channel from the matrix on column-stacked density matrices (`qiskit.quantum_info.SuperOp`).

    Raises:
        CircuitError: More than 4 qubits.
    """
    size = len(qubits)
    _require_small(size)
    strings = local_paulis(size).transpose(0, 2, 1).reshape(4**size, 4**size)
    matrix = np.real(strings.conj() @ superoperator @ strings.T) / 2**size
    matrix[np.abs(matrix) < _TINY] = 0.0
    return Channel(tuple(qubits), np.ascontiguousarray(matrix))


def dual(channel: Channel, pauli: Pauli) -> dict[Pauli, float]:
    """The observable before the channel whose expectation value equals that of `pauli` behind it."""
    x, z = pauli
    mask = sum(1 << q for q in channel.qubits)
    code = sum(((x >> q & 1) | (z >> q & 1) << 1) << 2 * k for k, q in enumerate(channel.qubits))
    row = channel.matrix[code]
    terms: dict[Pauli, float] = {}
    for index in np.flatnonzero(row):
        new_x = sum((int(index) >> 2 * k & 1) << q for k, q in enumerate(channel.qubits))
        new_z = sum((int(index) >> 2 * k + 1 & 1) << q for k, q in enumerate(channel.qubits))
        terms[(x & ~mask) | new_x, (z & ~mask) | new_z] = float(row[index])
    return terms


def absorb_channels(ops: Sequence[NoisyOp], observables: Observables) -> tuple[list[NoisyOp], Observables]:
    """An equivalent, shorter circuit with other observables.

    What acts outside the light cone of all observables is dropped, and so are rotations at the end that commute with
    them; constant channels at the end are moved into the observables, where they cost nothing as long as these do not
    become many strings.
    """
    terms = {pauli: observables.coefficients[:, t].copy() for t, pauli in enumerate(observables.paulis)}
    limit = max(64, 4 * len(terms))
    kept: list[NoisyOp] = []
    blocked, cone = 0, _support(terms)
    for op in reversed(ops):
        mask = sum(1 << q for q in op.qubits)
        if not mask & cone:
            continue
        if not mask & blocked:
            if isinstance(op, Rotation):
                generator = pauli_of(op)
                if all(commute(generator, pauli) for pauli in terms):
                    continue
            else:
                moved = _moved(op, terms)
                if len(moved) <= limit:
                    terms = moved
                    cone = blocked | _support(terms)
                    continue
        kept.append(op)
        blocked |= mask
        cone |= mask
    rows = len(observables.coefficients)
    columns = np.array(list(terms.values())).reshape(-1, rows).T
    return kept[::-1], Observables(tuple(terms), columns)


def merge_channels(ops: Sequence[NoisyOp]) -> list[NoisyOp]:
    """Neighbouring constant channels multiplied into one where that saves work."""
    merged: list[NoisyOp | None] = []
    history: dict[int, list[int]] = {}

    def last(qubit: int) -> int:
        places = history.setdefault(qubit, [])
        while places and merged[places[-1]] is None:
            places.pop()
        return places[-1] if places else -1

    for op in ops:
        current: NoisyOp = op
        if isinstance(current, Channel):
            for qubit in current.qubits:
                earlier = merged[last(qubit)] if last(qubit) >= 0 else None
                if isinstance(earlier, Channel) and _whole(earlier, last, last(qubit)):
                    product = _product(earlier, current)
                    if product is not None:
                        merged[last(qubit)] = None
                        current = product
        for qubit in current.qubits:
            history.setdefault(qubit, []).append(len(merged))
        merged.append(current)
    return [op for op in merged if op is not None]


def monomial(matrix: Array) -> tuple[NDArray[np.int64], Array] | None:
    """(source column of each row, factor of each row) if each row and column holds one entry, else None."""
    significant = matrix != 0
    if np.any(significant.sum(axis=1) != 1) or np.any(significant.sum(axis=0) != 1):
        return None
    source = significant.argmax(axis=1)
    return source, matrix[np.arange(len(matrix)), source]


def embed(channel: Channel, qubits: Sequence[int]) -> Array:
    """The channel's matrix on more qubits, in their order."""
    size, where = len(qubits), [qubits.index(q) for q in channel.qubits]
    codes = np.arange(4**size)
    local = np.zeros_like(codes)
    for k, place in enumerate(where):
        local |= (codes >> 2 * place & 3) << 2 * k
    rest = codes & ~sum(3 << 2 * place for place in where)
    same = rest[:, None] == rest[None, :]
    return np.where(same, channel.matrix[np.ix_(local, local)], 0.0)


def _whole(earlier: Channel, last: Any, index: int) -> bool:
    """Whether nothing follows the earlier channel on any of its qubits."""
    return all(last(q) == index for q in earlier.qubits)


def _product(first: Channel, second: Channel) -> Channel | None:
    """Both in one, if one's qubits are among the other's and the product is not dearer than both."""
    if set(first.qubits) <= set(second.qubits):
        qubits = second.qubits
    elif set(second.qubits) <= set(first.qubits):
        qubits = first.qubits
    else:
        return None
    matrix = embed(second, qubits) @ embed(first, qubits)
    matrix[np.abs(matrix) < _TINY] = 0.0
    if len(first.qubits) != len(second.qubits):
        larger = max(first, second, key=lambda channel: len(channel.qubits))
        # Monomial channels on many qubits are merged with each other into one table, which is worth more.
        if monomial(larger.matrix) is not None and monomial(matrix) is None:
            return None
    return Channel(qubits, matrix) if _cost(matrix) <= _cost(first.matrix) + _cost(second.matrix) else None


def _cost(matrix: Array) -> float:
    """Arithmetic per coefficient and, in the same unit, one pass over the state."""
    return np.count_nonzero(matrix) / len(matrix) + 1.5


def _moved(channel: Channel, terms: dict[Pauli, Array]) -> dict[Pauli, Array]:
    moved: dict[Pauli, Array] = {}
    for pauli, column in terms.items():
        for image, factor in dual(channel, pauli).items():
            moved[image] = moved[image] + factor * column if image in moved else factor * column
    return moved


def _support(terms: dict[Pauli, Array]) -> int:
    mask = 0
    for x, z in terms:
        mask |= x | z
    return mask


def _require_small(size: int) -> None:
    if size > MAX_CHANNEL_QUBITS:
        raise CircuitError(
            f"a constant gate or error on {size} qubits has no small matrix under noise: decompose it into gates of at "
            f"most {MAX_CHANNEL_QUBITS} qubits"
        )
