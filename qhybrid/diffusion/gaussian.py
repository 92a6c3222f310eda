"""What every noise source does, and the plainest of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from qhybrid.seeds import Stream


class NoiseSource(Protocol):
    """Draws standardized noise."""

    def draw(self, name: Stream, shape: Sequence[int]) -> Tensor:
        """Numbers of the stream `name`, float32, on the CPU; the same name and shape always give the same numbers."""
        ...


class GaussianNoise:
    """Independent standard normal pixels."""

    def draw(self, name: Stream, shape: Sequence[int]) -> Tensor:
        """Independent standard normal numbers of the stream `name`, float32, of `shape`."""
        return torch.randn(tuple(shape), generator=name.torch_generator())
