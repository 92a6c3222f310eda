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
from qiskit.transpiler.exceptions import TranspilerError

from qhybrid.quantum.devices.native import place, require_width
from qhybrid.quantum.engine.compiler.angle_expansion import Expansion
from qhybrid.quantum.engine.compiler.paulis import Pauli, pauli_terms
from qhybrid.quantum.noise.measurement import Measurement, group_commuting

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
    basis: frozenset[str]

    @property
    def circuit(self) -> QuantumCircuit:
        """Circuit that Aer runs, with parameters `angle[k]`."""
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

    Args:
        pub: Circuit, observables and parameter values, as Qiskit's `EstimatorPub` holds them.
        prepared: The pub's circuit in native gates, and where its qubits lie.
        factors: Readout of Z by qubit as (offset, slope); qubits without an entry are read perfectly.
    """

    def __init__(self, pub: EstimatorPub, prepared: PreparedCircuit, factors: dict[int, tuple[float, float]]) -> None:
        self.pub = pub
        self.prepared = prepared
        parameters = pub.circuit.parameters
        self.shape = pub.parameter_values.shape
        given = pub.parameter_values.as_array(parameters) if len(parameters) else np.zeros((*self.shape, 0))
        self.values: Array = given.reshape(math.prod(self.shape), len(parameters))
        for observable in pub.observables.ravel():
            for label in observable:
                require_width(len(label), pub.circuit)
        self.terms = [
            {place(pauli, prepared.places): value for pauli, value in pauli_terms(dict(observable.items())).items()}
            for observable in (pub.observables[index] for index in np.ndindex(pub.observables.shape))
        ]
        distinct = dict.fromkeys(pauli for terms in self.terms for pauli in terms if pauli != (0, 0))
        # Where there is nothing to bind Aer must not be asked: it crashes on empty bindings.
        self.groups = group_commuting(distinct) if len(self.values) else []
        supports = {x | z for group in self.groups for x, z in group}
        measurement = Measurement(prepared.circuit.num_qubits, readout=factors)
        self.read = {support: measurement.fold({(0, support): 1.0}) for support in supports}
        # Aer drops idle qubits and then mistakes the numbers of others (https://github.com/Qiskit/qiskit-aer/issues/2442),
        # unless every qubit that is left stands in what is asked of it.
        self._bases = [self._basis_change(group) for group in self.groups]
        self._sites = [self._used(*pair) for pair in zip(self.groups, self._bases, strict=True)]
        # Without parameters Aer runs a circuit once, whatever the shape of the (empty) bindings.
        self.points = len(self.values) if prepared.circuit.parameters else 1

    @property
    def num_experiments(self) -> int:
        """Results that Aer returns for this pub."""
        return self.points * len(self.groups)

    @property
    def width(self) -> int:
        """Qubits that Aer simulates; idle ones are none."""
        return max((len(sites) for sites in self._sites), default=0)

    def circuits(self, shots: int | None) -> list[QuantumCircuit]:
        """One circuit per measurement basis."""
        return [self._measured(position, shots) for position in range(len(self.groups))]

    def binds(self) -> list[dict[Parameter, Array]]:
        """Aer's parameter bindings, one per circuit."""
        columns = self.prepared.columns(self.values) if self.prepared.circuit.parameters else {}
        return [columns] * len(self.groups)

    def collect(self, result: Any, first: int, shots: int | None) -> PubResult:
        """Means and standard errors in the pub's shape.

        Args:
            result: Aer's result of the job.
            first: Number of this pub's first circuit in the job.
            shots: Shots of each circuit; None if Aer computed exactly.
        """
        count = len(self.values)
        means = np.zeros((count, len(self.terms)))
        variances = np.zeros((count, len(self.terms)))
        means += [terms.get((0, 0), 0.0) for terms in self.terms]
        for position, group in enumerate(self.groups):
            strings = [x | z for x, z in group]
            masks = [_compress(mask, self._sites[position]) for mask in strings]
            weights = np.array([[terms.get(pauli, 0.0) for pauli in group] for terms in self.terms])
            for point in range(self.points):
                data = result.data(first + position * self.points + point)
                rows = slice(point, point + 1) if self.points == count else slice(None)
                mean, variance = (
                    self._exact(data, strings, weights) if shots is None else _sampled(data, masks, weights)
                )
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

    def _measured(self, position: int, shots: int | None) -> QuantumCircuit:
        circuit = self.prepared.circuit.copy()
        change, sites = self._bases[position], self._sites[position]
        if change is not None:
            circuit.compose(change, inplace=True)
        if shots is not None:
            circuit.add_register(ClassicalRegister(len(sites), "read"))
            circuit.measure(sites, circuit.clbits[-len(sites) :])
            return circuit
        for mask in {mask for x, z in self.groups[position] for _, mask in self.read[x | z] if mask}:
            label = "".join("Z" if mask >> q & 1 else "I" for q in reversed(sites))
            circuit.save_expectation_value(PauliOperator(label), sites, label=str(mask))
        return circuit

    def _used(self, group: Sequence[Pauli], change: QuantumCircuit | None) -> list[int]:
        """Qubits that a gate acts on or that are read, ascending."""
        used = 0
        for x, z in group:
            for _, mask in self.read[x | z]:
                used |= mask | x | z
        for circuit in (self.prepared.circuit, *([] if change is None else [change])):
            numbers = {bit: number for number, bit in enumerate(circuit.qubits)}
            for instruction in circuit.data:
                if instruction.operation.name != "barrier":
                    used |= sum(1 << numbers[bit] for bit in instruction.qubits)
        return [q for q in range(used.bit_length()) if used >> q & 1]

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
        if not self.prepared.basis:
            return change
        try:
            return transpile(change, basis_gates=sorted(self.prepared.basis), optimization_level=1)
        except TranspilerError:
            # The model's gates do not reach this basis, so it does not say how noisy the change would be.
            return change

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


def _compress(mask: int, sites: Sequence[int]) -> int:
    """The bits of a mask at the given places, in their order."""
    return sum((mask >> site & 1) << index for index, site in enumerate(sites))
