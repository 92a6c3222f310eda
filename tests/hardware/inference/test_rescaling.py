"""Learned rescaling, its test on held-out points, and where it is refused."""

import numpy as np
import pytest

from hardware.inference.affine import Measured
from hardware.inference.rescaling import learn, parts_of, rescaling_words, spread_points


def measured(true: np.ndarray, rng: np.random.Generator, shots: int = 1024, copies: int = 1) -> Measured:
    values = 2 * rng.binomial(shots, (1 + np.clip(true, -1, 1)) / 2) / shots - 1
    errors = np.maximum(np.sqrt((1 - values**2) / shots), 1 / shots)
    return Measured(values, errors, np.arange(len(true)) % copies)


def uniform(points: int, outputs: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (points, outputs))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def test_an_affine_distortion_is_undone_on_points_that_no_fit_has_seen() -> None:
    rng = np.random.default_rng(0)
    exact = uniform(80, 4, 1)
    copy = np.arange(80) % 8
    factors, shifts = rng.uniform(0.5, 0.95, (8, 4)), rng.uniform(-0.05, 0.05, (8, 4))
    points = measured(factors[copy] * exact + shifts[copy], rng, 16384, copies=8)
    found = learn(exact, points, 8)
    values, errors = found.known(points)
    assert found.held
    assert found.record["n"] == 320
    assert found.record["rms"] == pytest.approx(rms(values - exact))
    assert found.record["rms_measured"] == pytest.approx(rms(points.values - exact))
    assert rms(values - exact) < 0.25 * rms(points.values - exact)
    assert rms((values - exact) / errors) == pytest.approx(1, abs=0.15)
    later = uniform(80, 4, 2)
    again = measured(factors[copy] * later + shifts[copy], rng, 16384, copies=8)
    assert rms(found.others(again)[0] - later) < 0.25 * rms(again.values - later)


def test_no_point_is_rescaled_by_a_fit_to_itself() -> None:
    """A point that is far off changes what becomes of the others, and nothing of what becomes of its own part."""
    rng = np.random.default_rng(0)
    exact = uniform(40, 3, 1)
    points = measured(0.8 * exact, rng, copies=4)
    before = learn(exact, points, 4).known(points)[0]
    moved = exact.copy()
    moved[7] += 0.3
    after = learn(moved, points, 4).known(points)[0]
    own = parts_of(points.copies) == parts_of(points.copies)[7]
    assert np.array_equal(after[own], before[own])
    assert (after[~own] != before[~own]).all()


@pytest.mark.parametrize(
    "distortion",
    [lambda x: 0.8 * np.sin(3 * x), lambda x: x**2 - 0.3, lambda x: 0.4 * x + 0.5 * np.sign(x), np.abs],
    ids=["sine", "square", "step", "modulus"],
)
def test_a_distortion_that_is_not_affine_is_refused(distortion) -> None:
    exact = uniform(120, 3, 1)
    points = measured(distortion(exact), np.random.default_rng(0), 4096)
    found = learn(exact, points, 1)
    assert not found.held
    assert "values stay as measured" in found.line()
    assert found.record["reason"] in rescaling_words(found.record)
    for values, errors in (found.known(points), found.others(points)):
        assert np.array_equal(values, points.values)
        assert np.array_equal(errors, points.errors)


def test_the_limit_of_chi_square_lets_affine_distortions_pass() -> None:
    """One in a thousand may be refused; at few points, where the limit is wide."""
    held = 0
    for seed in range(10):
        exact = uniform(12, 4, seed)
        found = learn(exact, measured(0.6 * exact + 0.05, np.random.default_rng(seed), copies=3), 3)
        held += found.held
        assert found.record["chi2"] < 2 * found.record["chi2_limit"]
    assert held == 10


def test_noise_that_is_not_quite_affine_is_rescaled_and_its_scatter_stated() -> None:
    """Many shots see every deviation from a line; what is left of the distortion decides."""
    rng = np.random.default_rng(0)
    exact = uniform(200, 3, 1)
    points = measured(0.6 * exact + 0.02 * exact**3 + 0.005 * rng.normal(size=exact.shape), rng, 10**6)
    found = learn(exact, points, 1)
    assert found.held
    assert found.record["chi2"] > found.record["chi2_limit"]
    assert found.record["left"] < 0.1
    values, errors = found.known(points)
    assert rms((values - exact) / errors) == pytest.approx(1, abs=0.2)


def test_a_device_without_distortion_stays_as_it_is_or_nearly_so() -> None:
    exact = uniform(80, 4, 1)
    points = measured(exact, np.random.default_rng(0))
    found = learn(exact, points, 1)
    values, _ = found.known(points)
    assert rms(values - exact) < 1.1 * rms(points.values - exact)
    assert found.held == (found.record["rms"] < found.record["rms_measured"])


def test_a_lost_signal_is_not_made_whole() -> None:
    exact = uniform(80, 2, 1)
    points = measured(exact * np.array([0.8, 0.02]), np.random.default_rng(0))
    found = learn(exact, points, 1)
    assert not found.held
    assert "of its signal, and at least 0.1 is needed" in found.line()


def test_without_stated_errors_nothing_is_learned() -> None:
    exact = uniform(20, 2, 1)
    points = measured(0.8 * exact, np.random.default_rng(0))
    blind = Measured(points.values, np.full_like(points.errors, np.nan), points.copies)
    found = learn(exact, blind, 1)
    assert "values stay as measured: most values come without a standard error" in found.line()
    assert np.array_equal(found.others(blind)[0], points.values)


def test_parts_share_out_the_points_of_each_copy() -> None:
    part = parts_of(np.arange(40) % 5)
    for copy in range(5):
        assert np.array_equal(np.bincount(part[copy::5]), [2, 2, 2, 2])
    # One point per copy: the copies are dealt out.
    assert len(np.unique(parts_of(np.arange(8)))) == 4


def test_reference_points_lie_far_from_each_other() -> None:
    rng = np.random.default_rng(0)
    cloud = np.concatenate([rng.normal(size=(500, 3)) * 0.01, [[1, 0, 0], [0, 1, 0], [0, 0, -1], [-1, 0, 0]]])
    assert {*spread_points(cloud, 4)} == {500, 501, 502, 503}
    assert len({*spread_points(cloud, 20)}) == 20
    assert len(spread_points(cloud[:3], 20)) == 3
