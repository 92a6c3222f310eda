"""One pub to any estimator, checked on its way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhybrid.errors import CircuitError


def evaluate_pub(
    estimator: Any,
    circuit: QuantumCircuit,
    observables: Sequence[SparsePauliOp],
    points: NDArray[np.float64],
    precision: float | None,
) -> NDArray[np.float64]:
    """Expectation values of all observables at all points, in one pub of one job.

    Args:
        estimator: Any `BaseEstimatorV2`.
        circuit: The circuit.
        observables: M of them.
        points: (N, P) in the order of `circuit.parameters`.
        precision: The pub's precision.

    Returns:
        (N, M).

    Raises:
        CircuitError: The estimator returned another shape or numbers that are not finite.
    """
    # Shape (M, 1), to broadcast against (N,).
    column = [[observable] for observable in observables]
    pub = (circuit, column, points) if points.shape[1] else (circuit, column)
    answer = np.asarray(estimator.run([pub], precision=precision).result()[0].data.evs, dtype=np.float64)
    if not points.shape[1]:
        answer = np.repeat(answer, len(points), axis=1)
    expected = (len(column), len(points))
    if answer.shape != expected or not np.isfinite(answer).all():
        raise CircuitError(
            f"the estimator returned expectation values of shape {answer.shape}, expected {expected} finite numbers"
        )
    return answer.T
