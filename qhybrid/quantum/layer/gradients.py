"""How a quantum layer gets its numbers and its gradients: compiled, in one pub, or by a gradient object."""

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
from qhybrid.quantum.estimators.pubs import evaluate_pub
from qhybrid.quantum.estimators.shots import SampledCircuit
from qhybrid.quantum.layer.networks import BaseEstimatorGradient, Gradient, differentiate
from qhybrid.quantum.layer.parameter_shift import CONTROLLED, ShiftedCircuit
from qhybrid.quantum.layer.runtime_estimators import require_runnable
from qhybrid.quantum.layer.spsa import PerturbedCircuit, Spsa

Array = NDArray[np.float64]

# Below this step, the rounding of single precision is a visible part of a difference quotient.
_SMALLEST_STEP = 1e-2


class GradientMethod(Protocol):
    """Numbers and gradients of a circuit: inputs (B, n_in), weights (n_weights,), all float64."""

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        """Outputs `(B, n_out)`, and what `backward` needs for the gradients that are wanted.

        Args:
            inputs: Input angles in radians, float64 `(B, n_in)`.
            weights: Weights in radians, float64 `(n_weights,)`.
            needs: Whether the gradient by inputs is wanted, and that by weights.
        """

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        """Gradient by inputs `(B, n_in)` and by weights `(n_weights,)`.

        Args:
            inputs: Input angles in radians, float64 `(B, n_in)`.
            weights: Weights in radians, float64 `(n_weights,)`.
            stash: Intermediate results that `forward` returned beside the outputs.
            grad_output: Gradient by output, `(B, n_out)`.
        """


class AdjointMethod:
    """Adjoint differentiation of an exact, noiseless circuit; inputs and weights go to the kernels as they are."""

    def __init__(self, compiled: CompiledCircuit) -> None:
        """Differentiate a compiled circuit.

        Args:
            compiled: The circuit, its parameters in the order inputs, weights.
        """
        self.compiled = compiled

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        """See `GradientMethod`."""
        return self.compiled.forward_split(inputs, weights, keep=any(needs))

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        """See `GradientMethod`."""
        return self.compiled.vjp_split(inputs, weights, grad_output, stash if len(stash) else None)


class _CompiledMethod:
    """Vector-Jacobian products of a compiled circuit with noise or shots."""

    def __init__(self, compiled: DensityCircuit | SampledCircuit) -> None:
        self._compiled = compiled

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        return self._compiled.forward(joined(inputs, weights), shared=len(weights), keep=any(needs))

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        states = stash if len(stash) else None
        gradient = self._compiled.vjp(joined(inputs, weights), grad_output, shared=len(weights), states=states)
        return gradient[:, : inputs.shape[1]], gradient[:, inputs.shape[1] :].sum(axis=0)


class _PubMethod:
    """All values and all shifted values in one pub to whatever estimator there is."""

    def __init__(
        self, estimator: BaseEstimatorV2, circuit: ShiftedCircuit | PerturbedCircuit, precision: float | None
    ) -> None:
        self._estimator, self._circuit, self._precision = estimator, circuit, precision

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        values = joined(inputs, weights)
        return self._circuit.evaluate(self._estimator, values, _wanted(inputs, weights, needs), self._precision)

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        gradient = self._circuit.pull_back(joined(inputs, weights), grad_output, stash)
        return gradient[:, : inputs.shape[1]], gradient[:, inputs.shape[1] :].sum(axis=0)


class _ObjectMethod:
    """Values in one pub, derivatives from a gradient object of qiskit-machine-learning, asked once per backward."""

    def __init__(
        self,
        gradient: BaseEstimatorGradient,
        estimator: BaseEstimatorV2,
        circuit: QuantumCircuit,
        observables: Sequence[SparsePauliOp],
        parameters: Sequence[Parameter],
        precision: float | None,
    ) -> None:
        self._gradient, self._estimator, self._precision = gradient, estimator, precision
        self._circuit, self._observables, self._parameters = circuit, list(observables), list(parameters)
        column = {parameter: index for index, parameter in enumerate(parameters)}
        self._order = [column[parameter] for parameter in circuit.parameters]

    def forward(self, inputs: Array, weights: Array, needs: tuple[bool, bool]) -> tuple[Array, Any]:
        points = joined(inputs, weights)[:, self._order]
        outputs = evaluate_pub(self._estimator, self._circuit, self._observables, points, self._precision)
        return outputs, sorted(_wanted(inputs, weights, needs))

    def backward(self, inputs: Array, weights: Array, stash: Any, grad_output: Array) -> tuple[Array, Array]:
        values = joined(inputs, weights)
        gradient = np.zeros(values.shape)
        if stash and len(values):
            wanted = [self._parameters[column] for column in stash]
            points = values[:, self._order]
            rows = differentiate(self._gradient, self._circuit, self._observables, points, wanted)
            jacobian = np.array(rows, dtype=np.complex128).reshape(len(self._observables), len(values), len(stash))
            if not np.isfinite(jacobian).all() or np.abs(jacobian.imag).max(initial=0.0) > 1e-8:
                raise CircuitError(f"{type(self._gradient).__name__} returned derivatives that are not finite and real")
            gradient[:, stash] = np.einsum("bm,mbk->bk", grad_output, jacobian.real)
        return gradient[:, : inputs.shape[1]], gradient[:, inputs.shape[1] :].sum(axis=0)


def _wanted(inputs: Array, weights: Array, needs: tuple[bool, bool]) -> frozenset[int]:
    """Columns whose gradient is needed."""
    first = inputs.shape[1]
    return frozenset([*range(first)] * needs[0] + [*range(first, first + len(weights))] * needs[1])


def gradient_method(
    estimator: BaseEstimatorV2,
    circuit: QuantumCircuit,
    observables: Sequence[SparsePauliOp],
    parameters: Sequence[Parameter],
    gradient: Gradient,
    precision: float | None,
) -> GradientMethod:
    """What evaluates and differentiates a circuit with a given estimator.

    Args:
        estimator: Estimator of any kind; a `CompiledEstimator` gives vector-Jacobian products unless `gradient` asks
            for pubs.
        circuit: Parameterized circuit of the layer.
        observables: Observables to be measured, one output each.
        parameters: Parameters of the circuit, inputs first, then weights.
        gradient: Name of the method, `auto`, `parameter_shift` or `spsa`; or an `Spsa`, or a gradient object of
            qiskit-machine-learning.
        precision: Standard error that is asked of the estimator; `None` for the estimator's own.

    Raises:
        CircuitError: Unknown gradient, or a circuit that cannot be evaluated or that an estimator of Runtime does not
            run.
    """
    if gradient == "auto" and isinstance(estimator, CompiledEstimator):
        compiled = estimator.compile(circuit, observables, parameters, precision=precision)
        return AdjointMethod(compiled) if isinstance(compiled, CompiledCircuit) else _CompiledMethod(compiled)
    if isinstance(gradient, BaseEstimatorGradient):
        require_runnable(estimator, circuit)
        return _ObjectMethod(gradient, estimator, circuit, observables, parameters, precision)
    # Aer's own estimators forget free angles of controlled gates (https://github.com/Qiskit/qiskit-aer/issues/2403).
    forgotten = CONTROLLED if type(estimator).__module__.startswith("qiskit_aer.") else frozenset()
    if gradient in ("auto", "parameter_shift"):
        shifted = ShiftedCircuit(circuit, observables, parameters, decomposed=forgotten)
        require_runnable(estimator, shifted.circuit)
        return _PubMethod(estimator, shifted, precision)
    settings = Spsa() if gradient == "spsa" else gradient
    if not isinstance(settings, Spsa):
        raise CircuitError(f"unknown gradient `{gradient}` (known: auto, parameter_shift, spsa)")
    if type(estimator) is CompiledEstimator and settings.epsilon < _SMALLEST_STEP:
        estimator = estimator.in_double_precision()
    whole = circuit.decompose(sorted(forgotten)) if forgotten else circuit
    require_runnable(estimator, whole)
    return _PubMethod(estimator, PerturbedCircuit(whole, observables, parameters, settings), precision)
