"""The layer as one opaque operator, for `torch.compile`, which cannot look into numba kernels or jobs.

Outside of compiled graphs the layer uses autograd functions of its own, which cost less per call. An operator takes
tensors and numbers only, so a layer is named by a number, and what its forward pass leaves for the backward pass waits
here under a ticket; if it is gone (a second backward pass, a graph that was dropped), it is computed again.
"""

import itertools
import weakref
from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.quantum.layer.gradients import GradientMethod
from qhybrid.quantum.layer.tensors_and_arrays import output_type, to_numpy, to_torch

_MAX_WAITING = 64
_numbers = itertools.count(1)


class _Layer(Protocol):
    """What is asked of a layer."""

    def method(self) -> GradientMethod:
        """How the layer is evaluated now."""


_layers: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_waiting: OrderedDict[int, tuple[NDArray[np.float64], NDArray[np.float64], Any]] = OrderedDict()


def register(layer: _Layer) -> int:
    """A number for a layer, under which `expectation_values` finds it as long as it lives."""
    number = next(_numbers)
    _layers[number] = layer
    return number


@torch.library.custom_op("qhybrid::expectation_values", mutates_args=())
def expectation_values(
    rows: Tensor, weight: Tensor, layer: int, num_outputs: int, by_rows: bool, by_weight: bool
) -> tuple[Tensor, Tensor]:
    """Outputs (B, n_out) of a layer, and a ticket for its backward pass.

    Args:
        rows: Input angles in radians, (B, n_in).
        weight: Weights in radians, (n_weights,).
        layer: The number of the layer.
        num_outputs: Number of outputs of the layer, n_out.
        by_rows: Whether the gradient by angles will be asked for.
        by_weight: Whether the gradient by weights will be asked for.
    """
    inputs, weights = to_numpy(rows), to_numpy(weight)
    outputs, stash = _layers[layer].method().forward(inputs, weights, (by_rows, by_weight))
    ticket = next(_numbers)
    if by_rows or by_weight:
        _waiting[ticket] = inputs, weights, stash
        while len(_waiting) > _MAX_WAITING:
            _waiting.popitem(last=False)
    return to_torch(outputs, output_type(rows.dtype), rows.device), torch.tensor(ticket, device="cpu")


@expectation_values.register_fake
def _(
    rows: Tensor, weight: Tensor, layer: int, num_outputs: int, by_rows: bool, by_weight: bool
) -> tuple[Tensor, Tensor]:
    outputs = rows.new_empty(rows.shape[0], num_outputs, dtype=output_type(rows.dtype))
    return outputs, torch.empty((), dtype=torch.int64, device="cpu")


@torch.library.custom_op("qhybrid::expectation_values_backward", mutates_args=())
def expectation_values_backward(
    grad_output: Tensor, ticket: Tensor, rows: Tensor, weight: Tensor, layer: int, by_rows: bool, by_weight: bool
) -> tuple[Tensor, Tensor]:
    """Gradients by angles (B, n_in) and by weights (n_weights,) of what a ticket stands for.

    Args:
        grad_output: Gradient by outputs (B, n_out).
        ticket: Ticket that `expectation_values` returned, int64 of shape ().
        rows: Input angles in radians that `expectation_values` was given, (B, n_in).
        weight: Weights in radians that `expectation_values` was given, (n_weights,).
        layer: Number of the layer that `expectation_values` was given.
        by_rows: Whether the gradient by angles is asked for.
        by_weight: Whether the gradient by weights is asked for.
    """
    method = _layers[layer].method()
    kept = _waiting.pop(int(ticket), None)
    if kept is None:
        inputs, weights = to_numpy(rows), to_numpy(weight)
        stash = method.forward(inputs, weights, (by_rows, by_weight))[1]
    else:
        inputs, weights, stash = kept
    first, second = method.backward(inputs, weights, stash, to_numpy(grad_output))
    return to_torch(first, rows.dtype, rows.device), to_torch(second, weight.dtype, weight.device)


@expectation_values_backward.register_fake
def _(
    grad_output: Tensor, ticket: Tensor, rows: Tensor, weight: Tensor, layer: int, by_rows: bool, by_weight: bool
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(rows), torch.empty_like(weight)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    rows, weight, ctx.layer, _, ctx.by_rows, ctx.by_weight = inputs
    ctx.save_for_backward(output[1], rows, weight)


def _backward(ctx: Any, grad_output: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    first, second = expectation_values_backward(grad_output, *ctx.saved_tensors, ctx.layer, ctx.by_rows, ctx.by_weight)
    return first if ctx.by_rows else None, second if ctx.by_weight else None, None, None, None, None


expectation_values.register_autograd(_backward, setup_context=_keep)
