"""What the end of a circuit does to the observables behind it.

`absorb` walks the circuit backwards. A Clifford gate that nothing follows is moved into the observables (C^dagger P C
is a Pauli string again); a rotation that commutes with every string has no effect on any expectation value, whatever
the state, and is dropped; so is every gate outside the light cone. A parameter all of whose rotations are dropped is
dead exactly, not only numerically.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from qhybrid.quantum.engine.compiler.lowering import Fixed, Op, Rotation
from qhybrid.quantum.engine.compiler.paulis import Observables, Pauli, collect, commute, local_paulis, pauli_of


def absorb(ops: Sequence[Op], observables: Observables) -> tuple[list[Op], Observables]:
    """An equivalent, shorter circuit with other observables; expectation values from |0...0> are equal."""
    paulis = list(observables.paulis)
    signs = np.ones(len(paulis))
    kept: list[Op] = []
    blocked = 0
    cone = functools.reduce(lambda cone, pauli: cone | pauli[0] | pauli[1], paulis, 0)
    for op in reversed(ops):
        mask = _mask(op)
        if not mask & cone:
            continue
        if not mask & blocked:
            if isinstance(op, Rotation):
                rotation = pauli_of(op)
                if all(commute(rotation, pauli) for pauli in paulis):
                    continue
            else:
                moved = _conjugate_all(op, paulis)
                if moved is not None:
                    paulis, flips = moved
                    signs *= flips
                    cone |= functools.reduce(lambda cone, pauli: cone | pauli[0] | pauli[1], paulis, 0)
                    continue
        kept.append(op)
        blocked |= mask
        cone |= mask
    terms = [_summed(zip(paulis, row * signs, strict=True)) for row in observables.coefficients]
    return kept[::-1], collect(terms)


def drop_idle_qubits(ops: Sequence[Op], observables: Observables) -> tuple[list[int], Observables]:
    """Qubits that some gate acts on, ascending, and the observables with all others evaluated in |0>."""
    active = functools.reduce(lambda mask, op: mask | _mask(op), ops, 0)
    qubits = [q for q in range(active.bit_length()) if active >> q & 1]
    paulis: list[Pauli | None] = []
    for x, z in observables.paulis:
        # On |0>: <Z> = 1, <X> = <Y> = 0.
        paulis.append(None if x & ~active else (_compress(x, qubits), _compress(z, qubits)))
    terms = [
        _summed((pauli, value) for pauli, value in zip(paulis, row, strict=True) if pauli is not None)
        for row in observables.coefficients
    ]
    return qubits, collect(terms)


def _mask(op: Op) -> int:
    return sum(1 << q for q in op.qubits)


def _compress(mask: int, qubits: Sequence[int]) -> int:
    return sum((mask >> q & 1) << index for index, q in enumerate(qubits))


def _summed(items: Iterable[tuple[Pauli, float]]) -> dict[Pauli, float]:
    terms: dict[Pauli, float] = {}
    for pauli, value in items:
        if value:
            terms[pauli] = terms.get(pauli, 0.0) + float(value)
    return terms


def _conjugate_all(op: Fixed, paulis: list[Pauli]) -> tuple[list[Pauli], NDArray[np.float64]] | None:
    """Every string conjugated, or None if one leaves the Pauli group or fewer strings stay diagonal."""
    table = _conjugation_table(op.matrix.tobytes(), len(op.qubits))
    result: list[Pauli] = []
    flips = np.ones(len(paulis))
    for index, (x, z) in enumerate(paulis):
        code = sum(((x >> q & 1) | (z >> q & 1) << 1) << 2 * k for k, q in enumerate(op.qubits))
        new, sign = table[code]
        if not sign:
            return None
        for k, q in enumerate(op.qubits):
            x = x & ~(1 << q) | (new >> 2 * k & 1) << q
            z = z & ~(1 << q) | (new >> 2 * k + 1 & 1) << q
        result.append((x, z))
        flips[index] = sign
    # A diagonal string is read from |amplitude|^2 together with all others; any other one costs a pass of its own.
    if sum(x != 0 for x, _ in result) > sum(x != 0 for x, _ in paulis):
        return None
    return result, flips


@functools.lru_cache(maxsize=4096)
def _conjugation_table(matrix: bytes, size: int) -> list[tuple[int, int]]:
    """For each local string P: (code of U^dagger P U, sign), sign 0 if that is no Pauli string."""
    if size > 3:
        return [(0, 1), *[(0, 0)] * (4**size - 1)]
    unitary = np.frombuffer(matrix, dtype=np.complex128).reshape(2**size, 2**size)
    strings = local_paulis(size)
    rotated = np.einsum("ba,pbc,cd->pad", unitary.conj(), strings, unitary, optimize=True)
    overlaps = np.real(np.einsum("pab,qba->pq", rotated, strings, optimize=True)) / 2**size
    best = np.argmax(np.abs(overlaps), axis=1)
    values = overlaps[np.arange(4**size), best]
    return [
        (int(q), int(np.sign(value)) if abs(abs(value) - 1) < 1e-12 else 0)
        for q, value in zip(best, values, strict=True)
    ]
