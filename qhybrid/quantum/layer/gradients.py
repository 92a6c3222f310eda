"""How a quantum layer gets its numbers: from compiled circuits, or in one pub from any other estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.quantum_info import SparsePauliOp

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.compiler.angles import joined
from qhybrid.quantum.engine.density.circuit import DensityCircuit
from qhybrid.quantum.engine.statevector.circuit import CompiledCircuit
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.estimators.shots import SampledCircuit
from qhybrid.quantum.layer.parameter_shift import CONTROLLED, ShiftedCircuit
from qhybrid.quantum.layer.spsa import PerturbedCircuit, Spsa

Array = NDArray[np.float64]


class Evaluator(Protocol):
    """How a layer gets its numbers: inputs (B, n_in), weights (n_weights,), all float64."""

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        """Outputs (B, n_out) and what `backward` needs for the gradients that are wanted: by inputs, by weights."""

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        """Gradient by inputs (B, n_in) and by weights (n_weights,)."""


class ExactEvaluator:
    """Without noise and shots: inputs and weights go to the kernels as they are."""

    def __init__(self, compiled: CompiledCircuit) -> None:
        self.compiled = compiled

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        return self.compiled.forward_split(inputs, weights, keep=any(needs))

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        return self.compiled.vjp_split(inputs, weights, grad_output, stash if len(stash) else None)


class _NoisyEvaluator:
    """With noise or shots."""

    def __init__(self, compiled: DensityCircuit | SampledCircuit) -> None:
        self._compiled = compiled

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        return self._compiled.forward(joined(inputs, weights), shared=len(weights), keep=any(needs))

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        states = stash if len(stash) else None
        gradient = self._compiled.vjp(joined(inputs, weights), grad_output, shared=len(weights), states=states)
        return gradient[:, : inputs.shape[1]], gradient[:, inputs.shape[1] :].sum(axis=0)


class _PubEvaluator:
    """One pub to whatever estimator there is."""

    def __init__(
        self, estimator: BaseEstimatorV2, circuit: ShiftedCircuit | PerturbedCircuit, precision: float | None
    ) -> None:
        self._estimator, self._circuit, self._precision = estimator, circuit, precision

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        values = joined(inputs, weights)
        first = inputs.shape[1]
        wanted = [*range(first)] * needs[0] + [*range(first, values.shape[1])] * needs[1]
        return self._circuit.evaluate(self._estimator, values, frozenset(wanted), self._precision)

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        gradient = self._circuit.pull_back(joined(inputs, weights), grad_output, stash)
        return gradient[:, : inputs.shape[1]], gradient[:, inputs.shape[1] :].sum(axis=0)


def make_evaluator(
    estimator: BaseEstimatorV2,
    circuit: QuantumCircuit,
    observables: Sequence[SparsePauliOp],
    parameters: Sequence[Parameter],
    gradient: str | Spsa,
    precision: float | None,
) -> Evaluator:
    """What evaluates a circuit with a given estimator.

    Args:
        estimator: A `CompiledEstimator` gives vector-Jacobian products unless `gradient` asks for pubs.
        circuit: Parameterized circuit.
        observables: One output each.
        parameters: Inputs, then weights.
        gradient: `auto`, `parameter_shift`, `spsa` or an `Spsa`.
        precision: Of the pubs.

    Raises:
        CircuitError: Unknown gradient, or a circuit that cannot be evaluated.
    """
    if gradient == "auto" and isinstance(estimator, CompiledEstimator):
        compiled = estimator.compile(circuit, observables, parameters)
        return ExactEvaluator(compiled) if isinstance(compiled, CompiledCircuit) else _NoisyEvaluator(compiled)
    # Aer's own estimators forget free angles of controlled gates (https://github.com/Qiskit/qiskit-aer/issues/2403).
    forgotten = CONTROLLED if type(estimator).__module__.startswith("qiskit_aer.") else frozenset()
    if gradient in ("auto", "parameter_shift"):
        shifted = ShiftedCircuit(circuit, observables, parameters, decomposed=forgotten)
        return _PubEvaluator(estimator, shifted, precision)
    settings = Spsa() if gradient == "spsa" else gradient
    if not isinstance(settings, Spsa):
        raise CircuitError(f"unknown gradient `{gradient}` (known: auto, parameter_shift, spsa)")
    whole = circuit.decompose(sorted(forgotten)) if forgotten else circuit
    return _PubEvaluator(estimator, PerturbedCircuit(whole, observables, parameters, settings), precision)
