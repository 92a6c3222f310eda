"""Expectation values and their Jacobian from any estimator in one pub, by parameter-shift rules.

Each angle of each gate is a parameter of its own, and its derivative a sum of expectation values at shifted angles,
exactly, also under noise that does not depend on the angle. Parameters follow by the chain rule, so shared, scaled and
nonlinear ones are right. Gates stay whole, and with them the places where a noise model puts its errors; the few that
have no rule here are decomposed into rotations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import ControlledGate, Parameter
from qiskit.quantum_info import SparsePauliOp

from qhybrid.quantum.engine.compiler.angle_expansion import STANDARD_GATES, expand
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.compiler.lowering import ROTATIONS
from qhybrid.quantum.estimators.pubs import evaluate_pub

Array = NDArray[np.float64]
Rule = tuple[tuple[float, float], ...]
"""Pairs (shift, coefficient): d<O>/dphi = sum of coefficient * <O>(phi + shift)."""

_TWO: Rule = ((math.pi / 2, 0.5), (-math.pi / 2, -0.5))
"""Where <O>(phi) has frequency 1: a rotation, or a phase of one amplitude."""
_NEAR, _FAR = (math.sqrt(2) + 1) / (4 * math.sqrt(2)), (math.sqrt(2) - 1) / (4 * math.sqrt(2))
_FOUR: Rule = (
    (math.pi / 2, _NEAR),
    (-math.pi / 2, -_NEAR),
    (3 * math.pi / 2, -_FAR),
    (-3 * math.pi / 2, _FAR),
)
"""Where it has frequencies 1/2 and 1: controlled rotations (Anselmetti et al., arXiv 2104.05695)."""

RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(ROTATIONS, (_TWO,)),
    "u": (_TWO,) * 3,
    "u2": (_TWO,) * 2,
    "u3": (_TWO,) * 3,
    "cp": (_TWO,),
    "cu1": (_TWO,),
    "crx": (_FOUR,),
    "cry": (_FOUR,),
    "crz": (_FOUR,),
    "cu": (_FOUR, _TWO, _TWO, _TWO),
    "cu3": (_FOUR, _TWO, _TWO),
}
"""The rule of each argument of each gate that stays whole."""
CONTROLLED = frozenset(name for name in RULES if isinstance(STANDARD_GATES.get(name), ControlledGate))


class ShiftedCircuit:
    """A circuit prepared for parameter shifts.

    Attributes:
        circuit: Circuit that the estimator gets, with parameters `angle[k]`.
        num_angles: Angles, each costing two or four more evaluations per sample.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        observables: Sequence[SparsePauliOp],
        parameters: Sequence[Parameter],
        *,
        decomposed: Collection[str] = (),
    ) -> None:
        """Prepare the shifted copies of a circuit.

        Args:
            circuit: Unitary circuit, without measurements.
            observables: Observables to be measured, one output each.
            parameters: All parameters of the circuit, in the order of the value columns.
            decomposed: Gates that become rotations although they have a rule.

        Raises:
            CircuitError: As `lowering.lower`.
        """
        self._features = Features(parameters)
        self._expansion = expand(circuit, self._features, keep=RULES.keys() - set(decomposed))
        self._rules = [RULES[slot.gate][slot.argument] for slot in self._expansion.slots]
        self._columns = [self._features.parameters_of(angle) for angle in self._expansion.angles]
        self.circuit = self._expansion.circuit
        self.num_angles = len(self._columns)
        self._observables = list(observables)

    def evaluate(
        self, estimator: Any, values: Array, wanted: frozenset[int], precision: float | None
    ) -> tuple[Array, Array]:
        """Expectation values and derivatives, all in one pub of one job.

        Args:
            estimator: Estimator of any kind, a `BaseEstimatorV2`.
            values: Values of the original parameters in radians, (B, P).
            wanted: Columns whose gradient is needed; empty for none.
            precision: Precision of the pub; `None` leaves it to the estimator.

        Returns:
            Expectation values (B, M) and their derivatives by angle (B, M, K); 0 for angles that no wanted parameter
            moves.

        Raises:
            CircuitError: As `evaluate_pub`.
        """
        if not len(values):
            return np.zeros((0, len(self._observables))), np.zeros((0, len(self._observables), self.num_angles))
        angles = self._expansion.angle_values(values)
        shifts = [
            (k, shift, coefficient)
            for k, columns in enumerate(self._columns)
            if columns & wanted
            for shift, coefficient in self._rules[k]
        ]
        points = np.repeat(angles[None], 1 + len(shifts), axis=0)
        for position, (k, shift, _) in enumerate(shifts, start=1):
            points[position, :, k] += shift
        flat = points.reshape(len(points) * len(values), self.num_angles)
        table = evaluate_pub(estimator, self.circuit, self._observables, flat, precision)
        table = table.reshape(len(points), len(values), -1)
        jacobian = np.zeros((*table.shape[1:], self.num_angles))
        for position, (k, _, coefficient) in enumerate(shifts, start=1):
            jacobian[:, :, k] += coefficient * table[position]
        return table[0], jacobian

    def pull_back(self, values: Array, grad_output: Array, jacobian: Array) -> Array:
        """Gradient by parameter (B, P) from the gradient by output (B, M).

        Args:
            values: Values of the original parameters in radians, `(B, P)`.
            grad_output: Gradient by each expectation value, `(B, M)`.
            jacobian: Derivatives of the outputs by shifted angle, `(B, M, K)`.
        """
        by_angle = np.einsum("bm,bmk->bk", grad_output, jacobian)
        return self._expansion.pull_back(values, by_angle)
