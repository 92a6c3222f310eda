"""The quantum layer for PyTorch: a `TorchConnector` that trains at simulator speed or with one job per step.

`QuantumLayer(qnn)` replaces `TorchConnector(qnn)`:

- With a `CompiledEstimator` in the QNN, backward is one vector-Jacobian product for all outputs.
- With any other estimator, forward sends one pub with all observables and all samples and, if a gradient is needed,
  all parameter shifts in the same pub; backward sends nothing.
- The state dict holds the weights once, as `weight` (the stock connector's second entry `_weights` is accepted when
  loading), so averaging and safetensors work.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import Parameter

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.statevector.tensors import TorchCircuit
from qhybrid.quantum.estimators.from_config import build_estimator
from qhybrid.quantum.layer.gradients import AdjointMethod, GradientMethod, gradient_method
from qhybrid.quantum.layer.networks import (
    EstimatorQNN,
    Gradient,
    TorchConnector,
    build_qnn,
    gradient_of,
    observables_of,
    parameters_of,
)
from qhybrid.quantum.layer.opaque import expectation_values, register
from qhybrid.quantum.layer.tensors_and_arrays import output_type, to_numpy, to_torch

__all__ = ["QuantumLayer", "build_estimator", "build_qnn"]

Array = NDArray[np.float64]


class QuantumLayer(TorchConnector):  # type: ignore[misc]  # qiskit_machine_learning is skipped by mypy
    """Expectation values of a circuit as a differentiable layer, angles (B, n_in) -> outputs (B, n_out).

    Angles are in radians, outputs in the dtype and on the device of the angles (float32 for half precision). A single
    sample (n_in,) gives (n_out,). `copy.deepcopy` copies the weights and shares the circuit; a pickled layer, or one
    stored whole by `torch.save`, compiles its circuit again. Second derivatives are not available.

    Shots and precision follow one rule, the one of the network's own `forward`: every value, forward and backward, is
    asked for with the network's `default_precision` p. A number takes 1 / p^2 shots in place of the estimator's own, 0
    asks for exact values, and `None`, which is what `build_qnn` sets, leaves it to the estimator: its `shots`, its
    options' `default_shots`, its default precision. An estimator without shots (`CompiledEstimator()`) is exact
    whatever is asked. A new `estimator` or `gradient` of the network, and other shots of the estimator, hold from the
    next call on.
    """

    def __init__(
        self,
        qnn: EstimatorQNN,
        initial_weights: ArrayLike | Tensor | None = None,
        *,
        seed: int | None = None,
        gradient: Gradient = "auto",
    ) -> None:
        """Make a layer of a network and its weights.

        Args:
            qnn: The network; its estimator decides how the layer is evaluated, its observables may be operators,
                labels, or mappings of labels to coefficients.
            initial_weights: Initial weights in radians, (n_weights,); by default uniform in [-1, 1].
            seed: Seed of the default initial weights; by default torch's global generator is used.
            gradient: `auto` does what the network's gradient object says. For parameter shifts, which is also the
                default of a network that was given none, that is the adjoint method with a `CompiledEstimator` and
                parameter shifts in one pub with any other; for SPSA two evaluations per sample and direction, in one
                pub; any other object is run as it is, once in each backward pass. `parameter_shift`, `spsa`, an `Spsa`
                with settings, or a gradient object take the place of the network's.

        Raises:
            CircuitError: Not an `EstimatorQNN`, weights of another length, an unknown gradient, an observable over
                another number of qubits, or a circuit that cannot be evaluated.
        """
        if not isinstance(qnn, EstimatorQNN):
            raise CircuitError(f"QuantumLayer takes an EstimatorQNN, not {type(qnn).__name__}")
        weights = _initial_weights(qnn.num_weights, initial_weights, seed)
        super().__init__(qnn, initial_weights=weights, sparse=False)
        # The connector registers its parameter under two names; both reach the one that is left.
        del self._parameters["_weights"]
        self._gradient = gradient
        self._method: GradientMethod | None = None
        self._made_for: tuple[Any, ...] = ()
        self.method()
        self._number = register(self)

    def __getattr__(self, name: str) -> Any:
        """Torch's look-up of parameters; the connector's second name of its weights leads to the first."""
        return super().__getattr__("weight" if name == "_weights" and self._is_constructed() else name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Torch's registration of parameters; the connector's second name of its weights leads to the first."""
        super().__setattr__("weight" if name == "_weights" and self._is_constructed() else name, value)

    def __delattr__(self, name: str) -> None:
        """Torch's removal of parameters; the connector's second name of its weights leads to the first."""
        super().__delattr__("weight" if name == "_weights" and self._is_constructed() else name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Torch's registration of parameters; the connector's second name of its weights leads to the first."""
        super().register_parameter("weight" if name == "_weights" and self._is_constructed() else name, param)

    def _is_constructed(self) -> bool:
        # While the connector's constructor runs, `_weights` must be free to be registered.
        return "_made_for" in self.__dict__

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantumLayer:
        """A layer with weights of its own that shares what is constant: circuit, compiled form, simulators."""
        for shared in (self._neural_network, self._method, self._made_for, self._gradient):
            memo[id(shared)] = shared
        twin = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        for name, value in self.__dict__.items():
            twin.__dict__[name] = copy.deepcopy(value, memo)
        twin.__dict__["_number"] = register(twin)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the compiled circuit."""
        return {**self.__dict__, "_method": None, "_made_for": ()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of another layer, under a number of its own."""
        super().__setstate__(state)
        self._number = register(self)

    def method(self) -> GradientMethod:
        """How the network is evaluated; made anew when its estimator, gradient or precision were changed."""
        qnn = self._neural_network
        own = getattr(qnn.estimator, "default_precision", None)
        made_for = (qnn.estimator, qnn.gradient, qnn.default_precision, own)
        if self._method is None or self._made_for != made_for:
            gradient = gradient_of(qnn) if self._gradient == "auto" else self._gradient
            self._method = gradient_method(
                qnn.estimator, qnn.circuit, observables_of(qnn), parameters_of(qnn), gradient, qnn.default_precision
            )
            self._made_for = made_for
        return self._method

    def forward(self, input_data: Tensor | None = None) -> Tensor:
        """Evaluate the circuit.

        Args:
            input_data: Angles in radians, (..., n_in); `None` for a circuit without inputs.

        Returns:
            Expectation values of the observables, (..., n_out).

        Raises:
            CircuitError: The last axis is not n_in.
        """
        # A parametrized or pruned weight is no parameter of this name, but an attribute still.
        weight: Tensor | None = self._parameters.get("weight")
        if weight is None:
            weight = self.weight
        angles = torch.zeros(0, dtype=weight.dtype, device=weight.device) if input_data is None else input_data
        expected = self._neural_network.num_inputs
        if angles.ndim == 0 or angles.shape[-1] != expected:
            raise CircuitError(f"input of shape {tuple(angles.shape)}: the circuit takes {expected} angles per sample")
        # At few qubits the step is spent in calls, so a batch, the usual case, goes through without reshapes.
        is_batch = angles.ndim == 2 and expected > 0
        rows = angles if is_batch else _as_rows(angles, expected)
        if rows.is_meta or weight.is_meta:
            outputs = _shape_only(rows, weight, self._neural_network.output_shape[0])
        else:
            outputs = self._evaluate(rows, weight)
        return outputs if is_batch else outputs.reshape(*angles.shape[:-1], outputs.shape[-1])

    def _evaluate(self, rows: Tensor, weight: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            graded = torch.is_grad_enabled()
            by_rows, by_weight = graded and rows.requires_grad, graded and weight.requires_grad
            count = self._neural_network.output_shape[0]
            compiled: Tensor = expectation_values(rows, weight, self._number, count, by_rows, by_weight)[0]
            return compiled
        # Inside an autograd function gradient mode is always off, so whether it was on is asked here.
        wanted = torch.is_grad_enabled()
        method = self.method()
        tensors = method.compiled.in_tensors(rows.device) if isinstance(method, AdjointMethod) else None
        outputs: Tensor = (
            _Evaluate.apply(rows, weight, method, wanted)  # type: ignore[no-untyped-call]
            if tensors is None
            else _EvaluateInTensors.apply(rows, weight, tensors, wanted)  # type: ignore[no-untyped-call]
        )
        return outputs

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(f"{prefix}_weights", None)
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Evaluate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, method: GradientMethod, wanted: bool) -> Tensor:
        rows, weights = to_numpy(inputs), to_numpy(weight)
        needs = (wanted and ctx.needs_input_grad[0], wanted and ctx.needs_input_grad[1])
        outputs, stash = method.forward(rows, weights, needs)
        if needs[0] or needs[1]:
            ctx.saved = method, rows, weights, stash
            ctx.likes = inputs.dtype, inputs.device, weight.dtype, weight.device
        dtype = output_type(inputs.dtype)
        return to_torch(outputs, dtype, inputs.device)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        method, rows, weights, stash = ctx.saved
        by_input, by_weight = method.backward(rows, weights, stash, to_numpy(grad_output))
        dtype, device, weight_dtype, weight_device = ctx.likes
        needs = ctx.needs_input_grad
        first = to_torch(by_input, dtype, device) if needs[0] else None
        second = to_torch(by_weight, weight_dtype, weight_device) if needs[1] else None
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
        return outputs.to(output_type(inputs.dtype))

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


def _as_rows(angles: Tensor, expected: int) -> Tensor:
    if expected:
        return angles.reshape(-1, expected)
    return angles.new_zeros(max(1, angles.shape[:-1].numel()), 0)


def _shape_only(rows: Tensor, weight: Tensor, num_outputs: int) -> Tensor:
    """Outputs without values, as torch's own layers give them on the `meta` device.

    Raises:
        CircuitError: The angles have values and the weights have none.
    """
    if not rows.is_meta:
        raise CircuitError(
            "the layer was built on the `meta` device and its weights have no values yet: call "
            "`to_empty(device=...)` and load or initialize them"
        )
    dtype = output_type(rows.dtype)
    # Sums, so that gradients have shapes as well.
    common = weight.to("meta", dtype).sum() + rows.sum(dim=1, keepdim=True, dtype=dtype)
    return common.expand(-1, num_outputs)


def _initial_weights(count: int, given: ArrayLike | Tensor | None, seed: int | None) -> NDArray[Any]:
    if given is None:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        # Drawn on the CPU whatever the default device, so that a seed means the same numbers everywhere.
        return (2 * torch.rand(count, generator=generator, device="cpu") - 1).numpy()
    if isinstance(given, Tensor) and given.is_meta:
        raise CircuitError("initial weights on the `meta` device have no values")
    weights = to_numpy(given) if isinstance(given, Tensor) else np.asarray(given, dtype=np.float64)
    if weights.shape != (count,):
        raise CircuitError(f"initial weights of shape {weights.shape}: the circuit has {count} weights")
    return weights
