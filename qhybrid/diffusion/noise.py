"""Noise sources: standardized tensors (mean 0, variance 1 per pixel) from seedable, independent streams.

A stream is named by purpose, seed and step (`qhybrid.seeds.Stream`): the same name always gives the same numbers,
whatever was drawn before and by whom. So an image does not depend on its batch, a resumed run not on its
interruption, and workers that work on different names never share a draw.

Quantum noise enters as `epsilon = sqrt(1 - lambda) epsilon_gauss + sqrt(lambda) epsilon_quantum`. Both parts are drawn
under the same name, so with lambda = 0 the numbers are, bit for bit, those of a run without quantum noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qhybrid.config import DiffusionConfig
from qhybrid.diffusion.gaussian import GaussianNoise, NoiseSource
from qhybrid.diffusion.schedules import quantum_share
from qhybrid.diffusion.sources import open_source
from qhybrid.seeds import Stream

__all__ = [
    "GaussianNoise",
    "NoiseSource",
    "SamplingNoise",
    "TimedNoise",
    "forward_noise",
    "image_noise",
    "noise_source",
]


class TimedNoise:
    """Gaussian noise with the quantum share of each time step.

    Args:
        quantum: Quantum source that is mixed with the Gaussian noise.
        share: Quantum share lambda(t) of each time step, `(T,)`, in [0, 1].
    """

    def __init__(self, quantum: NoiseSource, share: Tensor) -> None:
        self._gaussian = GaussianNoise()
        self._quantum = quantum
        self._share = share.float()

    def draw_at(self, t: Tensor, name: Stream, shape: Sequence[int]) -> Tensor:
        """Noise for a batch of samples at their time steps, float32.

        Args:
            t: Time steps, int64 `(B,)`.
            name: The stream that the numbers come from.
            shape: Shape of the noise, `(B, C, H, W)`.
        """
        share = self._share[t].view(-1, *[1] * (len(shape) - 1))
        gaussian = self._gaussian.draw(name, shape)
        if not bool(share.any()):
            return gaussian
        return (1 - share).sqrt() * gaussian + share.sqrt() * self._quantum.draw(name, shape)


class SamplingNoise:
    """Noise of the reverse process: a stream of each image's seed and step, at the time of that step.

    Args:
        latent: Source of step 0, the initial latents; `None` is Gaussian.
        reverse: Source of steps k + 1; `None` is Gaussian.
        share: Quantum share lambda(t) of each time step, `(T,)`, in [0, 1].
        timesteps: Time step of each reverse step.
    """

    def __init__(
        self, latent: NoiseSource | None, reverse: NoiseSource | None, share: Tensor, timesteps: Sequence[int]
    ) -> None:
        self._gaussian = GaussianNoise()
        self._latent = None if latent is None else TimedNoise(latent, share)
        self._reverse = None if reverse is None else TimedNoise(reverse, share)
        self._timesteps = [len(share) - 1, *timesteps]

    def draw(self, name: Stream, shape: Sequence[int]) -> Tensor:
        """Noise of one image, `shape` `(C, H, W)`."""
        step = name.step or 0
        source = self._reverse if step else self._latent
        if source is None:
            return self._gaussian.draw(name, shape)
        return source.draw_at(torch.tensor([self._timesteps[step]]), name, shape)


def noise_source(config: DiffusionConfig, timesteps: Sequence[int] = ()) -> NoiseSource:
    """The source of a sampler.

    Args:
        config: The trained process.
        timesteps: Time step of each reverse step, in the order of sampling; needed by stochastic samplers.
    """
    noise = config.noise
    if not (noise.latent or noise.reverse) or noise.plain:
        return GaussianNoise()
    latent = open_source(noise, "latent") if noise.latent else None
    reverse = open_source(noise, "reverse", max(1, len(timesteps))) if noise.reverse else None
    return SamplingNoise(latent, reverse, _share(config), timesteps)


def forward_noise(config: DiffusionConfig, steps: int) -> NoiseSource | TimedNoise:
    """The source of the forward process in a training of `steps` steps."""
    noise = config.noise
    if not noise.forward or noise.plain:
        return GaussianNoise()
    return TimedNoise(open_source(noise, "forward", steps), _share(config))


def image_noise(source: NoiseSource, seeds: Sequence[int], shape: Sequence[int], step: int) -> Tensor:
    """Noise of `step` for images of the given seeds, each from its own stream.

    Args:
        source: Noise source that is drawn from.
        seeds: Seeds of the images, one per image.
        shape: Shape of one image, `(C, H, W)`.
        step: 0 for the initial latents, k + 1 for reverse step k.

    Returns:
        Standardized noise of all images, float32 `(len(seeds), C, H, W)`.
    """
    return torch.stack([source.draw(Stream("image", seed, step), shape) for seed in seeds])


def _share(config: DiffusionConfig) -> Tensor:
    return torch.from_numpy(quantum_share(config.noise.share, config.timesteps))
