import numpy as np
import pytest

from qhybrid.evaluation.intervals import (
    bootstrap_interval,
    expectation_interval,
    subset_interval,
    subset_intervals,
    wilson_interval,
)
from qhybrid.evaluation.metrics import kernel_distance


def test_subset_interval_of_kid_covers_the_true_value():
    rng = np.random.default_rng(3)
    truth = 3 * 1**2 + 3 * (2 - 1) ** 2 + (4 - 0) ** 2  # see test_kid_is_unbiased
    hits, widths, values = 0, [], []
    for _ in range(150):
        x, y = rng.normal(size=(120, 1)) + 1, rng.normal(size=(80, 1))
        value = kernel_distance(x, y)
        low, high = subset_interval(
            lambda i, j, x=x, y=y: kernel_distance(x[i], y[j]), value, (120, 80), fraction=0.4, subsets=60, rng=rng
        )
        hits += low <= truth <= high
        widths.append(high - low)
        values.append(value)
    assert 0.88 <= hits / 150 <= 0.99
    # Half of an interval is 1.96 standard errors, and the errors are those of repeated experiments.
    assert 0.8 < np.mean(widths) / (2 * 1.96 * np.std(values)) < 1.25


def test_subset_interval_stays_within_bounds():
    rng = np.random.default_rng(0)
    draws = iter(np.tile([0.0, 1.0], 20))
    interval = subset_interval(
        lambda i, j: next(draws), 0.9, (10, 10), fraction=0.5, subsets=40, rng=rng, bounds=(0.0, 1.0)
    )
    assert interval == (0.0, 1.0)


def test_bootstrap_interval_covers_a_share():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        sample = rng.random(200) < 0.3
        low, high = bootstrap_interval(
            lambda indices, sample=sample: float(sample[indices].mean()), 200, repeats=300, rng=rng
        )
        hits += low <= 0.3 <= high
    assert 88 <= hits <= 100


@pytest.mark.parametrize("excess", [0.0, 0.1, 0.5])
def test_expectation_interval_covers_what_a_biased_statistic_expects(excess):
    # Total variation between a histogram of 200 draws and a law: biased upwards, most where the laws are equal.
    rng = np.random.default_rng(5)
    law = np.full(10, 0.1)
    drawn = (1 - excess) * law + excess * np.eye(10)[0]

    def variation(labels):
        return float(np.abs(np.bincount(labels, minlength=10) / len(labels) - law).sum() / 2)

    expected = np.abs(rng.multinomial(200, drawn, 20_000) / 200 - law).sum(axis=1).mean() / 2
    hits, percentile_hits, rounds = 0, 0, 150
    for _ in range(rounds):
        labels = rng.choice(10, 200, p=drawn)
        value = variation(labels)
        low, high = expectation_interval(
            lambda i, labels=labels: variation(labels[i]), value, 200, repeats=150, rng=rng, bounds=(0.0, 1.0)
        )
        assert 0 <= low <= value <= high <= 1
        hits += low <= expected <= high
        low, high = bootstrap_interval(lambda i, labels=labels: variation(labels[i]), 200, repeats=150, rng=rng)
        percentile_hits += low <= expected <= high
    assert hits / rounds >= 0.9
    if excess == 0:
        assert percentile_hits / rounds < 0.8  # what was wrong with percentiles


def test_intervals_of_several_statistics_are_those_of_each_alone():
    x, y = np.random.default_rng(5).normal(size=(2, 60))

    def both(i, j):
        return x[i].mean() - y[j].mean(), x[i].std()

    settings = {"fraction": 0.5, "subsets": 30}
    together = subset_intervals(
        both, (0.1, 0.9), (60, 60), rng=np.random.default_rng(1), bounds=((-9, 9), (0.0, 0.91)), **settings
    )
    for place, (value, bounds) in enumerate([(0.1, (-9, 9)), (0.9, (0.0, 0.91))]):
        alone = subset_interval(
            lambda i, j, place=place: both(i, j)[place],
            value,
            (60, 60),
            rng=np.random.default_rng(1),
            bounds=bounds,
            **settings,
        )
        assert together[place] == alone
    assert together[1][1] == 0.91


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (97, 100), (1, 3), (500, 1000)])
def test_wilson_interval_equals_scipys(hits, count):
    from scipy.stats import binomtest

    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)
