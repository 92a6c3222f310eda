"""Bottleneck arms: channel-wise gates `(B, C) -> (B, C)` that all start at the identity (1 + 0).

`se` is squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507) with as many hidden units as the circuit has qubits,
so it has the parameters of `quantum` but for the circuit's own weights: the control that any claim is measured by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from qhybrid.quantum.circuits.spec import CircuitSpec
    from qhybrid.quantum.layer.layer import QuantumLayer

Evaluator = Callable[[Tensor], Tensor]


class PlainGate(nn.Module):
    """No gate: ones."""

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.ones_like(pooled)


class SqueezeExcitationGate(nn.Module):
    """`1 + W2 relu(W1 pooled)`."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = _identity_start(hidden, channels)

    def forward(self, pooled: Tensor) -> Tensor:
        gate: Tensor = 1 + self.excite(torch.relu(self.squeeze(pooled)))
        return gate


class QuantumGate(nn.Module):
    """`1 + W2 <O>(pi tanh(W1 pooled), weights)`: expectation values of a parametrized circuit between two linear maps.

    Args:
        channels: C.
        layer: The circuit as a Torch module, `(B, n_in) -> (B, n_out)`.
        spec: The circuit it evaluates.
        published: As printed in arXiv 2504.00034: angles unbounded and cut off from the gradient, so that `W1` never
            learns. Kept as the control of that publication.
    """

    def __init__(self, channels: int, layer: QuantumLayer, spec: CircuitSpec, *, published: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.published = published
        self.squeeze = nn.Linear(channels, len(spec.inputs))
        self.layer = layer
        self.excite = _identity_start(len(spec.observables), channels)
        # In a list, since torch would take an evaluator that is a module for a part of this one.
        self._evaluators: list[Evaluator] = []

    def angles(self, pooled: Tensor) -> Tensor:
        """Encoding angles in radians, `(B, C) -> (B, n_in)`; in (-pi, pi) unless `published`."""
        squeezed: Tensor = self.squeeze(pooled)
        return squeezed.detach() if self.published else torch.pi * torch.tanh(squeezed)

    def forward(self, pooled: Tensor) -> Tensor:
        angles = self.angles(pooled)
        evaluate = self._evaluators[-1] if self._evaluators else self.layer
        gate: Tensor = 1 + self.excite(evaluate(angles).to(pooled.dtype))
        return gate

    @contextmanager
    def evaluated_by(self, evaluator: Evaluator) -> Iterator[None]:
        """Within the block, expectation values come from `evaluator(angles (B, n_in)) -> (B, n_out)`, e.g. a device."""
        self._evaluators.append(evaluator)
        try:
            yield
        finally:
            self._evaluators.pop()


def _identity_start(c_in: int, c_out: int) -> nn.Linear:
    linear = nn.Linear(c_in, c_out)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
