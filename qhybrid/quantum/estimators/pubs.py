"""One pub to any estimator, checked on its way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator, Pauli, PauliList, SparseObservable, SparsePauliOp

from qhybrid.errors import CircuitError


def as_pauli_sum(observable: Any) -> SparsePauliOp:
    """An observable of whatever class of Qiskit as a sum of Pauli strings.

    Raises:
        CircuitError: It is no operator.
    """
    if isinstance(observable, SparsePauliOp):
        return observable
    if isinstance(observable, Pauli | PauliList):
        return SparsePauliOp(observable)
    if isinstance(observable, SparseObservable):
        return SparsePauliOp.from_sparse_observable(observable)
    try:
        return SparsePauliOp.from_operator(Operator(observable))
    except QiskitError as error:
        raise CircuitError(f"observable of class {type(observable).__name__}: {error}") from None


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
