"""Paired comparisons over few seeds: interval of a mean, exact tests of difference and equality, power, correction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qhybrid.evaluation.intervals import CONFIDENCE, Interval
from qhybrid.seeds import plain_generator

_BOOTSTRAP_REPEATS = 20_000
_BCA_REPEATS = 9_999
_EXACT_UP_TO = 20
_FEWEST = 5
_RANDOM_FLIPS = 100_000
SIGNIFICANCE = 0.05
POWER = 0.8
"""Probability with which a difference of the size of `detectable_difference` would be shown."""


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Bootstrap interval of a mean, its percentiles widened for small samples; `None` for fewer than five values.

    The bootstrap's spread lacks the factor sqrt(n / (n - 1)) and the tails of Student's t; the percentiles at
    Phi(-+ sqrt(n / (n - 1)) t_{n - 1}) make up for both (Hesterberg, "What teachers should know about the bootstrap",
    2015, section 5.3). No resample leaves the range of n values, which holds the mean (a median, by symmetry) with
    probability 1 - 2^(1 - n): 94 % of five, too little of fewer.
    """
    from scipy.stats import norm, t

    count = len(values)
    if count < _FEWEST:
        return None
    sample = np.asarray(values, dtype=np.float64)
    tail = norm.cdf(np.sqrt(count / (count - 1)) * t.ppf((1 - CONFIDENCE) / 2, count - 1))
    draws = plain_generator(0).integers(0, count, (_BOOTSTRAP_REPEATS, count))
    low, high = np.quantile(sample[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def bca_interval(values: Sequence[float]) -> Interval | None:
    """Bias-corrected and accelerated bootstrap interval of a mean (Efron 1987); `None` for fewer than five values.

    It follows the skewness of the values and lacks what `mean_interval` makes up for: of 10 values it holds the mean in
    about 90 % of cases, not 95. So verdicts quote `mean_interval`, and this one stands beside it.

    Args:
        values: One per pair, in the units of the metric.
    """
    from scipy.stats import bootstrap

    if len(values) < _FEWEST:
        return None
    sample = np.asarray(values, dtype=np.float64)
    if np.ptp(sample) == 0:
        return float(sample[0]), float(sample[0])
    found = bootstrap(
        (sample,), np.mean, n_resamples=_BCA_REPEATS, confidence_level=CONFIDENCE, method="BCa", rng=plain_generator(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of paired differences: how often random signs give a mean at least as far from 0.

    Exact up to 20 pairs (all 2^n signs), by 100,000 random signs beyond. The smallest value is `smallest_p(n)`.
    `scipy.stats.permutation_test` gives the same (a test compares them), but walks through the signs one by one: at
    20 pairs it takes some hundred times as long, once for every cell of a study.
    """
    sample = np.asarray(differences, dtype=np.float64)
    above = _share_above(sample)
    # Turned around, the signs that gave a mean as low are those that give one as high; a mean of 0 is both.
    return min(1.0, 2 * above if sample.sum() > 0 else 2 * _share_above(-sample))


def equivalence_p(differences: Sequence[float], margin: float) -> float:
    """p of the claim that the mean of paired differences lies within (-margin, margin): two one-sided sign-flip tests.

    Schuirmann's procedure (1987): the larger p of "the mean is at most -margin" and "it is at least margin". Flips the
    signs of the differences to the margin, so it supposes that differences scatter symmetrically about their mean.
    The smallest value is 2^-n.

    Args:
        differences: One per pair, in the units of the metric.
        margin: Largest difference that counts as none, above 0, in the same units.
    """
    sample = np.asarray(differences, dtype=np.float64)
    return max(_share_above(sample + margin), _share_above(margin - sample))


def detectable_difference(differences: Sequence[float], level: float) -> float | None:
    """The true mean difference that so many pairs with this scatter would have shown with probability `POWER`.

    Power of the paired t-test (noncentral t, two-sided), which the sign-flip test comes close to. `None` for fewer
    than two pairs, and where no p of so many pairs reaches the level.

    Args:
        differences: One per pair, in the units of the metric.
        level: Level of significance of one comparison, in (0, 1): after a correction for m comparisons, its m-th part.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    count = len(differences)
    if count < 2 or smallest_p(count) > level:
        return None
    critical = t.isf(level / 2, count - 1)
    noncentrality = brentq(lambda shift: nct.sf(critical, count - 1, shift) - POWER, 0.0, critical + 40.0)
    return float(noncentrality * np.std(differences, ddof=1) / np.sqrt(count))


def _share_above(sample: NDArray[np.float64]) -> float:
    """Share of all sign patterns with a sum at least as large as the sample's: one-sided p of a mean above 0."""
    if len(sample) <= _EXACT_UP_TO:
        sums = np.zeros(1)
        for value in sample:
            sums = np.concatenate([sums + value, sums - value])
        extra = 0
    else:
        sums = plain_generator(0).choice(np.array([-1.0, 1.0]), (_RANDOM_FLIPS, len(sample))) @ sample
        extra = 1  # the observed signs are one of the draws, so that p is never 0
    # Equal sums must count as equal, whatever order they were added in.
    reached = int((sums >= sample.sum() - 1e-9 * np.abs(sample).sum()).sum())
    return (reached + extra) / (len(sums) + extra)


def smallest_p(pairs: int) -> float:
    """What `sign_flip_p` gives if all differences have one sign."""
    return 2.0 ** (1 - min(pairs, _EXACT_UP_TO))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): adjusted p-values in the order given."""
    count = len(p_values)
    adjusted = [0.0] * count
    largest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
