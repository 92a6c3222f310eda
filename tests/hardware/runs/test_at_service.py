"""A run's jobs at the service, listed, waited for and cancelled, and its sessions, closed: the account is enough."""

import json
import os
import re
import signal

import pytest
from hardware_runs import Command, MakeRun
from loopback import Loopback

import hardware
from hardware.comparison import expectation_values as compare
from hardware.errors import HardwareError, JobPendingError
from hardware.inference import workload
from hardware.jobs import left_open, service_jobs
from hardware.jobs.job_log import JobLog
from hardware.runs import at_service
from hardware.service import limits
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=2, qpu_steps="all", shots=16, pack=1)
SESSION = OPTIONS.model_copy(update={"mode": "session"})


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "draw_layout", lambda *arguments: None)
    monkeypatch.setattr(compare, "draw_comparison", lambda *arguments: None)
    monkeypatch.setattr(at_service, "LOOK_PAUSE", 0.05)
    monkeypatch.setattr(left_open, "CLOSE_PAUSE", 0.0)
    monkeypatch.setattr(service_jobs, "LOOK_SECONDS", 0.1)


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run(qubits=2)


def retire(service: Loopback) -> None:
    """The device is no longer there; what was sent to it is."""
    del service.state.devices["ibm_manila"]


def first_done_second_queued(service: Loopback, run: RunDirectory) -> None:
    service.state.outcomes[1] = "hold"
    with service.state.paused():
        hardware.submit(run, OPTIONS, yes=True)
    service.state.wait_until_idle()
    hardware.fetch(run)
    hardware.submit(run, OPTIONS, yes=True)


def test_jobs_are_listed_with_state_date_and_price(service: Loopback, run: RunDirectory, command: Command) -> None:
    first_done_second_queued(service, run)
    retire(service)
    code, out, _ = command("jobs", run.path, "--json")
    found = json.loads(out)
    assert (code, [job["job"][-1] for job in found]) == (0, ["0", "1"])
    assert [(job["state"], job["charged"]) for job in found] == [("done", 2.0), ("queued", None)]
    assert all(job["seconds"] > 2 and re.match(r"\d{4}-\d\d-\d\dT", job["sent"]) for job in found)
    code, out, _ = command("jobs", run.path)
    assert (code, "queued" in out) == (0, True), out
    assert re.search(r"planned 4\.\d s; charged 2\.0 s for 1 of 2 jobs", out)


def test_jobs_are_listed_from_what_was_written_down_while_the_service_is_away(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_done_second_queued(service, run)
    service.fail("GET", "/jobs/.*", status=401, times=99)
    done, sent = hardware.list_jobs(run)
    assert (done["state"], done["charged"], done["note"]) == ("done", 2.0, None)
    assert (sent["state"], "401" in sent["note"]) == ("sent", True)


def test_cancelled_work_is_sent_anew_and_done_work_is_kept(
    service: Loopback, run: RunDirectory, command: Command
) -> None:
    with service.state.paused():
        hardware.submit(run, OPTIONS, yes=True)
    service.state.wait_until_idle()
    assert hardware.cancel(run).late == ("j" + "0" * 19,)
    hardware.fetch(run)
    service.state.outcomes[1] = "hold"
    hardware.submit(run, OPTIONS, yes=True)
    code, out, _ = command("cancel", run.path)
    assert (code, "1 job cancelled; `infer --resume --yes` sends the cancelled work anew" in out) == (0, True)
    assert [job.status for job in service.jobs] == ["Completed", "Cancelled"]
    assert "0 jobs cancelled" in command("cancel", run.path)[1]
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert (len(service.jobs), service.state.executions) == (3, 2 * 16)


def test_a_job_that_could_not_be_cancelled_is_not_called_cancelled(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardware.runs.flight.CANCEL_PAUSE", 0.0)
    service.state.outcomes[0] = "hold"
    hardware.submit(run, OPTIONS, yes=True)
    service.fail("POST", "/jobs/.*/cancel", status=500, times=99)
    with pytest.raises(HardwareError, match=r"job j0+ is queued and could not be cancelled"):
        hardware.cancel(run)
    service.faults.clear()
    service.state.release()
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert len(service.jobs) == 2


def test_wait_ends_when_all_jobs_have_and_says_how_far_they_are(
    service: Loopback, run: RunDirectory, command: Command
) -> None:
    first_done_second_queued(service, run)
    retire(service)
    looks: list[str] = []

    def cancel_at_the_second_look(when: str, method: str, path: str) -> None:
        looks.append(path)
        if len(looks) == 6:
            service.state.cancel(service.jobs[1])

    service.watch = lambda *what: cancel_at_the_second_look(*what) if what[2].startswith("/jobs/j") else None
    code, out, _ = command("wait", run.path)
    assert code == 0
    assert "0 of 1 job ended; j" + "0" * 18 + "1 is queued, waited" in out
    assert "1 of 1 job ended (1 without a result), waited" in out


def test_wait_gives_up_in_time_and_ctrl_c_leaves_the_jobs_alone(
    service: Loopback, run: RunDirectory, command: Command
) -> None:
    first_done_second_queued(service, run)
    with pytest.raises(JobPendingError, match=r"is queued after 0\.1 s; jobs that were sent go on"):
        hardware.wait(run, seconds=0.1)
    service.watch = lambda when, method, path: (
        os.kill(os.getpid(), signal.SIGINT) if (when, path[-2:]) == ("after", "01") else None
    )
    code, _, err = command("wait", run.path)
    assert (code, "jobs that were sent go on at the service" in err) == (130, True)
    assert service.jobs[1].status == "Queued"


def test_close_closes_what_a_failed_closing_left_open(
    paid_service: Loopback, run: RunDirectory, command: Command
) -> None:
    paid_service.fail("PATCH", "/sessions/.*", status=403, times=3)
    lines: list[str] = []
    hardware.infer(run, SESSION, yes=True, echo=lines.append)
    assert any("may go on to be billed" in line and "hardware close RUN" in line for line in lines)
    (session,) = paid_service.state.sessions.values()
    assert session.accepting
    retire(paid_service)
    code, out, _ = command("close", run.path)
    assert (code, f"session {session.id} is closed" in out, session.closed_by) == (0, True, "client")
    assert "nothing that this run has opened is known to be open" in command("close", run.path)[1]
    assert paid_service.count("PATCH", "/sessions/.*") == 4


def test_a_session_that_cannot_be_closed_is_said_with_code_2(
    paid_service: Loopback, run: RunDirectory, command: Command
) -> None:
    fault = paid_service.fail("PATCH", "/sessions/.*", status=403, times=99)
    hardware.infer(run, SESSION, yes=True)
    # What was said on stderr meanwhile is no part of the refusal.
    command("jobs", run.path)
    code, out, err = command("close", run.path)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert "could not be closed" in err
    assert "https://quantum.cloud.ibm.com/workloads" in err
    # The next command that looks at the run closes it.
    fault.times = 0
    hardware.fetch(run)
    assert [session.closed_by for session in paid_service.state.sessions.values()] == ["client"]


@pytest.mark.parametrize("status", [503, None])
def test_a_session_whose_opening_was_not_answered_is_told(
    status: int | None, paid_service: Loopback, run: RunDirectory, command: Command
) -> None:
    paid_service.fail("POST", "/sessions", status=status, carried_out=True)
    lines: list[str] = []
    hardware.infer(run, SESSION, yes=True, echo=lines.append)
    assert any("the answer to a request for a session was lost" in line for line in lines)
    assert [session.accepting for session in paid_service.state.sessions.values()] == [True, False]
    code, out, _ = command("close", run.path)
    assert (code, "a session on `ibm_manila` was asked for at" in out, "the answer was lost" in out) == (0, True, True)
    log = JobLog(run.hardware / "jobs.jsonl")
    assert len(left_open.may_be_open(log, log.rows()[0]["clock"] + 60)) == 1
    assert left_open.may_be_open(log, log.rows()[0]["clock"] + limits.LONGEST_SESSION_SECONDS) == []


def test_a_run_on_a_local_copy_has_nothing_at_a_service(run: RunDirectory, command: Command) -> None:
    hardware.infer(run, OPTIONS.model_copy(update={"backend": "fake_manila"}))
    code, out, _ = command("jobs", run.path, "--json")
    assert (code, {job["state"] for job in json.loads(out)}) == (0, {"done"})
    assert "no job of this run is open" in command("wait", run.path)[1]
    assert "0 jobs cancelled" in command("cancel", run.path)[1]
    assert "nothing that this run has opened" in command("close", run.path)[1]
