"""Differences between sources of expectation values."""

import numpy as np
import pytest
from hardware_runs import MakeRun

import hardware
from hardware.commands.tables import comparison_table
from hardware.comparison.expectation_values import difference
from hardware.runs.stages import compare_run, comparison_line
from qhybrid.config import HardwareConfig

A, B = np.array([[0.5, -0.1], [0.2, 0.4]]), np.array([[0.4, 0.1], [0.2, 0.1]])


def test_rms_and_bias_are_those_of_the_differences() -> None:
    found = difference(A, B)
    assert found["n"] == 4
    assert found["rms"] == pytest.approx(np.sqrt((0.01 + 0.04 + 0.09) / 4))
    assert found["bias"] == pytest.approx((0.1 - 0.2 + 0.3) / 4)
    assert "z" not in found


def test_z_scores_are_over_the_stated_errors_that_are_known() -> None:
    z = difference(A, B, np.array([[0.1, 0.1], [np.nan, 0.1]]))["z"]
    assert z["rms"] == pytest.approx(np.sqrt((1 + 4 + 9) / 3))
    assert z["mean"] == pytest.approx(2 / 3)
    assert z["largest"] == pytest.approx(3)
    assert z["beyond_2"] == pytest.approx(1 / 3, abs=0.34)


def test_a_run_without_any_stated_error_is_compared_all_the_same(make_run: MakeRun) -> None:
    """Extrapolations may all end without one, and the jobs are paid for."""
    run = make_run(qubits=2)
    options = HardwareConfig(backend="fake_manila", images=2, steps=1, qpu_steps=[0], shots=64, pack=1)
    hardware.infer(run, options)
    for path in (run.hardware / "results").glob("*.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, "errors": np.full_like(arrays["errors"], np.nan)})
    comparison = compare_run(run)
    assert comparison["standard_error"] is None
    assert "z" not in comparison["device_against_exact"]
    assert "no stated standard error" in comparison_line(comparison)
    assert "no stated standard error" in str(comparison_table(comparison).caption)
