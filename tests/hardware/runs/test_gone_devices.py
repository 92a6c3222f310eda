"""Results of jobs that were paid for are fetched though the device is gone, changed or away; new jobs are not sent."""

import re

import numpy as np
import pytest
from hardware_runs import Command, MakeRun
from loopback import Loopback

import hardware
from hardware.comparison import expectation_values as compare
from hardware.errors import BackendError, HardwareError
from hardware.inference import workload
from hardware.jobs import service_jobs
from hardware.runs.status import status
from hardware.service.backends import describe_backend, ibm_backends
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=2, qpu_steps="all", shots=16, pack=1)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "draw_layout", lambda *arguments: None)
    monkeypatch.setattr(compare, "draw_comparison", lambda *arguments: None)
    monkeypatch.setattr(service_jobs, "LOOK_SECONDS", 0.1)


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run(qubits=2)


def retire(service: Loopback) -> None:
    del service.state.devices["ibm_manila"]


def lose_couplings(service: Loopback) -> None:
    service.state.lose_couplings("ibm_manila")


def go_into_maintenance(service: Loopback) -> None:
    service.state.devices["ibm_manila"].operational = False
    service.state.devices["ibm_manila"].status = "maintenance"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (retire, "the account does not offer it"),
        (lose_couplings, "not an ISA circuit of `ibm_manila`"),
        (go_into_maintenance, r"takes no jobs at present \(its state is `maintenance`\)"),
    ],
)
def test_finished_results_are_fetched_and_nothing_new_is_sent(
    change: object, words: str, service: Loopback, run: RunDirectory, command: Command
) -> None:
    with service.state.paused():
        hardware.submit(run, OPTIONS, yes=True)
    service.state.wait_until_idle()
    change(service)  # type: ignore[operator]
    assert [job["state"] for job in status(run)["jobs"]] == ["done"]
    assert hardware.fetch(run).step == 1
    command("status", run.path)
    code, _, err = command("submit", run.path, "--yes")
    assert (code, len(service.jobs)) == (2, 1)
    assert re.search(words, err)
    assert "nothing was sent" in err


def test_the_last_result_of_a_run_gives_its_images_without_the_device(
    service: Loopback, make_run: MakeRun, run: RunDirectory
) -> None:
    there = make_run("there", qubits=2)
    hardware.infer(there, OPTIONS, yes=True)
    with service.state.paused():
        hardware.submit(run, OPTIONS, yes=True)
    service.state.wait_until_idle()
    hardware.fetch(run)
    with service.state.paused():
        hardware.submit(run, OPTIONS, yes=True)
    service.state.wait_until_idle()
    service.watch = lambda when, method, path: (
        service.expire_tokens() if (when, path[-3:]) == ("before", "002") and not expired.append(path) else None
    )
    expired: list[str] = []
    retire(service)
    jobs = len(service.jobs)
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert len(service.jobs) == jobs
    with np.load(run.hardware / "images.npz") as here, np.load(there.hardware / "images.npz") as other:
        np.testing.assert_array_equal(here["images"], other["images"])


def test_a_device_that_takes_jobs_and_does_not_run_them_is_told_before_they_are_sent(
    service: Loopback, run: RunDirectory
) -> None:
    service.state.devices["ibm_manila"].status = "paused"
    lines: list[str] = []
    hardware.submit(run, OPTIONS, yes=True, echo=lines.append)
    assert "the state of `ibm_manila` is `paused`: jobs wait in its queue until it is active" in lines
    assert len(service.jobs) == 1
    rows = [describe_backend(backend.name, backend) for backend in ibm_backends()]
    assert [(row.queue, row.status) for row in rows if row.name == "ibm_manila"] == [(3, "paused")]


def test_a_run_that_was_never_planned_has_no_device_to_fall_back_on(service: Loopback, run: RunDirectory) -> None:
    retire(service)
    with pytest.raises(BackendError, match="the account does not offer it"):
        hardware.submit(run, OPTIONS, yes=True)
    hardware.infer(run, OPTIONS.model_copy(update={"backend": "fake_manila"}))
    with pytest.raises(HardwareError, match="does not offer it"):
        hardware.infer(run, OPTIONS, yes=True)
