"""Jobs on local devices: what they run, what they give back, what is refused."""

from typing import Any

import numpy as np
import pytest

from hardware.errors import JobError
from hardware.placement.transpilation import Program, transpile
from hardware.primitives import execution
from hardware.primitives.execution import (
    Expectations,
    ExpectedJob,
    collect,
    estimator_options,
    expected_job,
    job_sender,
)
from hardware.service.backends import open_backend
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.estimators.compiled import CompiledEstimator

SPEC = build_spec("ry_rz_ladder", 3, 1)
WEIGHTS = np.linspace(-1.0, 1.0, 6)


@pytest.fixture(scope="module")
def manila() -> Program:
    backend = open_backend("fake_manila")
    return transpile(SPEC, backend).local_program(SPEC, WEIGHTS, backend)


@pytest.fixture(scope="module")
def ideal() -> Program:
    backend = open_backend("aer")
    return transpile(SPEC, backend).local_program(SPEC, WEIGHTS, backend)


def run(program: Program, angles: np.ndarray, *, shots: int = 512, level: int = 0, seed: int = 7) -> Expectations:
    options = estimator_options(level, shots, seed=seed)
    job = job_sender(program, angles, options)(program.backend)
    return collect(job, expected_job(program, angles, options), SPEC.num_outputs, len(angles))


def exact(angles: np.ndarray) -> np.ndarray:
    values = np.concatenate([angles, np.tile(WEIGHTS, (len(angles), 1))], axis=1)
    names = tuple(parameter.name for parameter in (*SPEC.inputs, *SPEC.weights))
    pub = (SPEC.circuit, [[observable] for observable in SPEC.observables], {names: values})
    return CompiledEstimator(double=True).run([pub]).result()[0].data.evs.T


def test_an_ideal_device_gives_exact_values_within_its_standard_errors(ideal: Program, rng: Any) -> None:
    angles = rng.uniform(-3, 3, (40, 3))
    result = run(ideal, angles, shots=2048)
    z = (result.values - exact(angles)) / np.maximum(result.errors, 1 / 2048)
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0, abs=0.3)
    assert np.abs(z).max() < 5


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_noisy_device_is_near_but_not_exact(manila: Program, level: int) -> None:
    angles = np.array([[0.2, -0.4, 1.0], [2.5, 0.1, -1.3]])
    result = run(manila, angles, level=level, shots=2048)
    assert result.values.shape == result.errors.shape == (2, 3)
    difference = np.abs(result.values - exact(angles)).max()
    assert 0.005 < difference < 0.3


def test_the_same_seed_gives_the_same_numbers_and_equal_angles_independent_ones(manila: Program) -> None:
    angles = np.tile([[0.3, 1.0, -1.0]], (4, 1))
    first, second, other = run(manila, angles), run(manila, angles), run(manila, angles, seed=8)
    np.testing.assert_array_equal(first.values, second.values)
    assert not np.array_equal(first.values, other.values)
    assert len({tuple(row) for row in first.values}) == 4


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_executions_are_those_that_the_device_runs(
    manila: Program, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is prepared is held against the shots that the simulator has really been given."""
    from qiskit_aer.primitives import SamplerV2

    ran: list[int] = []
    genuine = SamplerV2.run

    def counting(self: SamplerV2, pubs: Any, **options: Any) -> Any:
        ran.extend(pub.shots * pub.parameter_values.size for pub in pubs)
        return genuine(self, pubs, **options)

    monkeypatch.setattr(SamplerV2, "run", counting)
    angles = np.zeros((3, 3))
    run(manila, angles, level=level, shots=200)
    assert sum(ran) == expected_job(manila, angles, estimator_options(level, 200)).executions


def test_seconds_follow_executions_and_repetition_delay(manila: Program) -> None:
    options = estimator_options(0, 1000)
    one, four = (expected_job(manila, np.zeros((count, 3)), options) for count in (1, 4))
    assert (one.executions, four.executions) == (1000, 4000)
    length = (one.seconds - 2) / 1000 - 250e-6
    assert 1e-6 < length < 20e-6
    assert four.seconds == pytest.approx(2 + 4000 * (250e-6 + length))
    assert four.parameter_bytes == 4 * 3 * 8


def damaged(monkeypatch: pytest.MonkeyPatch, program: Program, damage: Any) -> None:
    """Run a job whose raw result is changed on its way."""
    genuine = execution._raw_result
    monkeypatch.setattr(execution, "_raw_result", lambda job: damage(genuine(job)))
    run(program, np.zeros((2, 3)))


def halve_shots(raw: Any) -> Any:
    for item in raw:
        item["_meas"] = item["_meas"][..., : item["_meas"].shape[-2] // 2, :]
    return raw


def test_a_result_with_half_the_shots_is_refused(manila: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match=r"\(1, 2, 256\).*instead of.*\(1, 2, 512\)"):
        damaged(monkeypatch, manila, halve_shots)


@pytest.mark.parametrize("nothing", [None, "truncated"])
def test_a_truncated_result_is_refused(manila: Program, monkeypatch: pytest.MonkeyPatch, nothing: Any) -> None:
    with pytest.raises(JobError, match="no measured bits"):
        damaged(monkeypatch, manila, lambda raw: nothing)


def test_values_that_are_not_finite_are_refused(manila: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = execution.ClientSideEstimatorDecoder.decode

    def spoil(raw: Any) -> Any:
        result = genuine(raw)
        result[0].data.stds[0, 0] = np.nan
        return result

    monkeypatch.setattr(execution.ClientSideEstimatorDecoder, "decode", spoil)
    with pytest.raises(JobError, match="1 values or standard errors are not finite"):
        run(manila, np.zeros((2, 3)))


def test_an_extrapolation_without_an_error_keeps_its_value(manila: Program) -> None:
    """With these shots and this seed, exponential fits of some values have infinite standard errors."""
    result = run(manila, np.zeros((3, 3)), level=2, shots=200, seed=7)
    assert 1 <= np.count_nonzero(np.isnan(result.errors)) < 9
    assert np.isfinite(result.values).all()


def test_a_result_for_other_samples_is_refused(manila: Program) -> None:
    angles = np.zeros((2, 3))
    options = estimator_options(0, 100, seed=1)
    job = job_sender(manila, angles, options)(manila.backend)
    with pytest.raises(JobError, match="measured bits of shape"):
        collect(job, expected_job(manila, np.zeros((3, 3)), options), 3, 3)
    expected = ExpectedJob(0, 0.0, 0, expected_job(manila, angles, options).shapes)
    with pytest.raises(JobError, match=r"values of shape \(2, 3\) instead of \(2, 4\)"):
        collect(job, expected, 4, 2)
