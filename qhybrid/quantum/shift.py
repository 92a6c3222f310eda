"""Expectation values and their Jacobian from any estimator in one pub, by the parameter-shift rule.

Each rotation exp(-i phi/2 P) of the circuit has its own angle phi, and d<O>/dphi = (<O>(phi + pi/2) -
<O>(phi - pi/2)) / 2 exactly, also under noise that does not depend on phi. Parameters follow by the chain rule, so
shared, scaled and nonlinear ones are right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qhybrid.quantum.angles import Features
from qhybrid.quantum.lowering import expand
from qhybrid.quantum.pubs import evaluate_pub

Array = NDArray[np.float64]


class ShiftedCircuit:
    """A circuit prepared for parameter shifts.

    Attributes:
        circuit: What the estimator gets; parameters `angle[k]`.
        num_angles: Rotations with an angle of their own, each costing two more evaluations per sample.
    """

    def __init__(
        self, circuit: QuantumCircuit, observables: Sequence[SparsePauliOp], parameters: Sequence[Parameter]
    ) -> None:
        self._features = Features(parameters)
        self._expansion = expand(circuit, self._features)
        self._columns = [self._features.parameters_of(angle) for angle in self._expansion.angles]
        self.circuit = self._expansion.circuit
        self.num_angles = len(self._columns)
        self._observables = list(observables)

    def evaluate(
        self, estimator: Any, values: Array, wanted: frozenset[int], precision: float | None
    ) -> tuple[Array, Array]:
        """Expectation values and derivatives, all in one pub of one job.

        Args:
            estimator: Any `BaseEstimatorV2`.
            values: (B, P) of the original parameters.
            wanted: Columns whose gradient is needed; empty for none.
            precision: The pub's precision.

        Returns:
            Expectation values (B, M) and their derivatives by angle (B, M, K); 0 for angles that no wanted parameter
            moves.

        Raises:
            CircuitError: As `evaluate_pub`.
        """
        if not len(values):
            return np.zeros((0, len(self._observables))), np.zeros((0, len(self._observables), self.num_angles))
        angles = self._expansion.angle_values(values)
        shifted = [k for k, columns in enumerate(self._columns) if columns & wanted]
        points = np.repeat(angles[None], 1 + 2 * len(shifted), axis=0)
        for position, k in enumerate(shifted):
            points[1 + 2 * position, :, k] += math.pi / 2
            points[2 + 2 * position, :, k] -= math.pi / 2
        flat = points.reshape(len(points) * len(values), self.num_angles)
        table = evaluate_pub(estimator, self.circuit, self._observables, flat, precision)
        table = table.reshape(len(points), len(values), -1)
        jacobian = np.zeros((*table.shape[1:], self.num_angles))
        for position, k in enumerate(shifted):
            jacobian[:, :, k] = (table[1 + 2 * position] - table[2 + 2 * position]) / 2
        return table[0], jacobian

    def pull_back(self, values: Array, grad_output: Array, jacobian: Array) -> Array:
        """Gradient by parameter (B, P) from the gradient by output (B, M)."""
        by_angle = np.einsum("bm,bmk->bk", grad_output, jacobian)
        return self._expansion.pull_back(values, by_angle)
