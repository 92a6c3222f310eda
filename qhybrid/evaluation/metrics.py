"""Comparisons of two sets of features: FID, KID, precision, recall, density and coverage. All in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qhybrid.errors import EvaluationError

Floats = NDArray[np.float64]

_BLOCK = 2000  # rows of a kernel or distance matrix held at once


def frechet_distance(x: Floats, y: Floats) -> float:
    """Squared Frechet distance of the normal laws fitted to two samples (FID; Heusel et al. 2017).

    ||m_x - m_y||^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), covariances with n - 1. Its bias falls as 1/n, so compare
    values of the same n only.

    Args:
        x: Features of the first sample, (N, D).
        y: Features of the second sample, (M, D).

    Raises:
        EvaluationError: Fewer than D + 1 images on one side, so that a covariance is singular.
    """
    for side, sample in (("first", x), ("second", y)):
        if len(sample) <= sample.shape[1]:
            raise EvaluationError(
                f"FID: the {side} set has {len(sample)} images, and {sample.shape[1]} features need at least "
                f"{sample.shape[1] + 1}: sample more images, or read KID, which has no such limit"
            )
    difference = x.mean(axis=0) - y.mean(axis=0)
    c_x, c_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(c_x)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # tr (C_x C_y)^(1/2) from the symmetric product with the same eigenvalues: real and stable where sqrtm is neither.
    overlap = np.sqrt(np.linalg.eigvalsh(root @ c_y @ root).clip(0)).sum()
    return float(difference @ difference + np.trace(c_x) + np.trace(c_y) - 2 * overlap)


def kernel_distance(x: Floats, y: Floats) -> float:
    """Unbiased squared MMD with kernel (x.y / D + 1)^3 (KID; Binkowski et al. 2018, eq. 4).

    It is the mean over all possible subsets, has expectation 0 for samples of one law at any n, and so can be below 0.

    Args:
        x: Features of the first sample, (N, D), N >= 2.
        y: Features of the second sample, (M, D), M >= 2.

    Raises:
        EvaluationError: Fewer than 2 images on one side.
    """
    if min(len(x), len(y)) < 2:
        raise EvaluationError(f"KID: {len(x)} and {len(y)} images, at least 2 are needed on each side: sample more")
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x) - (((x * x).mean(axis=1) + 1) ** 3).sum()) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - (((y * y).mean(axis=1) + 1) ** 3).sum()) / (m * (m - 1))
    return float(within_x + within_y - 2 * _kernel_sum(x, y) / (n * m))


class Neighbourhoods(NamedTuple):
    """How two samples lie within each other's balls to the k-th nearest neighbour.

    Attributes:
        precision: Share of generated images within any ball of a real one, in [0, 1].
        recall: Share of real images within any ball of a generated one, in [0, 1].
        density: Mean number of real balls that hold a generated image, over k: about 1 for samples of one law, above 1
            where generated images crowd the densest places.
        coverage: Share of real images whose ball holds a generated one, in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(x: Floats, y: Floats, neighbours: int) -> Neighbourhoods:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020, arXiv 2002.09797).

    All four come from the same distances. A ball reaches from an image to its k-th nearest neighbour in its own set.
    As in the authors' own programs the edge of a ball belongs to it for precision and recall, and does not for density
    and coverage, whence two equal sets have density 1. One outlier among the real images makes precision high, since
    its ball is large; density counts how many balls hold an image, and coverage looks at balls of real images alone.

    Args:
        x: Features of generated images, (N, D).
        y: Features of real images, (M, D); take N = M, since radii shrink with more images.
        neighbours: Number k of the neighbour that a ball reaches to.

    Raises:
        EvaluationError: Fewer than k + 1 images on one side.
    """
    if min(len(x), len(y)) <= neighbours:
        raise EvaluationError(
            f"precision, recall, density and coverage: {len(x)} and {len(y)} images, at least {neighbours + 1} are "
            "needed on each side: sample more, or lower `evaluation.neighbours`"
        )
    radii_x, radii_y = _radii(x, neighbours), _radii(y, neighbours)
    recalled, covered = np.zeros(len(y), bool), np.zeros(len(y), bool)
    precise = held = 0
    for start in range(0, len(x), _BLOCK):
        distances = squared_distances(x[start : start + _BLOCK], y)
        precise += int((distances <= radii_y).any(axis=1).sum())
        recalled |= (distances <= radii_x[start : start + _BLOCK, None]).any(axis=0)
        inside = distances < radii_y
        held += int(inside.sum())
        covered |= inside.any(axis=0)
    return Neighbourhoods(
        precision=precise / len(x),
        recall=float(recalled.mean()),
        density=held / (neighbours * len(x)),
        coverage=float(covered.mean()),
    )


def squared_distances(x: Floats, y: Floats) -> Floats:
    """Squared Euclidean distances, (N, M)."""
    squares: Floats = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None, :] - 2 * (x @ y.T)
    return np.maximum(squares, 0, out=squares)


def _radii(points: Floats, neighbours: int) -> Floats:
    """Squared distance of each point to its k-th nearest neighbour among the others, (N,)."""
    return np.concatenate(
        [
            # Place 0 of a row is the image itself.
            np.partition(squared_distances(points[start : start + _BLOCK], points), neighbours, axis=1)[:, neighbours]
            for start in range(0, len(points), _BLOCK)
        ]
    )


def _kernel_sum(x: Floats, y: Floats) -> float:
    dimension = x.shape[1]
    blocks = (x[start : start + _BLOCK] @ y.T / dimension + 1 for start in range(0, len(x), _BLOCK))
    return float(sum((block * block * block).sum() for block in blocks))
