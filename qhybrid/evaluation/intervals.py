"""Intervals by resampling; each says what was resampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    """Interval of one statistic, see `subset_intervals`.

    Args:
        statistic: Called with positions of both samples.
        value: The statistic of the whole samples.
        counts: Sizes of the two samples.
        fraction: Size of a subset, as a share of its sample, in (0, 0.5].
        subsets: Number of subsets.
        rng: Draws the subsets.
        bounds: Least and largest value that the statistic can have.
    """
    return subset_intervals(
        lambda i, j: (statistic(i, j),),
        (value,),
        counts,
        fraction=fraction,
        subsets=subsets,
        rng=rng,
        bounds=(bounds,),
    )[0]


def subset_intervals(
    statistics: Callable[[Indices, Indices], Sequence[float]],
    values: Sequence[float],
    counts: tuple[int, int],
    *,
    fraction: float,
    subsets: int,
    rng: np.random.Generator,
    bounds: Sequence[Interval],
) -> list[Interval]:
    """Normal intervals around `values` from the spread of statistics over random subsets of two samples.

    Subsets are drawn without replacement, the same fraction f of both samples. If a statistic's variance falls as
    1/n, the variance over subsets given the samples is (1/f - 1) times the variance of the statistic itself, whence
    SE^2 = f / (1 - f) * var (Politis, Romano and Wolf, "Subsampling", 1999). Repeats, which a bootstrap would draw and
    distances cannot bear, do not occur. The spread tells of the finite samples, not of a statistic's bias at this n.

    Args:
        statistics: Function of the indices kept in the first and in the second sample that gives one number for each of
            `values`.
        values: The statistics of the whole samples.
        counts: Sizes of the two samples.
        fraction: Share f of both samples that a subset holds, in (0, 1/2].
        subsets: Number of subsets to draw, at least 2.
        rng: Source of the subsets.
        bounds: Range of each statistic; its interval is cut there.

    Returns:
        Lower and upper end for each statistic, confidence 95 %.
    """
    sizes = [max(2, round(fraction * count)) for count in counts]
    draws = [
        statistics(*(np.sort(rng.permutation(count)[:size]) for count, size in zip(counts, sizes, strict=True)))
        for _ in range(subsets)
    ]
    intervals = []
    for value, (low, high), found in zip(values, bounds, zip(*draws, strict=True), strict=True):
        error = float(np.std(found, ddof=1)) * np.sqrt(fraction / (1 - fraction))
        half = float(_NORMAL_QUANTILE * error)
        intervals.append((max(low, value - half), min(high, value + half)))
    return intervals


def wilson_interval(share: float, count: float) -> Interval:
    """Wilson's score interval of a share of `count` independent trials; confidence 95 %.

    It keeps its confidence near 0 and 1, where an image more or less decides and a bootstrap of no failures has no
    width (Wilson 1927; Brown, Cai and DasGupta 2001).

    Args:
        share: Observed share, in [0, 1].
        count: Number of trials, above 0; need not be whole (an effective number of a weighted share).
    """
    square = _NORMAL_QUANTILE**2 / count
    center = (share + square / 2) / (1 + square)
    half = float(np.sqrt(share * (1 - share) * square + square**2 / 4)) / (1 + square)
    return max(0.0, center - half), min(1.0, center + half)


def bootstrap_interval(
    statistic: Callable[[Indices], float], count: int, *, repeats: int, rng: np.random.Generator
) -> Interval:
    """Percentile interval of a statistic of one sample, images drawn with replacement; confidence 95 %.

    Args:
        statistic: Called with positions of the sample.
        count: Size of the sample.
        repeats: Number of resamples.
        rng: Draws the resamples.
    """
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
        statistic: Function of the indices drawn, with replacement, that gives the statistic.
        value: The statistic of the whole sample.
        count: Size of the sample.
        repeats: Number of resamples to draw.
        rng: Source of the resamples.
        bounds: Range of the statistic; the interval is cut there.
    """
    draws = np.array([statistic(rng.integers(0, count, count)) for _ in range(repeats)])
    low, high = np.quantile(draws - draws.mean(), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return max(bounds[0], float(value - high)), min(bounds[1], float(value - low))
