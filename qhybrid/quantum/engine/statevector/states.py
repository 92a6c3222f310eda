"""State vectors of a circuit at many parameter values at once, in plain numpy.

For measures of the state itself (fidelity, entanglement), which expectation values do not give. Training never needs
it: `compiled` is the fast path, and this one is kept small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qhybrid.quantum.engine.compiler.angles import Angle, Features
from qhybrid.quantum.engine.compiler.lowering import Fixed, Rotation, lower
from qhybrid.quantum.engine.compiler.paulis import pauli_of

States = NDArray[np.complex128]
_CHUNK = 2**22
"""Amplitudes that are held at a time (64 MiB)."""


def simulate(circuit: QuantumCircuit, parameters: Sequence[Parameter], values: NDArray[np.float64]) -> States:
    """States of the circuit applied to |0...0>, each up to a global phase.

    Args:
        circuit: Unitary circuit, without measurements.
        parameters: Parameters of the circuit, in the order of the columns of `values`.
        values: Parameter values in radians, (B, P).

    Returns:
        State vectors (B, 2**num_qubits); qubit q is bit q of the index, as in Qiskit.

    Raises:
        CircuitError: The circuit is not unitary.
    """
    features = Features(parameters)
    ops = lower(circuit, features)
    states = np.zeros((len(values), 2**circuit.num_qubits), dtype=np.complex128)
    step = max(1, _CHUNK // states.shape[1])
    for first in range(0, len(values), step):
        rows = slice(first, first + step)
        columns = features.values(values[rows])
        part = np.zeros((len(columns), states.shape[1]), dtype=np.complex128)
        part[:, 0] = 1
        for op in ops:
            part = _rotate(part, op, _angle(op.angle, columns)) if isinstance(op, Rotation) else _apply(part, op)
        states[rows] = part
    return states


def _angle(angle: Angle, columns: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.full(len(columns), angle.offset)
    for feature, slope in angle.terms:
        total += slope * columns[:, feature]
    return total


def _rotate(states: States, op: Rotation, angle: NDArray[np.float64]) -> States:
    cosine, sine = np.cos(angle / 2)[:, None], np.sin(angle / 2)[:, None]
    x, z = pauli_of(op)
    if z and not x:
        signs = 1.0 - 2.0 * (np.bitwise_count(np.arange(states.shape[1]) & z) & 1)
        return np.asarray((cosine - 1j * sine * signs) * states)
    index = np.arange(states.shape[1])
    # P|k> = i^num_y (-1)^|k & z| |k ^ x>, read from the target's side.
    source = index ^ x
    phase = 1j ** (x & z).bit_count() * (1.0 - 2.0 * (np.bitwise_count(source & z) & 1))
    return np.asarray(cosine * states - 1j * sine * (phase * states[:, source]))


def _apply(states: States, op: Fixed) -> States:
    num_qubits = states.shape[1].bit_length() - 1
    count = len(op.qubits)
    # Axis 0 is the batch, axis 1 + j is bit num_qubits - 1 - j; a matrix index has the gate's last qubit on top.
    axes = [num_qubits - qubit for qubit in reversed(op.qubits)]
    tensor = states.reshape(-1, *[2] * num_qubits)
    moved = np.moveaxis(tensor, axes, range(1, count + 1))
    shape = moved.shape
    product = op.matrix @ moved.reshape(len(states), 2**count, -1)
    return np.moveaxis(product.reshape(shape), range(1, count + 1), axes).reshape(states.shape)
