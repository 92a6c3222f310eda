"""Statistics of streams of numbers, in which those that are no good noise differ from those that are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_LAGS = 64
# Width of the image that a stream of single numbers is laid out on to see spatial correlation.
_WIDTH = 28

Numbers = NDArray[np.float64]


def moments(values: Numbers) -> dict[str, float]:
    """Mean, variance, skewness and kurtosis (3 for a normal law) of `(N,)` numbers."""
    mean, variance = float(values.mean()), float(values.var())
    scaled = (values - mean) / math.sqrt(variance) if variance else values - mean
    return {
        "mean": mean,
        "variance": variance,
        "skewness": float(np.mean(scaled**3)),
        "kurtosis": float(np.mean(scaled**4)),
    }


def autocorrelation(values: Numbers) -> Numbers:
    """Autocorrelation of `(N,)` numbers at lags 1 to 64, float64 `(64,)`."""
    centred = (values - values.mean()).astype(np.float32)
    power = float(centred @ centred) or 1.0
    return np.array([float(centred[:-lag] @ centred[lag:]) / power for lag in range(1, _LAGS + 1)])


def neighbours(values: Numbers) -> dict[str, float]:
    """Correlation of neighbouring pixels of the images, 28 pixels a side, that a stream `(N,)` is laid out on."""
    images = values[: values.size // _WIDTH**2 * _WIDTH**2].reshape(-1, _WIDTH, _WIDTH)
    pairs = {
        "right": (images[:, :, :-1], images[:, :, 1:]),
        "below": (images[:, :-1], images[:, 1:]),
        "below_right": (images[:, :-1, :-1], images[:, 1:, 1:]),
        "below_left": (images[:, :-1, 1:], images[:, 1:, :-1]),
    }
    return {name: float(np.mean(a * b)) for name, (a, b) in pairs.items()}


def runs(signs: NDArray[np.bool_]) -> float:
    """Wald and Wolfowitz's test: number of runs against that of independent signs, in standard errors.

    Args:
        signs: `(N,)`; infinite where they are so lopsided that the test says nothing.
    """
    n = signs.size
    ones = int(signs.sum())
    both = 2 * ones * (n - ones)
    if both <= n:
        return math.inf
    runs = 1 + int(np.count_nonzero(signs[1:] != signs[:-1]))
    expected = both / n + 1
    return (runs - expected) / math.sqrt(both * (both - n) / (n * n * (n - 1)))


def uniform_distance(integers: NDArray[np.uint16], resolution: int) -> float:
    """Largest distance between the distribution of integers `(N,)` of `resolution` bits and the uniform one."""
    size = 2**resolution
    counts = np.bincount(integers, minlength=size)
    return float(np.abs(np.cumsum(counts) / integers.size - np.arange(1, size + 1) / size).max())


def binomial_distance(values: Numbers, mean: float, deviation: float, shots: int) -> float:
    """Largest distance between the distribution of counts of shots and the binomial one.

    Args:
        values: Standardized expectation values of a Z, `(N,)`.
        mean: Expectation value that was subtracted.
        deviation: Standard deviation that was divided by.
        shots: Number of shots behind each value.
    """
    from scipy.stats import binom

    ones = np.rint((1 - (values * deviation + mean)) / 2 * shots).astype(np.int64)
    counts = np.bincount(np.clip(ones, 0, shots), minlength=shots + 1)
    claimed = binom.cdf(np.arange(shots + 1), shots, (1 - mean) / 2)
    return float(np.abs(np.cumsum(counts) / values.size - claimed).max())


def normal_distance(values: Numbers) -> float:
    """Largest distance between the distribution of `(N,)` numbers and the standard normal one."""
    from scipy.special import ndtr

    ordered = np.sort(values)
    claimed = ndtr(ordered)
    ranks = np.arange(values.size) / values.size
    return float(max(np.abs(claimed - ranks).max(), np.abs(claimed - ranks - 1 / values.size).max()))
