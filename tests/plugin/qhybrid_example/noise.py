"""A noise source: Gaussian noise with spikes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field

from qhybrid.config import NoiseConfig, Section
from qhybrid.registry import register_noise
from qhybrid.seeds import Stream


class SpikyOptions(Section):
    """Options of `spiky`."""

    share: float = Field(default=0.1, ge=0, le=1, description="Share of the pixels with spikes.")
    height: float = Field(default=2.0, gt=0, description="How many times larger those pixels are.")


class SpikyNoise:
    """Independent pixels of mean 0 and variance 1, some of them larger than others."""

    def __init__(self, options: SpikyOptions) -> None:
        self.options = options

    def draw(self, stream: Stream, shape: Sequence[int]) -> torch.Tensor:
        """Numbers of a stream, float32; the same stream and shape always give the same numbers."""
        share, height = self.options.share, self.options.height
        generator = stream.torch_generator()
        values = torch.randn(tuple(shape), generator=generator)
        spikes = torch.rand(tuple(shape), generator=generator) < share
        return torch.where(spikes, height * values, values) / (1 - share + share * height**2) ** 0.5


@register_noise("spiky", section=SpikyOptions)
def spiky(options: SpikyOptions, noise: NoiseConfig) -> SpikyNoise:
    """The source; called once for each place where its numbers enter."""
    return SpikyNoise(options)
