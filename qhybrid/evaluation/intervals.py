"""Intervals by resampling; each says what was resampled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_NORMAL_QUANTILE = 1.959963984540054

Indices = NDArray[np.int64]
Interval = tuple[float, float]


def subset_interval(
    statistic: Callable[[Indices, Indices], float],
    value: float,
    counts: tuple[int, int],
    *,
    fraction: float,
    subsets: int,
    rng: np.random.Generator,
    bounds: Interval = (-np.inf, np.inf),
) -> Interval:
    """Normal interval around `value` from the spread of the statistic over random subsets of two samples.

    Subsets are drawn without replacement, the same fraction f of both samples. If the statistic's variance falls as
    1/n, the variance over subsets given the samples is (1/f - 1) times the variance of the statistic itself, whence
    SE^2 = f / (1 - f) * var (Politis, Romano and Wolf, "Subsampling", 1999). Repeats, which a bootstrap would draw and
    distances cannot bear, do not occur. The spread tells of the finite samples, not of a statistic's bias at this n.

    Args:
        statistic: Of the indices kept in the first and in the second sample.
        value: The statistic of the whole samples.
        counts: Sizes of the two samples.
        fraction: f, in (0, 1/2].
        subsets: How many to draw, at least 2.
        rng: Source of the subsets.
        bounds: What the statistic cannot leave; the interval is cut there.

    Returns:
        Lower and upper end, confidence 95 %.
    """
    sizes = [max(2, round(fraction * count)) for count in counts]
    draws = [
        statistic(*(np.sort(rng.permutation(count)[:size]) for count, size in zip(counts, sizes, strict=True)))
        for _ in range(subsets)
    ]
    error = float(np.std(draws, ddof=1)) * np.sqrt(fraction / (1 - fraction))
    half = float(_NORMAL_QUANTILE * error)
    return max(bounds[0], value - half), min(bounds[1], value + half)


def bootstrap_interval(
    statistic: Callable[[Indices], float], count: int, *, repeats: int, rng: np.random.Generator
) -> Interval:
    """Percentile interval of a statistic of one sample, images drawn with replacement; confidence 95 %."""
    draws = [statistic(rng.integers(0, count, count)) for _ in range(repeats)]
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def expectation_interval(
    statistic: Callable[[Indices], float],
    value: float,
    count: int,
    *,
    repeats: int,
    rng: np.random.Generator,
    bounds: Interval,
) -> Interval:
    """Interval of the expectation of a biased statistic at this number of images; confidence 95 %.

    Resampling adds the statistic's bias a second time, so that percentiles can leave out the value itself. Here the
    spread of the resamples around their own mean is laid around the value (basic bootstrap, Davison and Hinkley 1997,
    section 5.2, without its correction for bias): compare with a floor of the same number of images.

    Args:
        statistic: Of the indices drawn, with replacement.
        value: The statistic of the whole sample.
        count: Size of the sample.
        repeats: How many resamples.
        rng: Source of the resamples.
        bounds: What the statistic cannot leave; the interval is cut there.
    """
    draws = np.array([statistic(rng.integers(0, count, count)) for _ in range(repeats)])
    low, high = np.quantile(draws - draws.mean(), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return max(bounds[0], float(value - high)), min(bounds[1], float(value - low))
