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
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from torch import Tensor

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.engine.statevector.tensors import TorchCircuit
from qhybrid.quantum.estimators.from_config import build_estimator
from qhybrid.quantum.estimators.pubs import as_pauli_sum
from qhybrid.quantum.layer.gradients import Evaluator, ExactEvaluator, make_evaluator
from qhybrid.quantum.layer.spsa import Spsa

__all__ = ["QuantumLayer", "build_estimator", "build_qnn"]

Array = NDArray[np.float64]

_NUMPY_TYPES: dict[torch.dtype, type[np.floating]] = {torch.float32: np.float32, torch.float64: np.float64}


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
        self._evaluator = make_evaluator(
            qnn.estimator, qnn.circuit, _observables(qnn), _parameters(qnn), gradient, qnn.default_precision
        )

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
        # At few qubits the step is spent in calls, so a batch, the usual case, goes through without reshapes.
        is_batch = angles.ndim == 2 and expected > 0
        rows = angles if is_batch else _as_rows(angles, expected)
        # Inside an autograd function gradient mode is always off, so whether it was on is asked here.
        wanted = torch.is_grad_enabled()
        exact = self._evaluator
        tensors = exact.compiled.in_tensors(rows.device) if isinstance(exact, ExactEvaluator) else None
        outputs: Tensor = (
            _Evaluate.apply(rows, weight, self._evaluator, wanted)  # type: ignore[no-untyped-call]
            if tensors is None
            else _EvaluateInTensors.apply(rows, weight, tensors, wanted)  # type: ignore[no-untyped-call]
        )
        return outputs if is_batch else outputs.reshape(*angles.shape[:-1], outputs.shape[-1])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(f"{prefix}_weights", None)
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Evaluate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, evaluator: Evaluator, wanted: bool) -> Tensor:
        rows, weights = _to_numpy(inputs), _to_numpy(weight)
        needs = (wanted and ctx.needs_input_grad[0], wanted and ctx.needs_input_grad[1])
        outputs, stash = evaluator.forward(rows, weights, needs)
        if needs[0] or needs[1]:
            ctx.saved = evaluator, rows, weights, stash
            ctx.likes = inputs.dtype, inputs.device, weight.dtype, weight.device
        dtype = inputs.dtype if inputs.dtype in _NUMPY_TYPES else torch.float32
        return _to_torch(outputs, dtype, inputs.device)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        evaluator, rows, weights, stash = ctx.saved
        by_input, by_weight = evaluator.backward(rows, weights, stash, _to_numpy(grad_output))
        dtype, device, weight_dtype, weight_device = ctx.likes
        needs = ctx.needs_input_grad
        first = _to_torch(by_input, dtype, device) if needs[0] else None
        second = _to_torch(by_weight, weight_dtype, weight_device) if needs[1] else None
        # With create_graph, silence would make a second derivative 0, as `once_differentiable` does where the loss is
        # linear in the outputs.
        if torch.is_grad_enabled():
            first, second = _once(first), _once(second)
        return first, second, None, None


class _EvaluateInTensors(torch.autograd.Function):
    """Everything stays on the device of the inputs."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, circuit: TorchCircuit, wanted: bool) -> Tensor:
        common = weight.to(inputs.device, torch.float64).expand(len(inputs), -1)
        values = torch.cat([inputs.to(torch.float64), common], dim=1)
        features = circuit.features(values)
        outputs, states = circuit.forward(features)
        if wanted and (ctx.needs_input_grad[0] or ctx.needs_input_grad[1]):
            ctx.circuit = circuit
            ctx.likes = inputs.shape[1], inputs.dtype, weight.dtype, weight.device
            ctx.save_for_backward(values, features, states)
        return outputs.to(inputs.dtype if inputs.dtype in _NUMPY_TYPES else torch.float32)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        values, features, states = ctx.saved_tensors
        split, dtype, weight_dtype, weight_device = ctx.likes
        with torch.no_grad():
            gradient = ctx.circuit.pull_back(values, ctx.circuit.vjp(features, grad_output, states))
            by_input = gradient[:, :split].to(dtype) if ctx.needs_input_grad[0] else None
            summed = gradient[:, split:].sum(0)
            by_weight = summed.to(weight_device, weight_dtype) if ctx.needs_input_grad[1] else None
        if torch.is_grad_enabled():
            by_input, by_weight = _once(by_input), _once(by_weight)
        return by_input, by_weight, None, None


def _once(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else _FirstOnly.apply(gradient.requires_grad_())  # type: ignore[no-untyped-call]


class _FirstOnly(torch.autograd.Function):
    """A gradient that cannot be differentiated again."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError("second derivatives of a QuantumLayer are not available")


def _parameters(qnn: EstimatorQNN) -> Sequence[Any]:
    return [*(qnn.input_params or ()), *(qnn.weight_params or ())]


def _observables(qnn: EstimatorQNN) -> list[SparsePauliOp]:
    return [as_pauli_sum(observable) for observable in qnn.observables]


def _as_rows(angles: Tensor, expected: int) -> Tensor:
    if expected:
        return angles.reshape(-1, expected)
    return angles.new_zeros(max(1, angles.shape[:-1].numel()), 0)


def _to_numpy(tensor: Tensor) -> Array:
    """A float64 copy, so that what backward reads does not change when the tensor does."""
    tensor = tensor.detach()
    if tensor.dtype not in _NUMPY_TYPES or tensor.device.type != "cpu":
        tensor = tensor.to("cpu", torch.float64)
    return np.array(tensor.numpy(), dtype=np.float64)


def _to_torch(array: Array, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Converting in numpy costs less than a torch call.
    tensor = torch.from_numpy(array.astype(_NUMPY_TYPES.get(dtype, np.float64), copy=False))
    return tensor if dtype in _NUMPY_TYPES and device.type == "cpu" else tensor.to(device, dtype)


def _initial_weights(count: int, given: ArrayLike | Tensor | None, seed: int | None) -> NDArray[Any]:
    if given is None:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return (2 * torch.rand(count, generator=generator) - 1).numpy()
    weights = _to_numpy(given) if isinstance(given, Tensor) else np.asarray(given, dtype=np.float64)
    if weights.shape != (count,):
        raise CircuitError(f"initial weights of shape {weights.shape}: the circuit has {count} weights")
    return weights
