"""The quantum layer for PyTorch: a `TorchConnector` that trains at simulator speed or with one job per step.

This is the only module that imports qiskit_machine_learning. `QuantumLayer(qnn)` replaces `TorchConnector(qnn)`:

- With a `CompiledEstimator` in the QNN, backward is one vector-Jacobian product for all outputs.
- With any other estimator, forward sends one pub with all observables and all samples and, if a gradient is needed,
  all parameter shifts in the same pub; backward sends nothing.
- The state dict holds the weights once, as `weight` (the stock connector's second entry `_weights` is accepted when
  loading), so averaging and safetensors work.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from torch import Tensor
from torch.autograd.function import once_differentiable

from qhybrid.errors import CircuitError
from qhybrid.quantum.estimator import CompiledEstimator
from qhybrid.quantum.factory import build_estimator
from qhybrid.quantum.pubs import as_pauli_sum
from qhybrid.quantum.shift import ShiftedCircuit
from qhybrid.quantum.spec import CircuitSpec
from qhybrid.quantum.spsa import PerturbedCircuit, Spsa

__all__ = ["QuantumLayer", "build_estimator", "build_qnn"]

Array = NDArray[np.float64]


def build_qnn(spec: CircuitSpec, estimator: BaseEstimatorV2) -> EstimatorQNN:
    """A QNN with input gradients and the estimator's own precision (stock defaults: neither)."""
    options = getattr(estimator, "options", None)
    precision = getattr(estimator, "default_precision", getattr(options, "default_precision", None))
    return EstimatorQNN(
        circuit=spec.circuit,
        estimator=estimator,
        observables=list(spec.observables),
        input_params=list(spec.inputs),
        weight_params=list(spec.weights),
        input_gradients=True,
        default_precision=precision,
    )


class QuantumLayer(TorchConnector):  # type: ignore[misc]  # qiskit_machine_learning is skipped by mypy
    """Expectation values of a circuit as a differentiable layer, angles (B, n_in) -> outputs (B, n_out).

    Angles are in radians, outputs in the dtype and on the device of the angles (float32 for half precision). A single
    sample (n_in,) gives (n_out,). `copy.deepcopy` copies the weights and shares the circuit. Second derivatives are
    not available.
    """

    def __init__(
        self,
        qnn: EstimatorQNN,
        initial_weights: ArrayLike | Tensor | None = None,
        *,
        seed: int | None = None,
        gradient: Literal["auto", "parameter_shift", "spsa"] | Spsa = "auto",
    ) -> None:
        """
        Args:
            qnn: The network; its estimator decides how the layer is evaluated.
            initial_weights: (n_weights,); by default uniform in [-1, 1] radians.
            seed: Of the default initial weights; by default torch's global generator is used.
            gradient: `auto` is the adjoint method with a `CompiledEstimator` and parameter shifts with any other;
                `spsa` (or `Spsa` with settings) takes two evaluations per sample whatever the number of parameters.

        Raises:
            CircuitError: Not an `EstimatorQNN`, weights of another length, an unknown gradient, or a circuit that
                cannot be evaluated.
        """
        if not isinstance(qnn, EstimatorQNN):
            raise CircuitError(f"QuantumLayer takes an EstimatorQNN, not {type(qnn).__name__}")
        weights = _initial_weights(qnn.num_weights, initial_weights, seed)
        super().__init__(qnn, initial_weights=weights, sparse=False)
        # The connector registers its parameter under two names; both reach the one that is left.
        del self._parameters["_weights"]
        self._evaluator = _make_evaluator(qnn, gradient)

    def __getattr__(self, name: str) -> Any:
        # While the connector's constructor runs, `_weights` must be free to be registered.
        constructed = "_evaluator" in self.__dict__
        return super().__getattr__("weight" if constructed and name == "_weights" else name)

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantumLayer:
        # A circuit, its compiled form and connections to simulators are constant: copies share them.
        memo[id(self._neural_network)] = self._neural_network
        memo[id(self._evaluator)] = self._evaluator
        twin = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        for name, value in self.__dict__.items():
            twin.__dict__[name] = copy.deepcopy(value, memo)
        return twin

    def forward(self, input_data: Tensor | None = None) -> Tensor:
        """Evaluate the circuit.

        Args:
            input_data: Angles (..., n_in); `None` for a circuit without inputs.

        Returns:
            (..., n_out).

        Raises:
            CircuitError: The last axis is not n_in.
        """
        weight: Tensor = self._parameters["weight"]
        angles = torch.zeros(0, dtype=weight.dtype, device=weight.device) if input_data is None else input_data
        expected = self._neural_network.num_inputs
        if angles.ndim == 0 or angles.shape[-1] != expected:
            raise CircuitError(f"input of shape {tuple(angles.shape)}: the circuit takes {expected} angles per sample")
        rows = angles.reshape(-1, expected) if expected else angles.new_zeros(max(1, angles.shape[:-1].numel()), 0)
        # Inside an autograd function gradient mode is always off, so whether it was on is asked here.
        wanted = torch.is_grad_enabled()
        outputs: Tensor = _Evaluate.apply(rows, weight, self._evaluator, wanted)  # type: ignore[no-untyped-call]
        return outputs.reshape(*angles.shape[:-1], outputs.shape[-1])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(f"{prefix}_weights", None)
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Evaluator(Protocol):
    """How a layer gets its numbers; `values` are (B, n_in + n_weights), inputs first."""

    def forward(self, values: Array, inputs: bool, weights: bool) -> tuple[Array, Any]:
        """Outputs (B, n_out) and what `backward` needs for the gradients that are wanted."""

    def backward(self, values: Array, stash: Any, grad_output: Array) -> Array:
        """Gradient (B, n_in + n_weights)."""


class _CompiledEvaluator:
    def __init__(self, qnn: EstimatorQNN, estimator: CompiledEstimator) -> None:
        self._shared = qnn.num_weights
        self._compiled = estimator.compile(qnn.circuit, _observables(qnn), _parameters(qnn))

    def forward(self, values: Array, inputs: bool, weights: bool) -> tuple[Array, Any]:
        return self._compiled.forward(values, shared=self._shared, keep=inputs or weights)

    def backward(self, values: Array, stash: Any, grad_output: Array) -> Array:
        states = stash if len(stash) else None
        return self._compiled.vjp(values, grad_output, shared=self._shared, states=states)


class _PubEvaluator:
    """One pub to whatever estimator the QNN holds."""

    def __init__(self, qnn: EstimatorQNN, circuit: ShiftedCircuit | PerturbedCircuit) -> None:
        self._qnn = qnn
        self._circuit = circuit

    def forward(self, values: Array, inputs: bool, weights: bool) -> tuple[Array, Any]:
        first = self._qnn.num_inputs
        wanted = [*range(first)] * inputs + [*range(first, values.shape[1])] * weights
        precision = self._qnn.default_precision
        return self._circuit.evaluate(self._qnn.estimator, values, frozenset(wanted), precision)

    def backward(self, values: Array, stash: Any, grad_output: Array) -> Array:
        return self._circuit.pull_back(values, grad_output, stash)


class _Evaluate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, evaluator: _Evaluator, wanted: bool) -> Tensor:
        rows = _to_numpy(inputs)
        values = np.concatenate([rows, np.broadcast_to(_to_numpy(weight), (len(rows), len(weight)))], axis=1)
        needs = [wanted and needed for needed in ctx.needs_input_grad[:2]]
        outputs, stash = evaluator.forward(values, *needs)
        if any(needs):
            ctx.evaluator, ctx.values, ctx.stash, ctx.split = evaluator, values, stash, rows.shape[1]
            ctx.weight_like = weight.dtype, weight.device
            ctx.input_like = inputs.dtype, inputs.device
        dtype = inputs.dtype if inputs.dtype in (torch.float32, torch.float64) else torch.float32
        return torch.from_numpy(outputs).to(inputs.device, dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient = ctx.evaluator.backward(ctx.values, ctx.stash, _to_numpy(grad_output))
        split = ctx.split
        dtype, device = ctx.input_like
        by_input = torch.from_numpy(gradient[:, :split]).to(device, dtype) if ctx.needs_input_grad[0] else None
        dtype, device = ctx.weight_like
        # Summed in double precision and in the order of the samples: the same number whatever the threads.
        by_weight = (
            torch.from_numpy(gradient[:, split:].sum(axis=0)).to(device, dtype) if ctx.needs_input_grad[1] else None
        )
        return by_input, by_weight, None, None


def _make_evaluator(qnn: EstimatorQNN, gradient: str | Spsa) -> _Evaluator:
    if gradient == "auto" and isinstance(qnn.estimator, CompiledEstimator):
        return _CompiledEvaluator(qnn, qnn.estimator)
    observables, parameters = _observables(qnn), _parameters(qnn)
    if gradient in ("auto", "parameter_shift"):
        return _PubEvaluator(qnn, ShiftedCircuit(qnn.circuit, observables, parameters))
    settings = Spsa() if gradient == "spsa" else gradient
    if not isinstance(settings, Spsa):
        raise CircuitError(f"unknown gradient `{gradient}` (known: auto, parameter_shift, spsa)")
    return _PubEvaluator(qnn, PerturbedCircuit(qnn.circuit, observables, parameters, settings))


def _parameters(qnn: EstimatorQNN) -> Sequence[Any]:
    return [*(qnn.input_params or ()), *(qnn.weight_params or ())]


def _observables(qnn: EstimatorQNN) -> list[SparsePauliOp]:
    return [as_pauli_sum(observable) for observable in qnn.observables]


def _to_numpy(tensor: Tensor) -> Array:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _initial_weights(count: int, given: ArrayLike | Tensor | None, seed: int | None) -> NDArray[Any]:
    if given is None:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return (2 * torch.rand(count, generator=generator) - 1).numpy()
    weights = _to_numpy(given) if isinstance(given, Tensor) else np.asarray(given, dtype=np.float64)
    if weights.shape != (count,):
        raise CircuitError(f"initial weights of shape {weights.shape}: the circuit has {count} weights")
    return weights
