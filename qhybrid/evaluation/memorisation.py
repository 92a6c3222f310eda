"""Do generated images copy training images? Nearest training image against nearest held-out image, in pixels.

If the model has learned the law and no single image, its images lie as often nearer to the training set as to a
held-out set of the same size: share 0.5, distance ratio 1. Real held-out images calibrate both numbers: where the
held-out set follows a slightly other law, they leave 0.5 and 1 as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qhybrid.data import ImageData
from qhybrid.errors import EvaluationError
from qhybrid.evaluation.metrics import squared_distances

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]

MINIMUM = 8
"""Fewest held-out images for a comparison that says anything."""

COPY_RATIO = 1 / 3
"""An image counts as a copy if its nearest training image is this much nearer than the second nearest."""

_BLOCK = 2000
_DRAWS = 20
_MAX_QUERIES = 2000


@dataclass(frozen=True)
class HeldOut:
    """Real images that were not trained on, in two disjoint parts.

    Attributes:
        reference: Images to measure distances to, (R, H, W, C): as many as there are training images, or half of what
            there is.
        queries: Other images, (Q, H, W, C), at most 2,000: they stand in for generated images in the calibration.
    """

    reference: Images
    queries: Images


def held_out(data: ImageData, rng: np.random.Generator) -> HeldOut:
    """Split the real images that were not trained on, those of the training images' own split first.

    Raises:
        EvaluationError: Fewer than `2 * MINIMUM` images.
    """
    parts = [part[rng.permutation(len(part))] for part in (data.unused, data.val, data.test)]
    pool = np.concatenate(parts)
    if len(pool) < 2 * MINIMUM:
        raise EvaluationError(
            f"memorisation: {len(pool)} held-out images, at least {2 * MINIMUM} are needed: choose more classes"
        )
    size = min(len(data.train), len(pool) // 2)
    return HeldOut(pool[:size], pool[size : size + _MAX_QUERIES])


@dataclass(frozen=True)
class NearestDistances:
    """Distances of N images to the nearest of equally many training and held-out images, over several draws.

    Attributes:
        train: Root mean square pixel difference in [0, 1], (draws, N): each draw takes other training images, since
            there may be more of them than held-out ones.
        held_out: Root mean square pixel difference to the nearest held-out image in [0, 1], (N,).
    """

    train: Floats
    held_out: Floats

    def share(self, indices: NDArray[np.int64] | slice = slice(None)) -> float:
        """Share of images nearer to a training image; ties count one half."""
        train, other = self.train[:, indices], self.held_out[indices]
        return float((train < other).mean() + 0.5 * (train == other).mean())

    def ratio(self, indices: NDArray[np.int64] | slice = slice(None)) -> float:
        """Median distance to the nearest training image over median distance to the nearest held-out image."""
        # A held-out set may hold an exact copy of a query; a median of 0 needs that for half of them.
        floor = 0.5 / 255
        return float(np.median(self.train[:, indices]) / max(float(np.median(self.held_out[indices])), floor))


def nearest_distances(queries: Images, train: Images, reference: Images, rng: np.random.Generator) -> NearestDistances:
    """Compare `queries` with `len(reference)` training images (drawn anew each time) and with all of `reference`.

    Args:
        queries: Images whose neighbours are looked for, uint8 `(N, H, W, C)`.
        train: Training images, uint8 `(M, H, W, C)`.
        reference: Held-out images, uint8 `(R, H, W, C)`.
        rng: Draws the training images.
    """
    size = min(len(train), len(reference))
    draws = 1 if size == len(train) else _DRAWS
    to_train = _distances(queries, train)
    nearest = np.stack([to_train[:, rng.permutation(len(train))[:size]].min(axis=1) for _ in range(draws)])
    return NearestDistances(nearest, _distances(queries, reference[:size]).min(axis=1))


def are_copies(queries: Images, train: Images) -> NDArray[np.bool_]:
    """Which images are copies: nearer to one training image than a third of the distance to every other one.

    The rule of Yoon et al. ("Diffusion probabilistic models generalize when they fail to memorize", 2023) and of Gu et
    al. (arXiv 2310.02664). It needs no held-out images and no threshold in grey levels: an image that follows the law
    lies about as far from the nearest as from the second nearest.

    Args:
        queries: Images to be judged, uint8 `(N, H, W, C)`.
        train: Training images, uint8 `(M, H, W, C)`; equal ones count once.

    Returns:
        One truth value for each image, `(N,)`.

    Raises:
        EvaluationError: Fewer than two different training images.
    """
    different = np.unique(train, axis=0)
    if len(different) < 2:
        raise EvaluationError(
            f"copies: {len(different)} different training images, at least 2 are needed: raise `data.n_train`"
        )
    nearest = np.partition(_distances(queries, different), 1, axis=1)
    return np.asarray(nearest[:, 0] < COPY_RATIO * nearest[:, 1])


def nearest_images(queries: Images, pool: Images) -> tuple[Images, Floats]:
    """For each query the nearest image of `pool`, and its root mean square pixel difference in [0, 1]."""
    distances = _distances(queries, pool)
    index = distances.argmin(axis=1)
    return pool[index], distances[np.arange(len(queries)), index]


def _distances(x: Images, y: Images) -> Floats:
    """Root mean square pixel differences in [0, 1], (N, M); y is taken in blocks, since a training set may be large."""
    factor = _reduction(x.shape[1])
    flat_x = _flat(x, factor)
    blocks = (_flat(y[start : start + _BLOCK], factor) for start in range(0, len(y), _BLOCK))
    squares = np.concatenate([squared_distances(flat_x, block) for block in blocks], axis=1)
    return np.asarray(np.sqrt(squares / flat_x.shape[1]) / (255 * factor * factor))


def _reduction(side: int) -> int:
    """Smallest divisor of the side that brings it to 64 pixels or fewer; a copy stays a copy."""
    return next(factor for factor in range(1, side + 1) if side % factor == 0 and side // factor <= 64)


def _flat(images: Images, factor: int) -> Floats:
    """(N, pixels), sums over squares of `factor` pixels: whole numbers, so that equal images have distance 0."""
    n, height, width, channels = images.shape
    small: NDArray[np.int64] = images.reshape(n, height // factor, factor, width // factor, factor, channels).sum(
        axis=(2, 4), dtype=np.int64
    )
    flat: Floats = small.reshape(n, -1).astype(np.float64)
    return flat
