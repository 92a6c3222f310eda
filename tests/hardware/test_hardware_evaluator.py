"""Jobs that outlive the process: a local device whose jobs are kept aside stands for the service."""

from typing import Any

import numpy as np
import pytest

import hardware
from hardware import evaluator
from hardware.evaluator import DeviceEvaluator
from hardware.inference import status
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory, read_jsonl

OPTIONS = HardwareConfig(backend="fake_manila", images=2, steps=3, qpu_steps=[0, 2], shots=64)


class Lost(BaseException):
    """The process dies."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Jobs by id, with the tags they were sent with; found again like those of an account."""
    jobs: dict[str, Any] = {}
    tags: dict[str, list[str]] = {}
    genuine = evaluator.submit

    def submit(program: Any, angles: Any, options: Any, mode: Any) -> Any:
        job = genuine(program, angles, options, mode)
        jobs[job.job_id()] = job
        tags[job.job_id()] = list(options.environment.job_tags)
        return job

    def find(backend: Any, wanted: list[str]) -> Any | None:
        return next((jobs[key] for key, carried in tags.items() if set(wanted) <= set(carried)), None)

    monkeypatch.setattr(evaluator, "is_local", lambda backend: False)
    monkeypatch.setattr(evaluator, "submit", submit)
    monkeypatch.setattr(evaluator, "retrieve_job", lambda backend, job_id: jobs[job_id])
    monkeypatch.setattr(evaluator, "find_job", find)
    return jobs


def events(run: RunDirectory) -> list[str]:
    return [row["event"] for row in read_jsonl(run.hardware / "jobs.jsonl")]


def die(*args: Any, **fields: Any) -> Any:
    raise Lost


def test_a_job_that_was_sent_is_found_by_its_line(
    run: RunDirectory, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "find_job", lambda backend, tags: None)
    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "collect", die)
        with pytest.raises(Lost):
            hardware.infer(run, OPTIONS)
    assert events(run) == ["submitted"]
    hardware.infer(run, OPTIONS, resume=True)
    assert len(service) == 2
    assert events(run) == ["submitted", "done", "submitted", "done"]


def test_a_job_whose_line_was_lost_is_found_by_its_tags(
    run: RunDirectory, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(DeviceEvaluator, "_record_sent", die)
        with pytest.raises(Lost):
            hardware.infer(run, OPTIONS)
    assert (len(service), events(run)) == (1, [])
    hardware.infer(run, OPTIONS, resume=True)
    assert len(service) == 2
    assert events(run) == ["submitted", "done", "submitted", "done"]


def test_angles_that_were_sent_are_not_computed_again(
    run: RunDirectory, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine's last digits would make another job of the same step."""
    from hardware.reverse import ReverseProcess

    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "collect", die)
        with pytest.raises(Lost):
            hardware.infer(run, OPTIONS)
    genuine = ReverseProcess.angles
    monkeypatch.setattr(ReverseProcess, "angles", lambda self, x, t: genuine(self, x, t) + 1e-7)
    hardware.infer(run, OPTIONS, resume=True)
    assert len(service) == 2


def test_submit_does_not_wait_and_fetch_takes_what_is_done(
    run: RunDirectory, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "job_status", lambda job: "QUEUED")
        first = hardware.submit(run, OPTIONS)
        assert (first.step, first.finished, len(service)) == (0, False, 1)
        assert "queued" in first.message
        assert (hardware.fetch(run).step, hardware.submit(run, OPTIONS).step, len(service)) == (0, 0, 1)
    assert hardware.fetch(run).step == 2
    assert events(run) == ["submitted", "done"]
    assert [job["state"] for job in status(run)["jobs"]] == ["done"]


def test_a_real_device_needs_a_yes(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    from hardware import workload
    from hardware.errors import HardwareError

    monkeypatch.setattr(workload, "is_local", lambda backend: False)
    for send in (hardware.infer, hardware.submit):
        with pytest.raises(HardwareError, match=r"`fake_manila` is a real device: add --yes to send 2 jobs"):
            send(run, OPTIONS)
    assert not run.hardware.exists()


def test_a_batch_is_closed_however_the_run_ends(
    run: RunDirectory, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardware import execution

    opened: list[Any] = []

    class Recorded(execution.Batch):
        def __init__(self, backend: Any) -> None:
            super().__init__(backend=backend)
            opened.append(self)

    monkeypatch.setattr(execution, "is_local", lambda backend: False)
    monkeypatch.setattr(execution, "Batch", Recorded)
    monkeypatch.setattr(evaluator, "collect", die)
    with pytest.raises(Lost):
        hardware.infer(run, OPTIONS.model_copy(update={"mode": "batch"}))
    assert len(opened) == 1
    assert not opened[0]._active
    assert np.all([job.done() or job.result() for job in service.values()])
