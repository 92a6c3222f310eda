"""Observables by name, by Pauli label, or from a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from qiskit.quantum_info import SparsePauliOp

from qhybrid.errors import CircuitError

Observables = tuple[SparsePauliOp, ...]


def z_observables(num_qubits: int) -> Observables:
    """<Z_i> for i = 0 ... num_qubits - 1; observable i acts on qubit i."""
    return tuple(SparsePauliOp.from_sparse_list([("Z", [i], 1.0)], num_qubits=num_qubits) for i in range(num_qubits))


def zz_observables(num_qubits: int) -> Observables:
    """<Z_i Z_j> for each pair i < j, in the order (0, 1), (0, 2), ..., (1, 2), ...

    Raises:
        CircuitError: One qubit has no pair.
    """
    if num_qubits < 2:
        raise CircuitError(f"`observables: zz` needs pairs of qubits, found {num_qubits} qubit: take `z`")
    return tuple(
        SparsePauliOp.from_sparse_list([("ZZ", list(pair), 1.0)], num_qubits=num_qubits)
        for pair in combinations(range(num_qubits), 2)
    )


def named_observables(names: str | Sequence[str], num_qubits: int) -> Observables:
    """The observables that a configuration names.

    Args:
        names: `z`, `zz`, or a list of Pauli labels, the rightmost letter being qubit 0.
        num_qubits: Number of qubits of the circuit.

    Raises:
        CircuitError: A label is no Pauli word, or is over another number of qubits.
    """
    if names == "z":
        return z_observables(num_qubits)
    if names == "zz":
        return zz_observables(num_qubits)
    return tuple(_operator([(label, 1.0)], num_qubits, f"`observables`, number {i}") for i, label in enumerate(names))


def read_observables(path: str | Path, num_qubits: int) -> Observables:
    """Observables from a JSON file: a list of Pauli labels and of sums.

    A sum is `{label: coefficient, ...}` or, as `SparsePauliOp.to_list` gives it, `[[label, coefficient], ...]`.

    Args:
        path: JSON file to be read.
        num_qubits: Number of qubits of the circuit.

    Raises:
        CircuitError: The file cannot be read, is no such list, or an observable is over another number of qubits, or
            is not Hermitian.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CircuitError(f"observables `{path}` cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CircuitError(f"observables `{path}` are not valid JSON: {error}") from None
    if not isinstance(values, list) or not values:
        raise CircuitError(f"observables `{path}`: expected a list of at least one observable")
    return tuple(
        _operator(_terms(value, path, index), num_qubits, f"`{path}`, observable {index}")
        for index, value in enumerate(values)
    )


def _terms(value: Any, path: str | Path, index: int) -> list[tuple[Any, float]]:
    """Labels and real coefficients of one observable."""
    pairs: Iterable[Any] = (
        [[value, 1.0]] if isinstance(value, str) else list(value.items()) if isinstance(value, dict) else value
    )
    terms = []
    for pair in pairs if isinstance(pairs, list) else [None]:
        if not isinstance(pair, list | tuple) or len(pair) not in (2, 3) or not all(map(_is_number, pair[1:])):
            raise CircuitError(
                f"`{path}`, observable {index}: expected a Pauli label, {{label: coefficient}} or "
                f"[[label, coefficient], ...] with finite numbers, found {str(value)[:80]}"
            )
        if any(pair[2:]):
            raise CircuitError(
                f"`{path}`, observable {index}: the coefficient of `{pair[0]}` has an imaginary part, {pair[2]}, so it "
                "is no observable"
            )
        terms.append((pair[0], float(pair[1])))
    return terms


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _operator(terms: Sequence[tuple[Any, float]], num_qubits: int, where: str) -> SparsePauliOp:
    if not terms:
        raise CircuitError(f"{where}: a sum without terms")
    for label, _ in terms:
        if not isinstance(label, str) or not label or set(label) - set("IXYZ"):
            raise CircuitError(f"{where}: `{label}` is no Pauli label of the letters I, X, Y, Z")
        if len(label) != num_qubits:
            raise CircuitError(f"{where}: `{label}` acts on {len(label)} qubits, the circuit has {num_qubits}")
    return SparsePauliOp([label for label, _ in terms], [value for _, value in terms])
