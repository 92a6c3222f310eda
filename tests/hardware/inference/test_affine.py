"""Factors and shifts of a device, recovered from reference points with the errors that are stated."""

import numpy as np
import pytest

from hardware.inference.affine import Distortion, Measured, fit_distortion

SHOTS = 1024


def sampled(true: np.ndarray, copies: np.ndarray, rng: np.random.Generator, shots: int = SHOTS) -> Measured:
    """Means of so many outcomes +-1, and the standard errors that are seen in them."""
    values = 2 * rng.binomial(shots, (1 + np.clip(true, -1, 1)) / 2) / shots - 1
    return Measured(values, np.maximum(np.sqrt((1 - values**2) / shots), 1 / shots), copies)


def distorted(
    exact: np.ndarray, factors: np.ndarray, shifts: np.ndarray, rng: np.random.Generator, shots: int = SHOTS
) -> Measured:
    copies = np.arange(len(exact)) % len(factors)
    return sampled(factors[copies] * exact + shifts[copies], copies, rng, shots)


def uniform(points: int, outputs: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-0.9, 0.9, (points, outputs))


def test_factors_and_shifts_by_observable_and_by_copy_are_found_within_their_errors() -> None:
    """Each is another: no qubit and no copy stands for its neighbour."""
    rng = np.random.default_rng(0)
    factors = np.array([[0.95, 0.80, 0.60], [0.70, 0.90, 0.85]])
    shifts = np.array([[0.00, 0.05, -0.03], [-0.06, 0.02, 0.04]])
    exact = uniform(600, 3, rng)
    found = fit_distortion(exact, distorted(exact, factors, shifts, rng), 2)
    np.testing.assert_allclose(found.factors, factors, atol=0.02)
    np.testing.assert_allclose(found.shifts, shifts, atol=0.01)
    deviations = np.stack([found.factors - factors, found.shifts - shifts], axis=-1)
    z = deviations / np.sqrt(np.einsum("coii->coi", found.covariances))
    assert np.abs(z).max() < 4
    assert 0.4 < np.sqrt(np.mean(z**2)) < 1.6


@pytest.mark.parametrize(("points", "outputs", "copies"), [(80, 6, 10), (12, 4, 1), (40, 3, 4)])
def test_stated_errors_of_rescaled_values_cover_the_exact_ones(points: int, outputs: int, copies: int) -> None:
    inside, scores = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        factors = 0.8 + 0.05 * rng.normal(size=(copies, outputs))
        shifts = 0.03 * rng.normal(size=(copies, outputs))
        exact = uniform(points, outputs, rng)
        fitted = fit_distortion(exact, distorted(exact, factors, shifts, rng), copies)
        other = uniform(400, outputs, rng)
        values, errors = fitted.undo(distorted(other, factors, shifts, rng))
        z = (values - other) / errors
        inside.append(np.mean(np.abs(z) < 1.96))
        scores.append(np.mean(z**2))
    assert 0.93 < np.mean(inside) < 0.98
    assert 0.85 < np.sqrt(np.mean(scores)) < 1.1


def test_a_single_line_is_that_of_weighted_least_squares() -> None:
    """Where the data say all, the laws that parameters are drawn from say nothing: the textbook's line."""
    rng = np.random.default_rng(1)
    exact = uniform(4000, 1, rng)
    measured = distorted(exact, np.array([[0.7]]), np.array([[0.1]]), rng)
    found = fit_distortion(exact, measured, 1)
    slope, intercept = np.polyfit(exact[:, 0], measured.values[:, 0], 1, w=1 / measured.errors[:, 0])
    assert found.factors[0, 0] == pytest.approx(slope, abs=2e-3)
    assert found.shifts[0, 0] == pytest.approx(intercept, abs=2e-3)
    _, covariance = np.polyfit(exact[:, 0], measured.values[:, 0], 1, w=1 / measured.errors[:, 0], cov="unscaled")
    np.testing.assert_allclose(found.covariances[0, 0], covariance, rtol=0.15)


def test_a_copy_without_points_stays_at_the_mean_of_its_observable() -> None:
    """And says how far from it a copy may lie."""
    rng = np.random.default_rng(2)
    copies, outputs = 3, 2
    exact = uniform(60, outputs, rng)
    factors, shifts = 0.8 + 0.1 * rng.normal(size=(copies, outputs)), 0.05 * rng.normal(size=(copies, outputs))
    measured = distorted(exact, factors, shifts, rng)
    chosen = measured.copies != 2
    found = fit_distortion(exact[chosen], measured.rows(chosen), copies)
    middle = found.factors[:2].mean(axis=0)
    assert (np.abs(found.factors[2] - middle) < 0.1).all()
    assert (found.covariances[2, :, 0, 0] > 2 * found.covariances[0, :, 0, 0]).all()


def test_scatter_about_the_line_is_learned_and_stated() -> None:
    rng = np.random.default_rng(3)
    exact, scatter = uniform(400, 4, rng), 0.05
    measured = sampled(0.8 * exact + scatter * rng.normal(size=exact.shape), np.zeros(400, dtype=np.int64), rng)
    found = fit_distortion(exact, measured, 1)
    assert found.scatter == pytest.approx(scatter, rel=0.15)
    values, errors = found.undo(measured)
    assert np.sqrt(np.mean(((values - exact) / errors) ** 2)) == pytest.approx(1, abs=0.1)
    assert (errors > found.undo(measured, scatter=False)[1]).all()


def test_values_without_an_error_are_left_out_of_the_fit_and_stay_without() -> None:
    rng = np.random.default_rng(4)
    exact = uniform(50, 2, rng)
    measured = distorted(exact, np.full((1, 2), 0.8), np.zeros((1, 2)), rng)
    wrong = Measured(measured.values.copy(), measured.errors.copy(), measured.copies)
    wrong.values[:5], wrong.errors[:5] = 7.0, np.nan
    found, clean = fit_distortion(exact, wrong, 1), fit_distortion(exact[5:], measured.rows(slice(5, None)), 1)
    np.testing.assert_allclose(found.factors, clean.factors)
    assert np.isnan(found.undo(wrong)[1][:5]).all()
    assert np.isfinite(found.undo(wrong)[1][5:]).all()


def test_errors_of_the_fit_and_of_the_shots_add_up() -> None:
    """First-order propagation, written out."""
    covariance = np.array([[4e-4, 1e-4], [1e-4, 9e-4]])
    known = Distortion(np.array([[0.5]]), np.array([[0.1]]), covariance[None, None], 0.02)
    values, errors = known.undo(Measured(np.array([[0.4]]), np.array([[0.03]]), np.array([0])))
    x = (0.4 - 0.1) / 0.5
    assert values[0, 0] == pytest.approx(x)
    variance = 0.03**2 + 0.02**2 + x**2 * 4e-4 + 2 * x * 1e-4 + 9e-4
    assert errors[0, 0] == pytest.approx(np.sqrt(variance) / 0.5)
