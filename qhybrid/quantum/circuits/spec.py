"""A circuit with its roles: which parameters are inputs, which are weights, what is measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import SparsePauliOp

from qhybrid.errors import CircuitError
from qhybrid.files import atomic_path
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint
from qhybrid.quantum.circuits.qpy_files import load_qpy

_METADATA_KEY = "qhybrid"


@dataclass(frozen=True)
class CircuitSpec:
    """What a quantum layer evaluates.

    Attributes:
        name: Ansatz name, for messages and reports.
        circuit: Parameterized circuit without measurements.
        inputs: Parameters that carry data, in the order of the layer's input columns.
        weights: Parameters that are trained, in the order of the layer's weight vector.
        observables: One output of the layer each, in Qiskit's bit order (the rightmost letter is qubit 0).

    Raises:
        CircuitError: A parameter has no role or two, or an observable has another number of qubits.
    """

    name: str
    circuit: QuantumCircuit
    inputs: tuple[Parameter, ...]
    weights: tuple[Parameter, ...]
    observables: tuple[SparsePauliOp, ...]

    def __post_init__(self) -> None:
        named = [*self.inputs, *self.weights]
        if len(set(named)) != len(named):
            raise CircuitError(f"circuit `{self.name}`: a parameter stands twice among inputs and weights")
        unassigned = sorted(parameter.name for parameter in set(self.circuit.parameters) ^ set(named))
        if unassigned:
            raise CircuitError(
                f"circuit `{self.name}`: inputs and weights must be the circuit's parameters, but {unassigned} "
                "stand on one side only"
            )
        if not self.observables:
            raise CircuitError(f"circuit `{self.name}`: give at least one observable")
        for index, observable in enumerate(self.observables):
            if observable.num_qubits != self.num_qubits:
                raise CircuitError(
                    f"circuit `{self.name}`: observable {index} acts on {observable.num_qubits} qubits, "
                    f"the circuit has {self.num_qubits}"
                )

    def __hash__(self) -> int:
        return hash(self.content_hash())

    @property
    def num_qubits(self) -> int:
        """Qubits of the circuit."""
        return int(self.circuit.num_qubits)

    @property
    def num_outputs(self) -> int:
        """Observables, each one output column."""
        return len(self.observables)

    def save(self, path: Path) -> None:
        """Write one QPY file, atomically.

        Raises:
            RunDirectoryError: The folder is not writable.
        """
        circuit = self.circuit.copy()
        circuit.metadata = {
            **(circuit.metadata or {}),
            _METADATA_KEY: {
                "name": self.name,
                "inputs": [parameter.name for parameter in self.inputs],
                "weights": [parameter.name for parameter in self.weights],
                "observables": [_observable_to_json(observable) for observable in self.observables],
            },
        }
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            qpy.dump(circuit, file)

    @classmethod
    def load(cls, path: Path) -> CircuitSpec:
        """Read a file written by `save`.

        Raises:
            CircuitError: The file is missing, is no QPY file, or holds a circuit without roles.
        """
        circuit = load_qpy(path)
        metadata = dict(circuit.metadata or {})
        roles = metadata.pop(_METADATA_KEY, None)
        if roles is None:
            raise CircuitError(f"`{path}` holds a circuit without inputs, weights and observables; save a CircuitSpec")
        circuit.metadata = metadata
        parameters = {parameter.name: parameter for parameter in circuit.parameters}
        try:
            return cls(
                name=str(roles["name"]),
                circuit=circuit,
                inputs=tuple(parameters[name] for name in roles["inputs"]),
                weights=tuple(parameters[name] for name in roles["weights"]),
                observables=tuple(_observable_from_json(item) for item in roles["observables"]),
            )
        except (KeyError, IndexError, TypeError, ValueError, QiskitError) as error:
            raise CircuitError(
                f"`{path}` is damaged: its inputs, weights or observables are not those of its circuit "
                f"({' '.join(str(error).split())})"
            ) from None

    def content_hash(self) -> str:
        """SHA-256 (hex) of gates, roles and observables; equal after a QPY round trip."""
        content = {
            "circuit": circuit_fingerprint(self.circuit),
            "inputs": [parameter.name for parameter in self.inputs],
            "weights": [parameter.name for parameter in self.weights],
            "observables": [_observable_to_json(observable) for observable in self.observables],
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _observable_to_json(observable: SparsePauliOp) -> list[tuple[str, float, float]]:
    terms: Iterable[tuple[str, complex]] = observable.to_list()
    return [(label, float(np.real(value)), float(np.imag(value))) for label, value in terms]


def _observable_from_json(terms: list[tuple[str, float, float]]) -> SparsePauliOp:
    return SparsePauliOp([term[0] for term in terms], [complex(term[1], term[2]) for term in terms])
