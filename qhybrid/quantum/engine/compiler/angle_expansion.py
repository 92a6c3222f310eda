"""Circuits in which each angle of each gate is a parameter of its own.

Shared, scaled and nonlinear parameters are left to the chain rule of `angles.Features`: what evaluates the circuit
binds plain numbers, and a parameter-shift rule meets one gate at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterExpression, ParameterVector
from qiskit.circuit.library import get_standard_gate_name_mapping

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.compiler.angles import Angle, Features
from qhybrid.quantum.engine.compiler.lowering import Step, is_free, walk

STANDARD_GATES = get_standard_gate_name_mapping()

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Slot:
    """Place of an angle in a circuit.

    Attributes:
        gate: Name of the gate.
        argument: Number of the gate's argument, from 0.
    """

    gate: str
    argument: int


@dataclass(frozen=True)
class Expansion:
    """A circuit with an angle parameter for each free argument of each gate.

    Attributes:
        circuit: Parameters `angle[0]`, `angle[1]`, ... in the order of `angles`; fixed gates as they were.
        angles: Affine function of `features` that gives each angle.
        slots: Gate and argument that each angle belongs to.
        features: Columns computed from the original circuit's parameters.
    """

    circuit: QuantumCircuit
    angles: tuple[Angle, ...]
    slots: tuple[Slot, ...]
    features: Features

    def angle_values(self, values: Array) -> Array:
        """Angles (B, K) from the original parameters' values (B, P)."""
        matrix, offsets = self._linear_map()
        return np.asarray(self.features.values(values) @ matrix.T + offsets)

    def pull_back(self, values: Array, gradient: Array) -> Array:
        """Gradient with respect to the original parameters (B, P) from that with respect to angles (B, K)."""
        return self.features.pull_back(values, gradient @ self._linear_map()[0])

    def _linear_map(self) -> tuple[Array, Array]:
        matrix = np.zeros((len(self.angles), len(self.features)))
        for row, angle in enumerate(self.angles):
            for feature, coefficient in angle.terms:
                matrix[row, feature] += coefficient
        return matrix, np.array([angle.offset for angle in self.angles])


def expand(circuit: QuantumCircuit, features: Features, keep: Collection[str] = STANDARD_GATES) -> Expansion:
    """Give each free argument of each gate a parameter of its own.

    Args:
        circuit: Unitary circuit; an ISA circuit stays one.
        features: Columns computed from the circuit's parameters.
        keep: Standard gates that stay what they are, so that a device's errors still find them; others with free
            arguments are decomposed into rotations.

    Raises:
        CircuitError: As `lowering.lower`, or a delay lasts a parameter.
    """
    steps = list(walk(circuit, range(circuit.num_qubits), keep))
    free = [pair for step in steps for pair in _free_arguments(step)]
    fresh = iter(ParameterVector("angle", len(free)))
    # A copy without gates keeps name, registers and layout.
    expanded = circuit.copy_empty_like()
    expanded.global_phase = 0.0
    for step in steps:
        operation = step.operation
        if operation is None:
            operation = type(STANDARD_GATES[step.name])(next(fresh))
        elif is_free(operation):
            operation = operation.copy()
            operation.params = [next(fresh) if _has_parameters(p) else p for p in operation.params]
        expanded.append(operation, step.qubits, copy=False)
    angles = tuple(features.angle(value) for _, value in free)
    return Expansion(expanded, angles, tuple(slot for slot, _ in free), features)


def _free_arguments(step: Step) -> list[tuple[Slot, Any]]:
    if step.operation is None:
        return [(Slot(step.name, 0), step.angle)]
    if step.name == "delay" and is_free(step.operation):
        raise CircuitError(
            f"the delay on qubits {list(step.qubits)} lasts `{step.operation.duration}`, which is a parameter: "
            "give it a number, since no parameter shift differentiates a duration"
        )
    arguments = getattr(step.operation, "params", ())
    return [(Slot(step.name, k), value) for k, value in enumerate(arguments) if _has_parameters(value)]


def _has_parameters(value: Any) -> bool:
    return isinstance(value, ParameterExpression) and bool(value.parameters)
