"""A bottleneck that sees class and time alone: the whole run is one job, whatever the number of images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hardware_runs import Command, MakeRun, conditional_run
from loopback import Loopback
from qiskit_ibm_runtime.executor_estimator.prepare import prepare

import hardware
from hardware.errors import BudgetError, HardwareError, JobPendingError
from hardware.inference.reverse_process import ReverseProcess, ReverseState
from hardware.inference.workload import planned_workload
from hardware.jobs.job_log import JobLog
from hardware.planning.bill import Plan
from hardware.primitives.execution import estimator_options
from hardware.runs.status import status
from hardware.runs.variants import compare_variants
from hardware.service import limits
from qhybrid.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json, read_jsonl, write_json
from qhybrid.rundir import RunDirectory

BLIND = {"sees": ["class", "time"]}


def options(**given: Any) -> HardwareConfig:
    return HardwareConfig(
        **{"backend": "ibm_manila", "images": 7, "steps": 3, "qpu_steps": "all", "shots": 64, "pack": 1, **given}
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return conditional_run(tmp_path / "run", qubits=2, **BLIND)


def images(run: RunDirectory) -> np.ndarray:
    with np.load(run.hardware / "images.npz") as file:
        return file["images"]


def test_a_thousand_digits_are_planned_as_one_job_of_eighty_circuits(tmp_path: Path) -> None:
    run = conditional_run(tmp_path / "run", classes=10, qubits=6, place="condition", **BLIND)
    wanted = options(backend="fake_torino", images=1000, steps=8, shots=1024, pack="auto")
    made = hardware.plan(run, wanted)
    assert (made.jobs, made.rounds, made.mode, made.parameter_sets) == (1, 1, "job", 80)
    assert made.seconds <= 8
    # Runtime's own count of the job.
    device = planned_workload(run).device
    program, _ = prepare([device.pub(np.zeros((80, 6)))], estimator_options(0, 1024), backend=device.backend)
    assert made.executions == program.shots * sum(item.size() for item in program.items)
    # A circuit per image and step, on as many places side by side.
    rows = -(-1000 // made.pack)
    assert made.step_by_step is not None
    assert (made.step_by_step["jobs"], made.step_by_step["executions"]) == (8, 8 * rows * 1024)
    assert made.step_by_step["seconds"] > 10 * made.seconds
    assert hardware.plan(run, wanted.model_copy(update={"images": 10})).executions == made.executions


def test_the_circuits_are_those_that_the_network_asks_for_step_by_step(run: RunDirectory) -> None:
    process = ReverseProcess(load_checkpoint(run.path), 3, range(7))
    asked: list[np.ndarray] = []
    genuine = process.model.core_inputs

    def record(encoded: Any, labels: Any = None) -> torch.Tensor:
        asked.append(genuine(encoded, labels).double().numpy())
        return genuine(encoded, labels)

    process.model.core_inputs = record  # type: ignore[method-assign]
    process.simulate()
    known = process.known_round(range(3))
    assert known.angles.shape == (9, 2)
    for step in range(3):
        np.testing.assert_allclose(known.of_images(step, known.angles), asked[step], atol=1e-5)


def test_one_job_at_the_service_and_executions_as_planned(service: Loopback, run: RunDirectory) -> None:
    comparison = hardware.infer(run, options(), yes=True)
    plan = read_json(run.hardware / "plan.json")
    assert [job.executions for job in service.jobs] == [plan["executions"]] == [9 * 64]
    assert service.state.sessions == {}
    assert comparison["parameter_sets"] == 9
    assert [row["step"] for row in comparison["by_step"]] == [0, 1, 2]
    assert comparison["images"]["n"] == 7
    # All images of a class share one measured value at a step; of more shots comes what exact simulation gives.
    assert comparison["device_against_noisy"]["z"]["rms"] < 2
    assert [row["steps"] for row in status(run)["jobs"]] == [[0, 1, 2]]
    first = images(run)
    assert (hardware.infer(run, options(backend="replay")), len(service.jobs)) == (comparison, 1)
    assert np.array_equal(images(run), first)


def test_a_session_is_not_opened_for_one_job(paid_service: Loopback, run: RunDirectory) -> None:
    assert hardware.plan(run, options()).mode == "job"
    hardware.infer(run, options(), yes=True)
    assert (len(paid_service.jobs), paid_service.state.sessions) == (1, {})


def test_submit_sends_all_and_says_how_many_queue_waits_are_left(
    service: Loopback, run: RunDirectory, command: Command
) -> None:
    service.state.outcomes[0] = "hold"
    sent = hardware.submit(run, options(), yes=True)
    assert (sent.finished, sent.waits, len(service.jobs)) == (False, 1, 1)
    code, out, _ = command("fetch", run.path)
    assert (code, "denoising steps 0 to 2" in out, "1 queue wait left" in out) == (0, True, True)
    service.state.release()
    service.state.wait_until_idle()
    fetched = hardware.fetch(run)
    assert (fetched.finished, fetched.waits, len(service.jobs)) == (True, 0, 1)


def test_a_model_that_sees_the_image_waits_once_for_each_step(service: Loopback, make_run: MakeRun) -> None:
    run = make_run(qubits=2)
    left = []
    for _ in range(3):
        with service.state.paused():
            left.append(hardware.submit(run, options(images=1), yes=True).waits)
        service.state.wait_until_idle()
    assert (left, len(service.jobs)) == ([3, 2, 1], 3)


def test_a_process_that_dies_after_sending_resumes_to_the_same_images(
    service: Loopback, run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost(BaseException):
        """The process dies."""

    def die(*_: object, **__: object) -> None:
        raise Lost

    other = conditional_run(tmp_path / "other", qubits=2, **BLIND)
    hardware.infer(other, options(), yes=True)
    with monkeypatch.context() as patch:
        patch.setattr(JobLog, "append", die)
        with pytest.raises(Lost):
            hardware.infer(run, options(), yes=True)
    service.state.wait_until_idle()
    hardware.infer(run, options(), yes=True, resume=True)
    assert [job.executions for job in service.jobs] == [9 * 64] * 2
    assert np.array_equal(images(run), images(other))


def test_a_run_that_stops_between_its_steps_goes_on_with_the_stored_values(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        save = ReverseState.save

        def stop(self: ReverseState, path: Path, key: str) -> None:
            save(self, path, key)
            if self.step == 2:
                raise KeyboardInterrupt

        patch.setattr(ReverseState, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            hardware.infer(run, options(), yes=True)
    hardware.infer(run, options(), yes=True, resume=True)
    halted = images(run)
    hardware.infer(run, options(), yes=True)
    assert np.array_equal(images(run), halted)
    assert len(service.jobs) == 1


def test_a_job_is_split_at_the_limits_and_no_further(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hardware.plan(run, options())
    monkeypatch.setattr(limits, "MAX_PARAMETER_SETS_PER_JOB", 4)
    made = hardware.plan(run, options())
    assert (made.jobs, made.rounds, made.mode, made.executions) == (3, 1, "batch", whole.executions)
    service.state.outcomes[None] = "hold"
    with pytest.raises(JobPendingError):
        hardware.infer(run, options(), yes=True, wait_seconds=0.1)
    # All of them queue at the same time.
    assert len(service.jobs) == 3
    service.state.release()
    hardware.infer(run, options(), yes=True, resume=True)
    assert (len(service.jobs), service.state.executions) == (3, whole.executions)


def test_auto_takes_the_steps_that_one_job_has_room_for(run: RunDirectory) -> None:
    wanted = options(backend="fake_manila", steps=4, qpu_steps="auto", shots=4096)
    free = hardware.plan(run, wanted)
    per_step = (free.seconds - 2) / len(free.qpu_steps)
    assert len(free.qpu_steps) > 1
    tight = hardware.plan(run, wanted.model_copy(update={"budget_seconds": 2 + 1.5 * per_step}))
    assert (len(tight.qpu_steps), tight.jobs) == (1, 1)
    with pytest.raises(BudgetError, match="a single denoising step"):
        hardware.plan(run, wanted.model_copy(update={"budget_seconds": 2 + 0.5 * per_step}))


def test_steps_off_the_device_lie_between_those_of_one_job(run: RunDirectory) -> None:
    hardware.infer(run, options(backend="aer", steps=5, qpu_steps=[1, 3], shots=200_000))
    with np.load(run.hardware / "images.npz") as file:
        assert np.abs(file["images"].astype(int) - file["exact"]).mean() < 5
    rows = [row for row in read_jsonl(run.hardware / "jobs.jsonl") if row["event"] == "submitted"]
    assert [(row["steps"], row["samples"]) for row in rows] == [([1, 3], 6)]


def test_class_alone_needs_a_circuit_per_class_whatever_the_steps(tmp_path: Path) -> None:
    run = conditional_run(tmp_path / "run", qubits=2, sees=["class"])
    made = hardware.plan(run, options(backend="fake_manila", steps=6))
    assert (made.parameter_sets, made.jobs) == (3, 1)


def test_equal_angles_of_a_model_that_sees_the_image_are_sent_once(service: Loopback, make_run: MakeRun) -> None:
    run = make_run(qubits=2)
    checkpoint = load_checkpoint(run.path)
    with torch.no_grad():
        checkpoint.model.bottleneck.squeeze.weight.zero_()  # type: ignore[union-attr,operator]
    save_checkpoint(run, checkpoint.config, 2, checkpoint.model, checkpoint.model, {}, (1, 8, 8))
    hardware.infer(run, options(steps=2), yes=True)
    assert [job.executions for job in service.jobs] == [64, 64]


def test_levels_of_a_run_of_one_job_are_one_job_each(run: RunDirectory) -> None:
    hardware.infer(run, options(backend="fake_manila", images=4))
    found = compare_variants(run, ["0", "sampler"])
    assert [row["jobs"] for row in found["variants"]] == [0, 1, 1]


def test_a_plan_from_before_rounds_is_read_where_it_still_holds(run: RunDirectory, make_run: MakeRun) -> None:
    def aged(directory: RunDirectory) -> dict[str, Any]:
        hardware.plan(directory, options(backend="fake_manila", images=2))
        stored = read_json(directory.hardware / "plan.json")
        stored["jobs_per_step"] = stored.pop("jobs_per_round")
        for key in ("rounds", "parameter_sets", "step_by_step"):
            del stored[key]
        write_json(directory.hardware / "plan.json", stored)
        return dict(stored)

    seeing = make_run("seeing", qubits=2)
    old = Plan.from_dict(aged(seeing))
    assert (old.rounds, old.parameter_sets, old.sets_per_round) == (3, 6, 2)
    hardware.infer(seeing, options(backend="fake_manila", images=2), resume=True)
    aged(run)
    with pytest.raises(HardwareError, match="plan again"):
        hardware.infer(run, options(backend="fake_manila", images=2), resume=True)
