"""Paired comparisons over few seeds: interval of a mean, exact test of a difference, correction for many of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qhybrid.evaluation.intervals import CONFIDENCE, Interval
from qhybrid.seeds import plain_generator

_BOOTSTRAP_REPEATS = 20_000
_EXACT_UP_TO = 20
_FEWEST = 5
_RANDOM_FLIPS = 100_000


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


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of paired differences: how often random signs give a mean at least as far from 0.

    Exact up to 20 pairs (all 2^n signs), by 100,000 random signs beyond. The smallest value is `smallest_p(n)`.
    `scipy.stats.permutation_test` gives the same (a test compares them), but walks through the signs one by one: at
    20 pairs it takes some hundred times as long, once for every cell of a study.
    """
    sample = np.asarray(differences, dtype=np.float64)
    count = len(sample)
    # By symmetry the first sign may stay.
    signs: NDArray[np.float64]
    if count <= _EXACT_UP_TO:
        codes = np.arange(2 ** (count - 1))
        signs = (1 - 2 * ((codes[:, None] >> np.arange(count)) & 1)).astype(np.float64)
        extra = 0
    else:
        signs = plain_generator(0).choice(np.array([-1.0, 1.0]), (_RANDOM_FLIPS, count))
        extra = 1  # the observed signs are one of the draws, so that p is never 0
    sums = np.abs(signs @ sample)
    # Equal sums must count as equal, whatever order they were added in.
    reached = int((sums >= abs(sample.sum()) - 1e-9 * np.abs(sample).sum()).sum())
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
