import numpy as np
import pytest
from scipy import stats

from qhybrid.studies.statistics import (
    POWER,
    bca_interval,
    detectable_difference,
    equivalence_p,
    holm,
    mean_interval,
    sign_flip_p,
    smallest_p,
)


def test_sign_flips_counted_by_hand():
    assert sign_flip_p([1.0, 2.0, 3.0]) == 2 / 8
    assert sign_flip_p([1.0, -1.0]) == 1.0
    # Of the 8 sign patterns of (3, 2, -1), sum 4, two are larger (6, -6) and two as large.
    assert sign_flip_p([3.0, 2.0, -1.0]) == 4 / 8
    assert sign_flip_p([0.0, 0.0]) == 1.0
    # Differences of one size: sums that differ by rounding alone are ties.
    assert sign_flip_p([0.1] * 3 + [-0.1]) == pytest.approx(stats.binomtest(3, 4).pvalue)


@pytest.mark.parametrize("count", [2, 5, 9])
def test_sign_flips_agree_with_scipy(rng, count):
    for _ in range(5):
        differences = rng.normal(0.5, 1, count)
        expected = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
        assert sign_flip_p(differences) == pytest.approx(expected.pvalue)
        assert sign_flip_p(np.abs(differences)) == smallest_p(count)


def test_many_pairs_are_flipped_at_random(rng):
    differences = rng.normal(0.3, 1, 60)
    assert sign_flip_p(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)
    assert 0 < sign_flip_p(np.ones(60)) < 1e-4


def test_equality_by_hand():
    # Shifted to (3, 2) and (1, 2): of the 4 sign patterns only the observed one reaches the sum.
    assert equivalence_p([1.0, 0.0], 2.0) == 1 / 4
    # Beyond the margin: (0, 1) against the upper end reaches 1 in two of four, (-1, -2) in all.
    assert equivalence_p([2.0, 1.0], 2.0) == 2 / 4
    assert equivalence_p([3.0, 4.0], 2.0) == 1.0
    assert equivalence_p([0.01, -0.01, 0.0] * 3, 1.0) == 2.0**-9


def test_equality_agrees_with_two_t_tests_where_pairs_are_many(rng):
    differences = rng.normal(0.1, 1, 60)
    one_sided = [
        stats.ttest_1samp(differences, -0.4, alternative="greater").pvalue,
        stats.ttest_1samp(differences, 0.4, alternative="less").pvalue,
    ]
    assert equivalence_p(differences, 0.4) == pytest.approx(max(one_sided), abs=0.01)


def test_a_detectable_difference_is_shown_as_often_as_said(rng):
    scatter = rng.normal(0, 1, 12)
    scatter *= 0.3 / scatter.std(ddof=1)
    size = detectable_difference(scatter, 0.05)
    shown = [sign_flip_p(rng.normal(size, 0.3, 12)) <= 0.05 for _ in range(400)]
    assert np.mean(shown) == pytest.approx(POWER, abs=0.06)
    assert detectable_difference(scatter, 0.01) > size
    assert detectable_difference([0.1, 0.2, 0.3], 0.05) is None
    assert detectable_difference([], 0.05) is None


def test_simulated_studies_without_a_better_arm_show_one_in_at_most_a_twentieth(rng):
    def smallest_corrected(shift):
        """Of a study of five arms and a reference, 10 seeds, whose metric differs from seed to seed."""
        seeds = rng.normal(0, 1, 10)
        reference, *arms = seeds + rng.standard_t(4, (6, 10)) * 0.2
        arms[2] += shift
        return np.argmin(p := holm([sign_flip_p(arm - reference) for arm in arms])), min(p)

    # The right rate is at most 0.05; of 1,000 studies a standard error is 0.007.
    assert np.mean([smallest_corrected(0.0)[1] <= 0.05 for _ in range(1000)]) <= 0.05 + 3 * 0.007
    found = [smallest_corrected(1.0) for _ in range(50)]
    assert np.mean([arm == 2 and p <= 0.05 for arm, p in found]) > 0.8


def test_simulated_studies_call_arms_equal_only_where_they_are(rng):
    def claimed(shift):
        return equivalence_p(rng.normal(shift, 0.1, 10), 0.2) <= 0.05

    # At the margin itself the claim is wrong; it is made in at most a twentieth.
    assert np.mean([claimed(0.2) for _ in range(200)]) <= 0.05
    assert np.mean([claimed(0.0) for _ in range(200)]) > 0.9


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_mean_interval_is_the_percentile_bootstrap_of_scipy_at_the_widened_level(rng):
    values = rng.normal(3, 2, 8)
    tail = stats.norm.cdf(np.sqrt(8 / 7) * stats.t.ppf(0.025, 7))
    expected = stats.bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * tail, method="percentile", n_resamples=20_000, vectorized=True
    ).confidence_interval
    spread = values.std() / np.sqrt(8)
    assert mean_interval(values) == pytest.approx([expected.low, expected.high], abs=0.15 * spread)


def test_mean_interval_covers_the_mean(rng):
    hits = []
    for _ in range(300):
        low, high = mean_interval(rng.normal(1, 1, 8))
        hits.append(low <= 1 <= high)
    # The plain percentile interval covers 0.89 of them; 0.02 is 1.6 standard errors of this count.
    assert 0.92 <= np.mean(hits) <= 0.985


def test_too_few_values_have_no_interval():
    assert mean_interval([1.0, 2.0, 3.0, 4.0]) is None
    assert mean_interval([]) is None
    assert mean_interval([2.0] * 5) == (2.0, 2.0)


def test_bca_interval_follows_the_skewness_and_is_narrower_than_the_one_quoted(rng):
    skewed = rng.exponential(1.0, 10)
    plain = stats.bootstrap(
        (skewed,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    low, high = bca_interval(skewed)
    # By hand: acceleration from the jackknife, which for a mean is the skewness over 6 sqrt(n); no bias to speak of.
    acceleration = stats.skew(skewed) / (6 * np.sqrt(10))
    draws = np.random.default_rng(2).choice(skewed, (50_000, 10)).mean(axis=1)
    bias = stats.norm.ppf((draws < skewed.mean()).mean())
    ends = [bias + (bias + z) / (1 - acceleration * (bias + z)) for z in stats.norm.ppf([0.025, 0.975])]
    spread = skewed.std() / np.sqrt(10)
    assert [low, high] == pytest.approx(np.quantile(draws, stats.norm.cdf(ends)), abs=0.2 * spread)
    assert high > plain.high
    assert mean_interval(skewed)[1] - mean_interval(skewed)[0] > high - low
    assert bca_interval([1.0, 2.0, 3.0, 4.0]) is None
    assert bca_interval([2.0] * 5) == (2.0, 2.0)


def test_the_quoted_interval_covers_more_often_than_bca_where_seeds_are_few(rng):
    draws = [rng.normal(1, 1, 10) for _ in range(120)]
    quoted, bca = (
        np.mean([low <= 1 <= high for low, high in map(interval, draws)]) for interval in (mean_interval, bca_interval)
    )
    assert bca <= quoted
    assert quoted > 0.87
