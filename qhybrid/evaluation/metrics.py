"""Distances between two sets of features: FID, KID, precision and recall. All in float64."""

from __future__ import annotations

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
        x: Features, (N, D).
        y: Features, (M, D).

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
        x: Features, (N, D), N >= 2.
        y: Features, (M, D), M >= 2.

    Raises:
        EvaluationError: Fewer than 2 images on one side.
    """
    if min(len(x), len(y)) < 2:
        raise EvaluationError(f"KID: {len(x)} and {len(y)} images, at least 2 are needed on each side: sample more")
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x) - (((x * x).mean(axis=1) + 1) ** 3).sum()) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - (((y * y).mean(axis=1) + 1) ** 3).sum()) / (m * (m - 1))
    return float(within_x + within_y - 2 * _kernel_sum(x, y) / (n * m))


def precision_recall(x: Floats, y: Floats, neighbours: int) -> tuple[float, float]:
    """Share of x within the support of y, and of y within that of x (Kynkaanniemi et al. 2019).

    The support is the union of balls around each image that reach to its k-th nearest neighbour in the same set.

    Args:
        x: Features of generated images, (N, D).
        y: Features of real images, (M, D); take N = M, since radii shrink with more images.
        neighbours: k.

    Returns:
        Precision and recall, each in [0, 1].

    Raises:
        EvaluationError: Fewer than k + 1 images on one side.
    """
    if min(len(x), len(y)) <= neighbours:
        raise EvaluationError(
            f"precision and recall: {len(x)} and {len(y)} images, at least {neighbours + 1} are needed on each side: "
            "sample more, or lower `evaluation.neighbours`"
        )
    return _share_inside(x, y, neighbours), _share_inside(y, x, neighbours)


def squared_distances(x: Floats, y: Floats) -> Floats:
    """Squared Euclidean distances, (N, M)."""
    squares: Floats = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None, :] - 2 * (x @ y.T)
    return np.maximum(squares, 0, out=squares)


def _share_inside(points: Floats, support: Floats, neighbours: int) -> float:
    radii = np.concatenate(
        [
            # Place 0 of a row is the image itself.
            np.partition(squared_distances(support[start : start + _BLOCK], support), neighbours, axis=1)[:, neighbours]
            for start in range(0, len(support), _BLOCK)
        ]
    )
    inside = [
        (squared_distances(points[start : start + _BLOCK], support) <= radii).any(axis=1)
        for start in range(0, len(points), _BLOCK)
    ]
    return float(np.concatenate(inside).mean())


def _kernel_sum(x: Floats, y: Floats) -> float:
    dimension = x.shape[1]
    blocks = (x[start : start + _BLOCK] @ y.T / dimension + 1 for start in range(0, len(x), _BLOCK))
    return float(sum((block * block * block).sum() for block in blocks))
