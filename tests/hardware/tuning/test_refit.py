"""The refitted map against numpy's least squares, and when it is refused."""

import re

import numpy as np
import pytest

from hardware.tuning.refit import LEAST_POINTS, refit, refit_words

CHANNELS, OUTPUTS = 7, 4


def planted(points: int, scatter: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """A map, values that it was trained on, and a device's: mixed, shrunk, shifted and scattered."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(CHANNELS, OUTPUTS)), rng.normal(size=CHANNELS)
    wanted = rng.uniform(-1, 1, (points, OUTPUTS))
    mixing = np.diag([0.6, 0.7, 0.8, 0.9]) + 0.05 * rng.normal(size=(OUTPUTS, OUTPUTS))
    given = wanted @ mixing.T + [0.05, -0.02, 0.1, 0.0] + scatter * rng.normal(size=wanted.shape)
    return given, wanted, weight, bias


@pytest.mark.parametrize(("scatter", "tolerance"), [(0.0, 1e-3), (0.1, 0.02)])
def test_with_many_points_it_is_plain_least_squares(scatter: float, tolerance: float) -> None:
    given, wanted, weight, bias = planted(2000, scatter)
    found = refit(given, wanted, weight, bias)
    columns = np.column_stack([given, np.ones(len(given))])
    solution = np.linalg.lstsq(columns, wanted @ weight.T + bias, rcond=None)[0]
    np.testing.assert_allclose(found.weight, solution[:-1].T, atol=tolerance)
    np.testing.assert_allclose(found.bias, solution[-1], atol=tolerance)
    assert found.held
    left = given @ solution[:-1] + solution[-1] - wanted @ weight.T - bias
    spread = np.sqrt((wanted @ weight.T).var(axis=0).mean())
    assert found.record["rms"] == pytest.approx(np.sqrt(np.mean(left**2)) / spread, rel=0.02, abs=1e-3)


def test_what_it_says_of_unseen_points_is_so() -> None:
    given, wanted, weight, bias = planted(2200, 0.1, seed=3)
    found = refit(given[:200], wanted[:200], weight, bias)
    target = wanted @ weight.T + bias
    spread = np.sqrt((wanted @ weight.T).var(axis=0).mean())

    def error(matrix: np.ndarray, shift: np.ndarray) -> float:
        return float(np.sqrt(np.mean((given[200:] @ matrix.T + shift - target[200:]) ** 2)) / spread)

    assert found.record["rms_before"] == pytest.approx(error(weight, bias), rel=0.15)
    assert found.record["rms"] == pytest.approx(error(found.weight, found.bias), rel=0.15)
    assert error(found.weight, found.bias) < 0.7 * error(weight, bias)
    assert "of its spread on held-out points (200 points)" in refit_words(found.record)


def test_with_few_scattered_points_the_ridge_is_better_than_plain_least_squares() -> None:
    ratios = []
    for seed in range(20):
        given, wanted, weight, bias = planted(1014, 0.3, seed)
        target = wanted @ weight.T + bias
        found = refit(given[:14], wanted[:14], weight, bias)
        columns = np.column_stack([given, np.ones(len(given))])
        plain = columns[14:] @ np.linalg.lstsq(columns[:14], target[:14], rcond=None)[0]
        ridged = given[14:] @ found.weight.T + found.bias
        ratios.append(np.mean((ridged - target[14:]) ** 2) / np.mean((plain - target[14:]) ** 2))
    assert np.median(ratios) < 0.95


def test_it_is_refused_where_nothing_is_to_be_gained() -> None:
    _, wanted, weight, bias = planted(12, 0.0)
    noise = np.random.default_rng(1).normal(scale=1e-6, size=wanted.shape)
    found = refit(wanted + noise, wanted, weight, bias)
    assert not found.held
    assert "does not fall" in refit_words(found.record)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda g, w, m: (g[: LEAST_POINTS - 1], w[: LEAST_POINTS - 1], m),
            "9 points are too few .*: take 10",
        ),
        (lambda g, w, m: (g, w, 0 * m), "it ignores the circuit"),
        (lambda g, w, m: (np.ones_like(g), np.ones_like(w), m), "all points are alike"),
    ],
)
def test_it_is_refused_where_there_is_nothing_to_fit(change: object, reason: str) -> None:
    given, wanted, weight, bias = planted(40, 0.1)
    given, wanted, weight = change(given, wanted, weight)  # type: ignore[operator]
    found = refit(given, wanted, weight, bias)
    assert not found.held
    assert found.weight is weight
    assert re.search(reason, refit_words(found.record))
