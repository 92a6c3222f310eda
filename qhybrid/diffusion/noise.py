"""Noise sources: standardized tensors (mean 0, variance 1 per pixel) from seedable, independent streams.

A stream is named by integers, e.g. (image seed, step): the same name always gives the same numbers, whatever was
drawn before and by whom. So an image does not depend on its batch, a resumed run not on its interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from qhybrid.config import DiffusionConfig


class NoiseSource(Protocol):
    """Draws standardized noise."""

    def draw(self, name: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The first `prod(shape)` numbers of the stream `name`, float32, on the CPU."""
        ...


class GaussianNoise:
    """Independent standard normal pixels."""

    def draw(self, name: Sequence[int], shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=generator(*name))


def noise_source(config: DiffusionConfig) -> NoiseSource:
    """The source that the configuration names."""
    sources = {"gaussian": GaussianNoise}
    return sources[config.noise]()


def generator(*name: int) -> torch.Generator:
    """A CPU random generator for the stream `name`; different names give statistically independent streams."""
    # SeedSequence hashes the name; seeding torch by sums or products of the integers would let streams coincide.
    seed = int(np.random.SeedSequence(name).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed)


def image_noise(source: NoiseSource, seeds: Sequence[int], shape: Sequence[int], step: int) -> Tensor:
    """Noise of `step` for images of the given seeds, each from its own stream.

    Args:
        source: Where noise comes from.
        seeds: One seed per image.
        shape: `(C, H, W)`.
        step: 0 for the initial latents, k + 1 for reverse step k.

    Returns:
        Tensor `(len(seeds), C, H, W)`.
    """
    return torch.stack([source.draw((seed, step), shape) for seed in seeds])
