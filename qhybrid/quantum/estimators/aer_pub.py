"""One pub of `AerEstimator`: the circuits that it needs, and how their results become its answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ClassicalRegister, Parameter
from qiskit.primitives.containers import DataBin, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import Pauli as PauliOperator

from qhybrid.quantum.devices.native import place
from qhybrid.quantum.engine.compiler.angle_expansion import Expansion
from qhybrid.quantum.engine.compiler.paulis import Pauli, pauli_terms
from qhybrid.quantum.noise.measurement import group_commuting
from qhybrid.quantum.noise.readout import fold_readout

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PreparedCircuit:
    """A circuit in native gates, every rotation with an angle of its own.

    Attributes:
        expansion: The circuit and its angles.
        places: Qubit i of the original circuit lies on `places[i]`.
        basis: Gates that a change of basis may use; any if empty.
    """

    expansion: Expansion
    places: list[int]
    basis: set[str]

    @property
    def circuit(self) -> QuantumCircuit:
        """What Aer runs."""
        return self.expansion.circuit

    def columns(self, values: Array) -> dict[Parameter, Array]:
        """Plain angle values for Aer: evaluating expressions there would happen gate by gate in Python."""
        angles = self.expansion.angle_values(values)
        own = self.expansion.circuit.parameters
        return {parameter: np.ascontiguousarray(angles[:, k]) for k, parameter in enumerate(own)}


class PubTask:
    """One pub: which circuits it needs, and how their results become its answer.

    Pauli strings are grouped so that one measurement basis serves a group (qubit-wise commuting); in that basis each
    is a string of Z.
    """

    def __init__(self, pub: EstimatorPub, prepared: PreparedCircuit, factors: dict[int, tuple[float, float]]) -> None:
        self.pub = pub
        self.prepared = prepared
        parameters = pub.circuit.parameters
        self.shape = pub.parameter_values.shape
        given = pub.parameter_values.as_array(parameters) if len(parameters) else np.zeros((*self.shape, 0))
        self.values: Array = given.reshape(math.prod(self.shape), len(parameters))
        self.terms = [
            {place(pauli, prepared.places): value for pauli, value in pauli_terms(dict(observable.items())).items()}
            for observable in (pub.observables[index] for index in np.ndindex(pub.observables.shape))
        ]
        distinct = dict.fromkeys(pauli for terms in self.terms for pauli in terms if pauli != (0, 0))
        self.groups = group_commuting(distinct)
        self.read = {z: fold_readout(z, factors) for z in {x | z for group in self.groups for x, z in group}}
        # Without parameters Aer runs a circuit once, whatever the shape of the (empty) bindings.
        self.points = len(self.values) if prepared.circuit.parameters else 1

    @property
    def num_experiments(self) -> int:
        """Results that Aer returns for this pub."""
        return self.points * len(self.groups)

    def circuits(self, shots: int | None) -> list[QuantumCircuit]:
        """One circuit per measurement basis."""
        return [self._measured(group, shots) for group in self.groups]

    def binds(self) -> list[dict[Parameter, Array]]:
        """Aer's parameter bindings, one per circuit."""
        columns = self.prepared.columns(self.values) if self.prepared.circuit.parameters else {}
        return [columns] * len(self.groups)

    def collect(self, result: Any, first: int, shots: int | None) -> PubResult:
        """Means and standard errors in the pub's shape."""
        count = len(self.values)
        means = np.zeros((count, len(self.terms)))
        variances = np.zeros((count, len(self.terms)))
        means += [terms.get((0, 0), 0.0) for terms in self.terms]
        for position, group in enumerate(self.groups):
            masks = [x | z for x, z in group]
            weights = np.array([[terms.get(pauli, 0.0) for pauli in group] for terms in self.terms])
            for point in range(self.points):
                data = result.data(first + position * self.points + point)
                rows = slice(point, point + 1) if self.points == count else slice(None)
                mean, variance = self._exact(data, masks, weights) if shots is None else _sampled(data, masks, weights)
                means[rows] += mean
                variances[rows] += variance
        numbers = np.arange(count).reshape(self.shape)
        columns = np.arange(len(self.terms)).reshape(self.pub.observables.shape)
        where = np.broadcast_arrays(numbers, columns)
        evs, stds = np.asarray(means[*where]), np.asarray(np.sqrt(variances[*where]))
        return PubResult(
            DataBin(evs=evs, stds=stds, shape=evs.shape),
            metadata={
                "target_precision": self.pub.precision,
                "shots": shots,
                "circuit_metadata": self.pub.circuit.metadata,
            },
        )

    def _measured(self, group: Sequence[Pauli], shots: int | None) -> QuantumCircuit:
        circuit = self.prepared.circuit.copy()
        change = self._basis_change(group)
        if change is not None:
            circuit.compose(change, inplace=True)
        if shots is not None:
            circuit.add_register(ClassicalRegister(circuit.num_qubits, "read"))
            circuit.measure(range(circuit.num_qubits), circuit.clbits[-circuit.num_qubits :])
            return circuit
        for mask in {mask for x, z in group for _, mask in self.read[x | z] if mask}:
            qubits = [q for q in range(circuit.num_qubits) if mask >> q & 1]
            circuit.save_expectation_value(PauliOperator("Z" * len(qubits)), qubits, label=str(mask))
        return circuit

    def _basis_change(self, group: Sequence[Pauli]) -> QuantumCircuit | None:
        change = QuantumCircuit(self.prepared.circuit.num_qubits)
        for qubit in range(change.num_qubits):
            letters = {(x >> qubit & 1, z >> qubit & 1) for x, z in group}
            if (1, 1) in letters:
                change.sdg(qubit)
            if letters & {(1, 0), (1, 1)}:
                change.h(qubit)
        if not change.size():
            return None
        basis = self.prepared.basis
        return transpile(change, basis_gates=sorted(basis), optimization_level=1) if basis else change

    def _exact(self, data: Any, masks: Sequence[int], weights: Array) -> tuple[Array, Array]:
        values = [
            sum(factor * (data[str(mask)] if mask else 1.0) for (_, mask), factor in self.read[z].items())
            for z in masks
        ]
        return weights @ np.array(values), np.zeros(len(weights))


def _sampled(data: Any, masks: Sequence[int], weights: Array) -> tuple[Array, Array]:
    """Mean over the shots and variance of that mean."""
    outcomes = np.array([int(key, 16) for key in data["counts"]], dtype=np.int64)
    shares = np.array(list(data["counts"].values()), dtype=np.float64)
    shots = shares.sum()
    signs = 1.0 - 2.0 * (np.bitwise_count(outcomes[:, None] & np.array(masks, dtype=np.int64)) & 1)
    per_outcome = signs @ weights.T
    mean = shares @ per_outcome / shots
    variance = shares @ (per_outcome - mean) ** 2 / shots
    return mean, variance / shots
