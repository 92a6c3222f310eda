"""One pub to any estimator, checked on its way back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.primitives import PrimitiveJob
from qiskit.primitives.containers import PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import Operator, Pauli, PauliList, SparseObservable, SparsePauliOp

from qhybrid.errors import CircuitError

MAX_SHOTS = 2**31 - 1


def as_pauli_sum(observable: Any) -> SparsePauliOp:
    """An observable in whatever form Qiskit takes as a sum of Pauli strings.

    Args:
        observable: An operator, a label such as `ZZ` or `0+`, a mapping of labels to coefficients, or a list of labels
            or of pairs (label, coefficient), which are summed.

    Raises:
        CircuitError: It is no operator.
    """
    if isinstance(observable, SparsePauliOp):
        return observable
    if isinstance(observable, Pauli | PauliList):
        return SparsePauliOp(observable)
    try:
        if isinstance(observable, str):
            observable = [(observable, 1.0)]
        elif isinstance(observable, Mapping):
            observable = list(observable.items())
        if isinstance(observable, list | tuple) and observable and not isinstance(observable[0], list | int | float):
            terms = [(term, 1.0) if isinstance(term, str) else (str(term[0]), term[1]) for term in observable]
            observable = SparseObservable.from_list(terms)
        if isinstance(observable, SparseObservable):
            return SparsePauliOp.from_sparse_observable(observable)
        return SparsePauliOp.from_operator(Operator(observable))
    except (QiskitError, ValueError, TypeError) as error:
        raise CircuitError(f"observable of class {type(observable).__name__}: {error}") from None


def shots_of(precision: float) -> int:
    """Shots of a precision: 1 / precision^2, the number whose standard error for one Pauli string is at most that.

    Raises:
        CircuitError: The precision is no positive number, or asks for more than 2^31 - 1 shots.
    """
    if not (math.isfinite(precision) and precision > 0):
        raise CircuitError(f"precision {precision}: give a positive number, or 0 for exact expectation values")
    shots = max(1.0, round(1 / precision / precision, 6))
    if shots > MAX_SHOTS:
        raise CircuitError(f"precision {precision} asks for {shots:.3g} shots: at most {MAX_SHOTS}")
    return round(shots)


def submitted(run: Callable[..., Any], pubs: Sequence[EstimatorPub]) -> PrimitiveJob[PrimitiveResult[PubResult]]:
    """A job that computes `run(pubs)` in a thread; started as Qiskit's own primitives start theirs."""
    job = PrimitiveJob(run, pubs)
    job._submit()
    return job


def evaluate_pub(
    estimator: Any,
    circuit: QuantumCircuit,
    observables: Sequence[SparsePauliOp],
    points: NDArray[np.float64],
    precision: float | None,
) -> NDArray[np.float64]:
    """Expectation values of all observables at all points, in one pub of one job.

    Args:
        estimator: Estimator of any kind, a `BaseEstimatorV2`.
        circuit: Circuit to be evaluated.
        observables: Observables to be measured, M of them.
        points: Parameter values in radians, (N, P), in the order of `circuit.parameters`.
        precision: Precision of the pub; `None` leaves it to the estimator.

    Returns:
        Expectation values of the M observables at the N points, (N, M).

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
