"""A circuit: the brick wall."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from qhybrid.config import Section
from qhybrid.quantum import CircuitSpec
from qhybrid.quantum.circuits.observables import z_observables
from qhybrid.registry import register_ansatz


class BrickWallOptions(Section):
    """Options of `brick_wall`."""

    entangler: Literal["cx", "cz"] = Field(default="cz", description="Gate between neighbours.")


@register_ansatz("brick_wall", section=BrickWallOptions)
def brick_wall(options: BrickWallOptions, num_qubits: int, num_layers: int) -> CircuitSpec:
    """RY(x), then layers of RY(w) and entanglers that join pairs (0, 1), (2, 3), ... and (1, 2), ... in turn."""
    x = ParameterVector("x", num_qubits)
    w = ParameterVector("w", num_qubits * num_layers)
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(x[qubit], qubit)
    for layer in range(num_layers):
        for qubit in range(layer % 2, num_qubits - 1, 2):
            getattr(circuit, options.entangler)(qubit, qubit + 1)
        for qubit in range(num_qubits):
            circuit.ry(w[layer * num_qubits + qubit], qubit)
    return CircuitSpec("brick_wall", circuit, tuple(x), tuple(w), z_observables(num_qubits))
