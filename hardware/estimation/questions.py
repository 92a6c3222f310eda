"""What the pubs of one call ask of a device, each circuit once, and the answers back in the shapes of the pubs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import DataBin, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp

from hardware.errors import HardwareError
from hardware.primitives.execution import Expectations
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint
from qhybrid.quantum.circuits.own import refuse_classical
from qhybrid.quantum.estimators.pubs import as_pauli_sum, shots_of


@dataclass(frozen=True)
class Question:
    """All observables of a circuit that some pubs ask for, at all their distinct parameter values.

    Attributes:
        circuit: The circuit, not placed on a device.
        observables: Distinct observables over the circuit's qubits, M of them.
        points: Distinct parameter values in radians, `(N, P)`, columns in the order of `circuit.parameters`.
        shots: Shots per parameter set.
    """

    circuit: QuantumCircuit
    observables: tuple[SparsePauliOp, ...]
    points: NDArray[np.float64]
    shots: int


@dataclass(frozen=True)
class Asked:
    """Where a pub finds its answer.

    Attributes:
        pub: Pub that asks.
        question: Number of its question.
        rows: Row of each of its parameter sets among the points, in the shape of its parameter values.
        columns: Column of each of its observables, in the shape of its observables.
    """

    pub: EstimatorPub
    question: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    def answer(self, found: Expectations, metadata: dict[str, Any]) -> PubResult:
        """The result of the pub.

        Args:
            found: Values and standard errors `(N, M)` of its question.
            metadata: What the result says beside them.
        """
        rows, columns = np.broadcast_arrays(self.rows, self.columns)
        evs, stds = np.asarray(found.values[rows, columns]), np.asarray(found.errors[rows, columns])
        own = {"target_precision": self.pub.precision, "circuit_metadata": self.pub.circuit.metadata}
        return PubResult(DataBin(evs=evs, stds=stds, shape=evs.shape), metadata={**own, **metadata})


@dataclass
class _Group:
    """Pubs of one circuit with equal shots."""

    circuit: QuantumCircuit
    shots: int
    observables: dict[Any, int] = field(default_factory=dict)
    values: list[NDArray[np.float64]] = field(default_factory=list)


def questions_of(pubs: Sequence[EstimatorPub], shots: int) -> tuple[list[Question], list[Asked]]:
    """Put the pubs of one call together: one question per circuit and number of shots.

    Args:
        pubs: Pubs of one call, whose circuits are not placed.
        shots: Shots of a pub that states no precision.

    Returns:
        The questions, and for each pub where it finds its answer.

    Raises:
        CircuitError: A circuit measures, resets or branches, or a precision is out of range.
        HardwareError: A circuit has been transpiled before, or exact values are asked for.
    """
    groups: dict[Any, _Group] = {}
    places: list[tuple[int, int, NDArray[np.int64]]] = []
    for pub in pubs:
        _require_logical(pub.circuit)
        number = shots if pub.precision is None else _shots(pub.precision)
        key = circuit_fingerprint(pub.circuit), number
        group = groups.setdefault(key, _Group(pub.circuit, number))
        columns = np.empty(pub.observables.shape, dtype=np.int64)
        for index in np.ndindex(pub.observables.shape):
            terms = tuple(sorted(pub.observables[index].items()))
            columns[index] = group.observables.setdefault(terms, len(group.observables))
        parameters = pub.circuit.parameters
        shape = pub.parameter_values.shape
        given = pub.parameter_values.as_array(parameters) if len(parameters) else np.zeros((*shape, 0))
        places.append((list(groups).index(key), sum(map(len, group.values)), columns))
        group.values.append(np.asarray(given, dtype=np.float64).reshape(int(np.prod(shape)), len(parameters)))
    questions, inverses = [], []
    for group in groups.values():
        values = np.concatenate(group.values)
        # Without parameters all rows are one.
        points, inverse = (
            np.unique(values, axis=0, return_inverse=True)
            if values.shape[1]
            else (values[:1], np.zeros(len(values), dtype=np.int64))
        )
        observables = tuple(as_pauli_sum(dict(terms)) for terms in group.observables)
        questions.append(Question(group.circuit, observables, points, group.shots))
        inverses.append(np.asarray(inverse, dtype=np.int64).reshape(-1))
    asked = []
    for pub, (question, begin, columns) in zip(pubs, places, strict=True):
        shape = pub.parameter_values.shape
        rows = inverses[question][begin : begin + int(np.prod(shape))].reshape(shape)
        asked.append(Asked(pub, question, rows, columns))
    return questions, asked


def _require_logical(circuit: QuantumCircuit) -> None:
    if circuit.layout is not None:
        raise HardwareError(
            f"circuit `{circuit.name}` was transpiled before: hand over the circuit as it was, since the estimator "
            "places it on the device"
        )
    refuse_classical(circuit, f"circuit `{circuit.name}`")


def _shots(precision: float) -> int:
    if precision == 0:
        raise HardwareError("precision 0 asks for exact values, which no device gives: leave it out, or name one")
    return shots_of(precision)
