"""The bill: executions, seconds, budget, steps."""

from typing import Any

import numpy as np
import pytest
from qiskit_ibm_runtime.executor_estimator.prepare import prepare

from hardware.errors import BudgetError, HardwareError
from hardware.placement.transpilation import Program, transpile
from hardware.planning.bill import Plan, make_plan
from hardware.planning.costs import part_sizes
from hardware.primitives.execution import estimator_options
from hardware.service import limits
from hardware.service.backends import open_backend
from qhybrid.config import HardwareConfig
from qhybrid.quantum.circuits.ansatz import build_spec

SPEC = build_spec("ry_rz_ladder", 4, 3)


@pytest.fixture(scope="module")
def torino() -> Program:
    backend = open_backend("fake_torino")
    return transpile(SPEC, backend).program(SPEC, np.zeros(len(SPEC.weights)), backend)


def plan(program: Program, sensitivity: Any = None, unet_seconds: float = 0.0, **options: Any) -> Plan:
    config = HardwareConfig(**{"backend": "fake_torino", "qpu_steps": "all", **options})
    measured = sensitivity or [1.0] * config.steps
    return make_plan(program, config, sensitivity=lambda: measured, identity="x", unet_seconds=unet_seconds)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_executions_are_those_of_prepare(torino: Program, level: int) -> None:
    made = plan(torino, images=16, steps=3, shots=1024, level=level)
    options = estimator_options(level, 1024)
    program, _ = prepare([torino.pub(np.zeros((16, 4)))], options, backend=torino.backend)
    one_step = program.shots * sum(item.size() for item in program.items)
    assert made.executions == 3 * one_step
    assert made.jobs == 3
    if level == 0:
        assert one_step == 16 * 1024
    assert made.seconds == pytest.approx(3 * 2 + made.executions * 253e-6, rel=0.02)


def test_the_plan_is_for_the_real_device_and_says_its_share_of_an_open_plan(torino: Program) -> None:
    made = plan(torino, images=16, steps=8)
    assert (made.backend, made.device) == ("fake_torino", "ibm_torino")
    assert made.open_plan_share == pytest.approx(made.seconds / 600)
    assert Plan.from_dict(made.to_dict()) == made
    required = {"backend", "mode", "jobs", "shots", "executions", "seconds", "budget_seconds"}
    assert required <= made.to_dict().keys()


@pytest.mark.parametrize("steps", ["all", "auto", [0, 1]])
def test_a_budget_too_small_is_refused_with_both_numbers(torino: Program, steps: Any) -> None:
    with pytest.raises(BudgetError, match=r"budget_seconds 1\.5 is too small.* \d+\.\d s of device time"):
        plan(torino, steps=4, qpu_steps=steps, budget_seconds=1.5)


def test_a_budget_that_suffices_is_no_obstacle(torino: Program) -> None:
    needed = plan(torino, steps=2).seconds
    assert plan(torino, steps=2, budget_seconds=needed).seconds == needed
    with pytest.raises(BudgetError):
        plan(torino, steps=2, budget_seconds=needed - 0.01)


def test_auto_takes_the_most_sensitive_steps_within_the_budget(torino: Program) -> None:
    sensitivity = [0.1, 5.0, 0.2, 3.0, 2.0, 0.1]
    free = plan(torino, sensitivity, steps=6, qpu_steps="auto")
    assert free.qpu_steps == (1, 3, 4)  # 10.0 of 10.4: more than nine tenths
    assert free.sensitivity == tuple(sensitivity)
    per_step = free.seconds / 3
    assert plan(torino, sensitivity, steps=6, qpu_steps="auto", budget_seconds=2.5 * per_step).qpu_steps == (1, 3)


@pytest.mark.parametrize("steps", [[], [8], [-1, 2]])
def test_steps_that_do_not_exist_are_refused(torino: Program, steps: list[int]) -> None:
    with pytest.raises(HardwareError, match=r"qpu_steps \[.*0 to 7"):
        plan(torino, qpu_steps=steps, steps=8)


def test_images_are_split_into_jobs_at_the_limits(torino: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plan(torino, images=10, steps=2, shots=100)
    monkeypatch.setattr(limits, "MAX_EXECUTIONS_PER_JOB", 400)
    split = plan(torino, images=10, steps=2, shots=100)
    assert (split.jobs_per_round, split.jobs, split.mode) == (3, 6, "batch")
    assert split.executions == whole.executions
    assert split.seconds == pytest.approx(whole.seconds + 4 * 2)
    monkeypatch.setattr(limits, "MAX_PARAMETER_SETS_PER_JOB", 2)
    assert plan(torino, images=10, steps=2, shots=100).jobs_per_round == 5
    monkeypatch.setattr(limits, "MAX_EXECUTIONS_PER_JOB", 99)
    with pytest.raises(HardwareError, match="one image takes 100 executions"):
        plan(torino, images=10, steps=2, shots=100)


@pytest.mark.parametrize(("images", "jobs"), [(10, 3), (16, 1), (5, 5)])
def test_parts_are_as_equal_as_possible(images: int, jobs: int) -> None:
    sizes = part_sizes(images, jobs)
    assert sum(sizes) == images
    assert len(sizes) == jobs
    assert max(sizes) - min(sizes) <= 1


def test_a_session_is_billed_for_the_network_at_home(torino: Program) -> None:
    job = plan(torino, steps=4, unet_seconds=3.0)
    session = plan(torino, steps=4, unet_seconds=3.0, mode="session")
    assert session.seconds == pytest.approx(job.seconds + 4 * 3.0)
    assert (job.mode, session.mode) == ("job", "session")


def test_mode_and_budget_do_not_make_another_run_but_seeds_and_shots_do(torino: Program) -> None:
    base = plan(torino, steps=2)
    assert plan(torino, steps=2, mode="session", budget_seconds=1000.0).key == base.key
    assert plan(torino, steps=2, seed=1).key != base.key
    assert plan(torino, steps=2, shots=512).key != base.key
    assert plan(torino, steps=2, qpu_steps=[0]).key != base.key


def test_every_level_and_the_sampler_stand_side_by_side(torino: Program) -> None:
    made = plan(torino, images=8, steps=2, level=1)
    rows = {(row["primitive"], row["level"]): row for row in made.levels}
    assert list(rows) == [("estimator", 0), ("estimator", 1), ("estimator", 2), ("sampler", 0)]
    assert rows["estimator", 1]["executions"] == made.executions
    assert rows["estimator", 1]["seconds"] == pytest.approx(made.seconds)
    for primitive, level in rows:
        alone = plan(torino, images=8, steps=2, level=level, primitive=primitive)
        assert rows[primitive, level]["executions"] == alone.executions
        assert rows[primitive, level]["parameter_bytes"] == alone.parameter_bytes == 8 * 4 * 8
    # Two calibration circuits of the Sampler beside the eight images.
    assert rows["sampler", 0]["executions"] == 2 * (8 + 2) * 1024


def test_steps_may_be_ranges(torino: Program) -> None:
    assert plan(torino, steps=8, qpu_steps="0-2,5").qpu_steps == (0, 1, 2, 5)
    with pytest.raises(HardwareError, match="0 to 7"):
        plan(torino, steps=8, qpu_steps="6-8")


def test_the_share_of_what_is_left_is_said(torino: Program) -> None:
    config = HardwareConfig(qpu_steps=[0])
    made = make_plan(torino, config, sensitivity=list, identity="x", remaining_seconds=50.0)
    assert made.quota_share == pytest.approx(made.seconds / 50)
    assert f"{made.seconds / 50:.0%} of what is left" in made.summary()
    assert plan(torino).quota_share is None


def test_parameters_over_the_limit_of_a_request_split_it(torino: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PARAMETER_BYTES_PER_JOB", 4 * 4 * 8)
    split = plan(torino, images=10, steps=1, shots=10)
    assert (split.jobs, split.parameter_bytes) == (3, 4 * 4 * 8)
