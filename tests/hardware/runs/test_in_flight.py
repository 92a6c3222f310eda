"""A run in flight is not replanned by the way: no job is forgotten and paid."""

import numpy as np
import pytest
from hardware_runs import Command, MakeRun
from loopback import Loopback

import hardware
from hardware.comparison import expectation_values as compare
from hardware.errors import HardwareError
from hardware.inference import workload
from hardware.jobs.job_log import JobLog
from hardware.runs.flight import flight_of
from qhybrid.config import HardwareConfig
from qhybrid.files import read_jsonl
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=2, qpu_steps="all", shots=16, pack=1)
OTHER = OPTIONS.model_copy(update={"shots": 32})


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn in other tests."""
    monkeypatch.setattr(workload, "draw_layout", lambda *arguments: None)
    monkeypatch.setattr(compare, "draw_comparison", lambda *arguments: None)


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run(qubits=2)


def state(run: RunDirectory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.hardware.iterdir() if path.is_file()}


@pytest.mark.parametrize("outcome", ["hold", None])
def test_other_options_neither_forget_nor_pay_a_job_in_flight(
    outcome: str | None, service: Loopback, run: RunDirectory
) -> None:
    service.state.outcomes[0] = outcome  # type: ignore[assignment]
    hardware.submit(run, OPTIONS, yes=True)
    before = state(run)
    lines: list[str] = []
    assert hardware.plan(run, OTHER, echo=lines.append).shots == 32
    assert "shown only" in lines[0]
    for send in (hardware.infer, hardware.submit):
        with pytest.raises(HardwareError, match="other options"):
            send(run, OTHER, yes=True)
    assert state(run) == before
    service.state.release()
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert (len(service.jobs), service.state.executions) == (2, 2 * 16)


def test_the_refusal_names_jobs_seconds_and_the_ways_on(service: Loopback, run: RunDirectory, command: Command) -> None:
    service.state.outcomes[0] = "hold"
    hardware.submit(run, OPTIONS, yes=True)
    # What the step before has said on stderr is no part of the refusal.
    command("status", run.path)
    code, _, err = command("infer", run.path, "--backend", "ibm_manila", "--images", "3", "--yes")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "in flight on `ibm_manila` (1 jobs sent, 2.0 s): go on with `infer --resume`, or drop it by --discard" in err
    assert len(service.jobs) == 1


@pytest.mark.parametrize("send", [hardware.infer, hardware.submit])
def test_discard_cancels_what_is_queued_and_says_what_was_paid(
    send: object, service: Loopback, run: RunDirectory
) -> None:
    with service.state.paused():
        hardware.submit(run, OPTIONS, yes=True)
    service.state.wait_until_idle()
    service.state.outcomes[1] = "hold"
    hardware.submit(run, OPTIONS, yes=True)
    lines: list[str] = []
    send(run, OTHER, yes=True, discard=True, echo=lines.append)  # type: ignore[operator]
    assert "discarded the run in flight: 1 jobs cancelled, 2.0 s were paid for it" in lines
    assert [job.status for job in service.jobs][:2] == ["Completed", "Cancelled"]
    hardware.infer(run, OTHER, yes=True, resume=True)
    assert service.state.executions == 16 + 2 * 32


def test_a_finished_run_makes_room_for_another(service: Loopback, run: RunDirectory) -> None:
    hardware.infer(run, OPTIONS, yes=True)
    before = state(run)
    hardware.plan(run, OTHER)
    assert state(run) == before
    hardware.submit(run, OTHER, yes=True)
    hardware.infer(run, OTHER, yes=True, resume=True)
    assert len(service.jobs) == 4


def test_the_same_options_without_resume_take_up_the_jobs_in_flight(service: Loopback, run: RunDirectory) -> None:
    service.state.outcomes[0] = "hold"
    hardware.submit(run, OPTIONS, yes=True)
    with np.load(run.hardware / "state.npz") as stored:
        angles = stored["angles"]
    service.state.release()
    hardware.infer(run, OPTIONS, yes=True)
    assert len(service.jobs) == 2
    rows = read_jsonl(run.hardware / "jobs.jsonl")
    with np.load(run.hardware / "results" / rows[0]["file"]) as result:
        np.testing.assert_array_equal(result["angles"], angles)


def test_a_variants_queued_job_is_not_forgotten_either(run: RunDirectory) -> None:
    place = {"content": "c", "plan": "variant-plan", "step": 0, "part": 0, "backend": "ibm_manila", "seconds": 2.0}
    log = JobLog(run.hardware / "variants" / "run-plan" / "level-1-pack-1" / "jobs.jsonl")
    log.append("submitted", job="j1", local=False, **place)
    flight = flight_of(run)
    # It belongs to the run's plan, and goes on with it; another plan would leave it behind.
    assert (flight.would_forget("run-plan"), flight.would_forget("other-plan")) == (False, True)
    with pytest.raises(HardwareError, match=r"on `ibm_manila` \(1 jobs sent, 2\.0 s\)"):
        flight.refuse()
    log.append("done", job="j1", file="f.npz", **{key: place[key] for key in ("content", "plan", "step", "part")})
    assert not flight_of(run).would_forget("other-plan")


def test_a_repeated_run_says_that_it_takes_what_is_stored(service: Loopback, run: RunDirectory) -> None:
    lines: list[str] = []
    first = hardware.infer(run, OPTIONS, yes=True, echo=lines.append)
    assert not any("taken again" in line for line in lines)
    spent = service.state.consumed_seconds
    (time,) = [line for line in lines if line.startswith("device time: ")]
    assert time.endswith(f" s planned, {spent:.1f} s charged")
    sent, paid = len(service.jobs), service.state.consumed_seconds
    again = hardware.infer(run, OPTIONS, yes=True, echo=lines.append)
    (line,) = [line for line in lines if "taken again" in line]
    count = f"{sent} job{'' if sent == 1 else 's'}"
    assert line == f"the results of {count} ({paid:.1f} s charged then) are stored and taken again: nothing is sent"
    assert (len(service.jobs), again["device_against_exact"]) == (sent, first["device_against_exact"])
