"""Observables as Pauli terms: strings as bit masks, and how they act on each other."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import SparsePauliOp

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.compiler.lowering import Rotation

Pauli = tuple[int, int]
"""Bit masks (x, z); a qubit in both carries Y. Qubit q is bit q."""

_LETTERS: dict[str, tuple[tuple[int, int, float], ...]] = {
    "I": ((0, 0, 1.0),),
    "X": ((1, 0, 1.0),),
    "Y": ((1, 1, 1.0),),
    "Z": ((0, 1, 1.0),),
    # Projectors, as Qiskit's ObservablesArray writes them.
    "0": ((0, 0, 0.5), (0, 1, 0.5)),
    "1": ((0, 0, 0.5), (0, 1, -0.5)),
    "+": ((0, 0, 0.5), (1, 0, 0.5)),
    "-": ((0, 0, 0.5), (1, 0, -0.5)),
    "r": ((0, 0, 0.5), (1, 1, 0.5)),
    "l": ((0, 0, 0.5), (1, 1, -0.5)),
}


@dataclass(frozen=True)
class Observables:
    """Real linear combinations of Pauli strings.

    Attributes:
        paulis: Distinct strings, T of them.
        coefficients: (M, T), one row per observable.
    """

    paulis: tuple[Pauli, ...]
    coefficients: NDArray[np.float64]


def pauli_terms(observable: SparsePauliOp | Mapping[str, complex]) -> dict[Pauli, float]:
    """Strings and real coefficients of one observable.

    Raises:
        CircuitError: A coefficient is complex, so the operator is not Hermitian.
    """
    items: Iterable[tuple[str, complex]] = (
        observable.items() if isinstance(observable, Mapping) else observable.to_list()
    )
    terms: dict[Pauli, float] = {}
    for label, value in items:
        number = complex(value)
        if abs(number.imag) > 1e-12:
            raise CircuitError(
                f"observable term `{label}` has coefficient {number}: expectation values need a real one"
            )
        for choice in itertools.product(*(_LETTERS[letter] for letter in reversed(label))):
            x = sum(part[0] << qubit for qubit, part in enumerate(choice))
            z = sum(part[1] << qubit for qubit, part in enumerate(choice))
            factor = float(np.prod([part[2] for part in choice])) if choice else 1.0
            terms[x, z] = terms.get((x, z), 0.0) + number.real * factor
    return terms


def collect(observables: Sequence[dict[Pauli, float]]) -> Observables:
    """Several observables over their common strings."""
    paulis = tuple(dict.fromkeys(pauli for terms in observables for pauli in terms))
    column = {pauli: index for index, pauli in enumerate(paulis)}
    coefficients = np.zeros((len(observables), len(paulis)))
    for row, terms in enumerate(observables):
        for pauli, value in terms.items():
            coefficients[row, column[pauli]] += value
    return Observables(paulis, coefficients)


def pauli_of(rotation: Rotation) -> Pauli:
    """The rotation's generator as bit masks."""
    x = sum(1 << q for q, letter in zip(rotation.qubits, rotation.pauli, strict=True) if letter in "XY")
    z = sum(1 << q for q, letter in zip(rotation.qubits, rotation.pauli, strict=True) if letter in "YZ")
    return x, z


def commute(a: Pauli, b: Pauli) -> bool:
    """Whether two Pauli strings commute."""
    return ((a[0] & b[1]).bit_count() + (a[1] & b[0]).bit_count()) % 2 == 0


@functools.lru_cache(maxsize=4)
def local_paulis(size: int) -> NDArray[np.complex128]:
    """All strings on `size` qubits (4**size, 2**size, 2**size); two bits of the index per qubit: x, then z."""
    single = np.array([np.eye(2), [[0, 1], [1, 0]], [[1, 0], [0, -1]], [[0, -1j], [1j, 0]]], dtype=np.complex128)
    strings = np.ones((1, 1, 1), dtype=np.complex128)
    for _ in range(size):
        strings = np.einsum("pab,qcd->pqacbd", single, strings).reshape(
            4 * len(strings), 2 * strings.shape[1], 2 * strings.shape[1]
        )
    return strings
