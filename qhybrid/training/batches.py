"""What a training step draws, as a pure function of (seed, step).

No random state has to be stored: a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.diffusion.noise import NoiseSource, TimedNoise
from qhybrid.seeds import Stream, generator


@dataclass(frozen=True)
class Batch:
    """What one training step works on.

    Attributes:
        images: Images in [-1, 1], float32 `(B, C, H, W)`.
        epsilon: Standardized noise to be added, `(B, C, H, W)`.
        t: Time steps `(B,)`, int64.
        labels: Class numbers `(B,)` or rows of 0 and 1 `(B, K)`, int64, -1 where the label is withheld; `None` for an
            unconditional model.
    """

    images: Tensor
    epsilon: Tensor
    t: Tensor
    labels: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """A copy of the batch on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return Batch(self.images.to(device), self.epsilon.to(device), self.t.to(device), labels)

    def part(self, rank: int, parts: int) -> Batch:
        """Every `parts`-th sample, starting at `rank`: what one of several processes works on."""
        labels = None if self.labels is None else self.labels[rank::parts]
        return Batch(self.images[rank::parts], self.epsilon[rank::parts], self.t[rank::parts], labels)


class Batches:
    """Batches of a training set that is gone through in a new order each time.

    Args:
        images: Training images in [-1, 1], `(N, C, H, W)`.
        batch_size: Number of images in a batch, B; may exceed N (tiny sets are gone through several times in a batch).
        timesteps: Number of time steps of the process, T.
        source: Noise source of epsilon; asked for the time steps as well if it is a `TimedNoise`.
        seed: Seed of the run.
        density: `(T,)`, how often each time step is drawn; by default all alike.
        labels: Labels of the images, `(N,)` or `(N, K)` int64; for a conditional model.
        label_dropout: Share of the labels that are withheld.
    """

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        timesteps: int,
        source: NoiseSource | TimedNoise,
        seed: int,
        *,
        density: NDArray[np.float64] | None = None,
        labels: Tensor | None = None,
        label_dropout: float = 0.0,
    ) -> None:
        self._images = images
        self._batch_size = batch_size
        self._timesteps = timesteps
        self._source = source
        self._seed = seed
        self._cumulative = None if density is None else torch.from_numpy(np.cumsum(density))
        self._labels = labels
        self._label_dropout = label_dropout
        self._cached_order: tuple[int, NDArray[np.int64]] | None = None

    def __getitem__(self, step: int) -> Batch:
        """The batch of step 0, 1, 2, ..."""
        positions = range(step * self._batch_size, (step + 1) * self._batch_size)
        indices = torch.tensor([self._index(position) for position in positions])
        images = self._images[indices]
        t = self._times(step)
        name = Stream("training", self._seed, step)
        if isinstance(self._source, TimedNoise):
            epsilon = self._source.draw_at(t, name, images.shape)
        else:
            epsilon = self._source.draw(name, images.shape)
        return Batch(images, epsilon, t, None if self._labels is None else self._withheld(self._labels[indices], step))

    def _withheld(self, labels: Tensor, step: int) -> Tensor:
        """Labels with a share of them replaced by -1, whole rows of a multi-label set."""
        dropped = torch.from_numpy(
            generator(self._seed, "label dropout", step).random(len(labels)) < self._label_dropout
        )
        return torch.where(dropped if labels.ndim == 1 else dropped[:, None], -1, labels)

    def _times(self, step: int) -> Tensor:
        random = Stream("times", self._seed, step).torch_generator()
        if self._cumulative is None:
            return torch.randint(self._timesteps, (self._batch_size,), generator=random, dtype=torch.int64)
        # Inverse of the distribution function; its last value, 1 up to rounding, may lie below a draw.
        uniform = torch.rand(self._batch_size, generator=random, dtype=torch.float64) * self._cumulative[-1]
        return torch.searchsorted(self._cumulative, uniform, right=True).clamp(max=self._timesteps - 1)

    def _index(self, position: int) -> int:
        epoch, offset = divmod(position, len(self._images))
        if self._cached_order is None or self._cached_order[0] != epoch:
            order = Stream("order", self._seed, epoch).numpy_generator().permutation(len(self._images))
            self._cached_order = (epoch, order)
        return int(self._cached_order[1][offset])
