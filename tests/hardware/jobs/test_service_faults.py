"""What goes wrong at a service, each by the unmodified client: nothing lost, nothing paid twice, a clear line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hardware_runs import Command, MakeRun, tiny_config, write_checkpoint
from loopback import Loopback
from loopback.running import run_executor
from loopback.server import API_KEY

import hardware
from hardware.comparison import expectation_values as compare
from hardware.errors import BackendError, BudgetError, HardwareError, JobError, JobPendingError, ResultError
from hardware.inference import workload
from hardware.jobs import left_open, runner
from hardware.jobs import service_jobs as dispatch
from hardware.jobs.budget import RunBudget
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json, read_jsonl
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=2, qpu_steps="all", shots=16)
ARGUMENTS = ("--backend", "ibm_manila", "--images", "1", "--steps", "2", "--qpu-steps", "all", "--shots", "16", "--yes")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses give a service time to recover, which this one does not need; pictures are drawn in other tests."""
    monkeypatch.setattr(dispatch, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(dispatch, "LOOK_PAUSE", 0.02)
    monkeypatch.setattr(dispatch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(runner, "DOWNLOAD_PAUSE", 0.0)
    monkeypatch.setattr(workload, "draw_layout", lambda *arguments: None)
    monkeypatch.setattr(compare, "draw_comparison", lambda *arguments: None)


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run(qubits=2)


@pytest.fixture(scope="module")
def undisturbed_images(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The images of the same run when nothing goes wrong: results at the service depend on the job's content alone."""
    config = tiny_config(qubits=2)
    run = RunDirectory.create(tmp_path_factory.mktemp("undisturbed") / "run", config)
    write_checkpoint(run, config, 0)
    with pytest.MonkeyPatch.context() as patch, Loopback() as service:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        hardware.infer(run, OPTIONS, yes=True)
    return images(run)


def images(run: RunDirectory) -> np.ndarray:
    with np.load(run.hardware / "images.npz") as file:
        return file["images"]


def events(run: RunDirectory) -> list[str]:
    return [row["event"] for row in read_jsonl(run.hardware / "jobs.jsonl")]


def infer(run: RunDirectory, *, resume: bool = False, **changed: object) -> list[str]:
    lines: list[str] = []
    wait, partial = changed.pop("wait_seconds", None), bool(changed.pop("partial", False))
    hardware.infer(
        run,
        OPTIONS.model_copy(update=changed),
        yes=True,
        resume=resume,
        partial=partial,
        wait_seconds=wait,
        echo=lines.append,
    )
    return lines


def paid_once(service: Loopback, run: RunDirectory) -> bool:
    """Each job of the plan was executed exactly once."""
    ran = [job.content for job in service.jobs if job.executions]
    plan = read_json(run.hardware / "plan.json")
    return len(set(ran)) == len(ran) == plan["jobs"] and service.state.executions == plan["executions"]


@pytest.mark.parametrize("carried_out", [True, False], ids=["the job exists", "the job does not exist"])
def test_a_connection_cut_while_submitting(
    carried_out: bool, service: Loopback, run: RunDirectory, undisturbed_images: np.ndarray
) -> None:
    service.fail("POST", "/jobs", carried_out=carried_out)
    lines = infer(run)
    assert paid_once(service, run)
    assert len(service.jobs) == 2
    assert any("looking whether it exists" in line for line in lines)
    np.testing.assert_array_equal(images(run), undisturbed_images)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("method", "path"), [("POST", "/jobs"), ("GET", "/jobs/[^/]+"), ("GET", "/jobs")])
def test_a_busy_service_is_asked_again_after_the_time_that_it_names(
    status: int, method: str, path: str, service: Loopback, run: RunDirectory
) -> None:
    service.fail(method, path, status=status, headers={"Retry-After": "1"})
    begin = time.monotonic()
    infer(run)
    assert time.monotonic() - begin > 1
    assert service.faults[0].times == 0
    assert (len(service.jobs), paid_once(service, run)) == (2, True)


def test_a_service_that_stays_away_is_said_and_nothing_is_lost(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "OUTAGE_SECONDS", 0.0)
    fault = service.fail("POST", "/jobs", status=429, times=100, skip=1)
    with pytest.raises(JobError, match=r"no job could be sent in 5 attempts \(.*429.*, and none exists; .*--resume"):
        infer(run)
    assert events(run) == ["submitted", "done"]
    fault.times = 0
    infer(run, resume=True)
    assert (len(service.jobs), paid_once(service, run)) == (2, True)


@pytest.mark.parametrize("status", [500, 504, None])
@pytest.mark.parametrize("mode", ["job", "batch", "session"])
def test_an_answer_that_is_lost_after_the_job_was_made_leaves_one_job_though_the_search_lags(
    mode: str,
    status: int | None,
    paid_service: Loopback,
    run: RunDirectory,
    undisturbed_images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "LOOK_SECONDS", 2.0)
    paid_service.state.search_lag = 0.3
    paid_service.fail("POST", "/jobs", status=status, carried_out=True)
    infer(run, mode=mode)
    assert (len(paid_service.jobs), paid_once(paid_service, run)) == (2, True)
    assert paid_service.count("POST", "/jobs") == 2
    np.testing.assert_array_equal(images(run), undisturbed_images)


@pytest.mark.parametrize("late", [True, False], ids=["too late to cancel", "still queued"])
@pytest.mark.parametrize("mode", ["job", "batch", "session"])
def test_a_twin_is_written_down_with_what_it_was_charged(
    mode: str, late: bool, paid_service: Loopback, run: RunDirectory, undisturbed_images: np.ndarray
) -> None:
    """Whoever makes it: a proxy on the way, or an earlier process; the search shows it only after a while."""
    state = paid_service.state
    state.search_lag = 0.05

    def double(when: str, method: str, path: str) -> None:
        if (when, method, path) != ("after", "POST", "/jobs") or len(state.jobs) != 1:
            return
        (job,) = state.jobs.values()
        state.outcomes[1] = "hold"
        again = {"backend": job.backend, "params": job.params, "tags": job.tags, "session_id": job.session}
        twin = state.submit(again)
        if late:
            state.release()
            state.wait_until_idle()
        assert twin.number == 1

    paid_service.watch = double
    lines = infer(run, mode=mode)
    rows = read_jsonl(run.hardware / "jobs.jsonl")
    (twin,) = [row for row in rows if row["event"] == "twin"]
    assert (twin["job"], twin["cancelled"], twin["charged"]) == ("j" + "0" * 18 + "1", not late, 2.0 if late else 0.0)
    assert any("too late to cancel it, and it is paid for" in line for line in lines) == late
    charged = sum(row["charged"] for row in rows if row["event"] in ("twin", "done"))
    assert charged == state.consumed_seconds == (6.0 if late else 4.0)
    np.testing.assert_array_equal(images(run), undisturbed_images)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("failed", "has failed.*9999.*lost its cooling"), ("cancelled", "was cancelled")],
)
def test_a_job_that_fails_or_is_cancelled_by_the_user_stops_the_run(
    outcome: str, words: str, service: Loopback, run: RunDirectory, undisturbed_images: np.ndarray
) -> None:
    service.state.outcomes[1] = outcome
    with pytest.raises(JobError, match=rf"job j0+1 of denoising step 1 {words}.*--resume"):
        infer(run)
    assert events(run) == ["submitted", "done", "submitted", "failed"]
    infer(run, resume=True)
    assert (len(service.jobs), paid_once(service, run)) == (3, True)
    np.testing.assert_array_equal(images(run), undisturbed_images)


def test_a_job_that_failed_before_its_line_was_written_is_sent_anew(service: Loopback, run: RunDirectory) -> None:
    """A search by tags finds the failed one as well."""
    service.state.outcomes[0] = "failed"
    with pytest.raises(JobError, match="has failed"):
        infer(run)
    (run.hardware / "jobs.jsonl").unlink()
    with pytest.raises(JobError, match="has failed"):
        infer(run, resume=True)
    infer(run, resume=True)
    assert paid_once(service, run)


def test_a_job_that_stays_queued_past_the_deadline(service: Loopback, run: RunDirectory) -> None:
    service.state.outcomes[0] = "hold"
    with pytest.raises(JobPendingError, match=r"denoising step 0: job j0+0 is queued after 0\.3 s: nothing is lost"):
        infer(run, wait_seconds=0.3)
    assert hardware.fetch(run).step == 0
    service.state.release()
    infer(run, resume=True)
    assert (len(service.jobs), paid_once(service, run)) == (2, True)


@pytest.mark.parametrize("outcome", ["truncated", "empty", "null", "text", "half"])
def test_a_result_that_is_wrong_is_fetched_again_before_the_job_is_given_up(
    outcome: str, service: Loopback, run: RunDirectory
) -> None:
    service.state.outcomes[0] = outcome
    with pytest.raises(ResultError, match=r"job j0+0: .*--resume fetches it once more"):
        infer(run)
    assert service.count("GET", "/jobs/j0+/results") == 3
    assert events(run) == ["submitted", "refused"]
    lines = infer(run, resume=True)
    assert any("given up and sent anew" in line for line in lines)
    assert [row["job"][-1] for row in read_jsonl(run.hardware / "jobs.jsonl") if row["event"] == "done"] == ["1", "2"]
    assert len(service.jobs) == 3


@pytest.mark.parametrize("mode", ["job", "batch", "session"])
def test_after_two_new_jobs_with_wrong_results_none_is_sent_any_more(
    mode: str, paid_service: Loopback, run: RunDirectory, undisturbed_images: np.ndarray
) -> None:
    state = paid_service.state
    state.outcomes[None] = "half"
    with pytest.raises(ResultError):
        infer(run, mode=mode)
    for _ in range(5):
        with pytest.raises(ResultError) as caught:
            infer(run, mode=mode, resume=True)
    ids = [job.id for job in paid_service.jobs]
    assert len(ids) == 3
    words = f"was sent 3 times and no result was right (jobs {', '.join(ids)}): no other job is sent"
    assert words in str(caught.value)
    with pytest.raises(ResultError, match="no other job is sent"):
        hardware.fetch(run)
    assert RunBudget(run).spent() >= state.consumed_seconds == 6.0
    # A service that mends the result of the last job is believed, and the run goes on.
    state.outcomes.clear()
    last = paid_service.jobs[-1]
    last.result, _ = run_executor(last.params, state.devices[last.backend].copy, last.content)
    infer(run, mode=mode, resume=True)
    assert len(paid_service.jobs) == 4
    np.testing.assert_array_equal(images(run), undisturbed_images)


def test_a_download_that_breaks_off_costs_nothing(
    service: Loopback, run: RunDirectory, undisturbed_images: np.ndarray
) -> None:
    """The result is whole at the service; only its way here is cut."""
    service.fail("GET", "/jobs/j0+/results", status=200, body='{"schema_version": "v2.0", "data": [', times=2)
    infer(run)
    assert paid_once(service, run)
    np.testing.assert_array_equal(images(run), undisturbed_images)


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_session_that_the_service_closes_in_the_middle(
    mode: str, paid_service: Loopback, run: RunDirectory, undisturbed_images: np.ndarray
) -> None:
    """Between two jobs, so that the next is refused."""

    def close(when: str, method: str, path: str) -> None:
        if when == "after" and re.fullmatch("/jobs/j0+/results", path):
            state.close_session(state.sessions["s" + "0" * 19], by="service")

    state = paid_service.state
    paid_service.watch = close
    lines = infer(run, mode=mode)
    assert (len(state.sessions), paid_once(paid_service, run)) == (2, True)
    assert [session.closed_by for session in state.sessions.values()] == ["service", "client"]
    assert any(f"the service has closed {mode} s000" in line for line in lines)
    np.testing.assert_array_equal(images(run), undisturbed_images)


def test_a_session_that_the_service_closes_with_a_job_in_its_queue(paid_service: Loopback, run: RunDirectory) -> None:
    state = paid_service.state
    state.outcomes[1] = "hold"

    def close(when: str, method: str, path: str) -> None:
        if when == "before" and path.startswith("/jobs/j") and len(state.jobs) == 2 and len(state.sessions) == 1:
            state.close_session(state.sessions["s" + "0" * 19], by="service")

    paid_service.watch = close
    infer(run, mode="session")
    assert [job.status for job in paid_service.jobs] == ["Completed", "Cancelled", "Completed"]
    assert paid_once(paid_service, run)
    assert all(not session.accepting for session in state.sessions.values())


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_service_that_closes_every_session_stops_the_run(
    mode: str, paid_service: Loopback, run: RunDirectory
) -> None:
    state = paid_service.state
    state.outcomes[None] = "hold"

    def close(when: str, method: str, path: str) -> None:
        if when == "before" and path.startswith("/jobs/j"):
            state.close_session(list(state.sessions.values())[-1], by="service")

    paid_service.watch = close
    with pytest.raises(JobError, match=r"job j0+2 of denoising step 0 was cancelled; .*--resume"):
        infer(run, mode=mode)
    assert [job.status for job in paid_service.jobs] == ["Cancelled"] * 3
    assert len(state.sessions) == 3
    paid_service.watch = None
    state.release()
    infer(run, mode=mode, resume=True)
    assert paid_once(paid_service, run)


@pytest.mark.parametrize(
    ("mode", "moment"),
    [
        ("job", "POST /jobs"),
        ("job", "GET /jobs/[^/]+"),
        ("job", "GET /jobs"),
        ("session", "POST /jobs"),
        ("session", "GET /jobs/[^/]+/results"),
    ],
)
def test_an_expired_token_is_replaced(mode: str, moment: str, paid_service: Loopback, run: RunDirectory) -> None:
    method, path = moment.split()
    expired: list[str] = []

    def expire(when: str, seen: str, where: str) -> None:
        if when == "after" and seen == method and re.fullmatch(path, where) and len(expired) < 2:
            expired.append(where)
            paid_service.expire_tokens()

    paid_service.watch = expire
    infer(run, mode=mode)
    assert len(expired) == 2
    assert (len(paid_service.jobs), paid_once(paid_service, run)) == (2, True)
    assert all(session.closed_by == "client" for session in paid_service.state.sessions.values())


def test_a_token_that_expires_between_the_end_of_a_job_and_its_download_is_replaced(
    service: Loopback, run: RunDirectory
) -> None:
    expired: list[str] = []

    def expire(when: str, method: str, path: str) -> None:
        if when == "before" and re.fullmatch("/jobs/j0+/results", path) and not expired:
            expired.append(path)
            service.expire_tokens()

    service.watch = expire
    infer(run)
    assert (len(expired), len(service.jobs), paid_once(service, run)) == (1, 2, True)
    assert events(run) == ["submitted", "done"] * 2


def test_a_calibration_between_two_jobs_is_told_and_the_circuit_stays(
    service: Loopback, run: RunDirectory, undisturbed_images: np.ndarray
) -> None:
    service.watch = lambda when, method, path: (
        service.state.calibrate("ibm_manila", 3.0)
        if when == "after" and path.endswith("/results") and len(service.jobs) == 1
        else None
    )
    lines = infer(run)
    assert sum("was calibrated anew" in line for line in lines) == 1
    assert paid_once(service, run)
    dates = {row["calibrated"] for row in read_jsonl(run.hardware / "jobs.jsonl") if row["event"] == "submitted"}
    assert len(dates) == 2
    np.testing.assert_array_equal(images(run), undisturbed_images)


def test_a_job_sent_before_a_calibration_is_found_after_it(service: Loopback, run: RunDirectory) -> None:
    service.state.outcomes[0] = "hold"
    with pytest.raises(JobPendingError):
        infer(run, wait_seconds=0.1)
    service.state.calibrate("ibm_manila", 3.0)
    service.state.release()
    infer(run, resume=True)
    assert (len(service.jobs), paid_once(service, run)) == (2, True)


def test_a_device_that_lost_a_coupling_no_longer_executes_the_circuit(service: Loopback, run: RunDirectory) -> None:
    def lose(when: str, method: str, path: str) -> None:
        if when == "after" and path.endswith("/results"):
            service.state.lose_couplings("ibm_manila")

    service.watch = lose
    with pytest.raises(HardwareError, match="not an ISA circuit of `ibm_manila`"):
        infer(run)
    assert len(service.jobs) == 1


def test_an_exhausted_quota_stops_before_a_job_that_would_wait_for_weeks(service: Loopback, run: RunDirectory) -> None:
    service.state.limit_seconds = 3.0
    with pytest.raises(BudgetError, match=r"the account has 3 s left on `ibm_manila` and the plan takes 4.*--partial"):
        infer(run)
    assert service.jobs == []
    with pytest.raises(BudgetError, match=r"the account has 1 s left on `ibm_manila` and denoising step 1 takes 2"):
        infer(run, partial=True)
    assert len(service.jobs) == 1
    service.state.limit_seconds = 600.0
    infer(run, resume=True)
    assert paid_once(service, run)


def test_a_session_is_refused_on_an_open_plan_with_the_reason(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HardwareError, match="an Open plan has no sessions; use --mode job or --mode batch"):
        infer(run, mode="session")
    # Where the client is told nothing of plans, the service itself refuses.
    monkeypatch.setenv("QISKIT_FUNCTIONS_EXPERIMENTAL", "1")
    with pytest.raises(HardwareError, match=r"an Open plan has no sessions.*\(code 1352\)"):
        infer(run, mode="session")
    assert (service.jobs, service.state.sessions) == ([], {})


def test_a_session_whose_closing_fails_is_closed_all_the_same(
    paid_service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_open, "CLOSE_PAUSE", 0.0)
    paid_service.fail("PATCH", "/sessions/.*", times=1)
    paid_service.fail("PATCH", "/sessions/.*", status=503, times=1)
    infer(run, mode="session")
    assert [session.closed_by for session in paid_service.state.sessions.values()] == ["client"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_session_is_closed_when_the_user_interrupts(
    number: signal.Signals, paid_service: Loopback, run: RunDirectory, command: Command
) -> None:
    paid_service.state.outcomes[1] = "hold"

    def interrupt(when: str, method: str, path: str) -> None:
        if path == "/jobs/j" + "0" * 18 + "1" and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    sent: list[signal.Signals] = []
    paid_service.watch = interrupt
    code, _, err = command("infer", run.path, *ARGUMENTS, "--mode", "session")
    assert code == 130
    assert "interrupted: what was finished is kept" in err
    assert [session.closed_by for session in paid_service.state.sessions.values()] == ["client"]
    paid_service.state.release()
    assert command("infer", run.path, "--resume", "--yes")[0] == 0
    assert (len(paid_service.jobs), paid_once(paid_service, run)) == (2, True)


def test_an_interruption_while_a_session_is_opened_waits_until_it_is_known(
    paid_service: Loopback, run: RunDirectory, command: Command
) -> None:
    def interrupt(when: str, method: str, path: str) -> None:
        if when == "before" and path == "/sessions":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    paid_service.watch = interrupt
    assert command("infer", run.path, *ARGUMENTS, "--mode", "session")[0] == 130
    assert [session.closed_by for session in paid_service.state.sessions.values()] == ["client"]
    assert paid_service.jobs == []


def test_a_session_that_a_killed_process_left_open_is_closed_by_the_next(
    paid_service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardware.jobs.execution_mode import ExecutionMode

    paid_service.state.outcomes[1] = "hold"
    with monkeypatch.context() as patch:
        patch.setattr(ExecutionMode, "close", lambda self: None)
        with pytest.raises(JobPendingError):
            infer(run, mode="session", wait_seconds=0.1)
    assert [session.accepting for session in paid_service.state.sessions.values()] == [True]
    paid_service.state.release()
    infer(run, mode="session", resume=True)
    assert [session.closed_by for session in paid_service.state.sessions.values()] == ["client"] * len(
        paid_service.state.sessions
    )
    assert paid_once(paid_service, run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backend", "ibm_nowhere"), ("unknown backend `ibm_nowhere`", "does not offer it")),
        (("--backend", "ibm_armonk"), ("does not fit", "1")),
        (("--budget-seconds", "1"), ("budget_seconds 1 ", "s of device time on `ibm_manila`")),
        (("--mode", "session"), ("an Open plan has no sessions",)),
        (("--level", "3"), ("hardware.level",)),
        (("--shots", "many"), ("--shots",)),
        (("--speed", "high"), ("--speed",)),
        (("--dd", "YY"), ("hardware.dynamical_decoupling", "YY")),
        (("--primitive", "sampler", "--level", "2"), ("`primitive: sampler`",)),
        (("--pack", "3", "--images", "3"), ("pack 3", "has room for")),
    ],
)
def test_bad_input_ends_with_code_2_and_one_line_and_sends_nothing(
    arguments: tuple[str, ...], words: tuple[str, ...], service: Loopback, run: RunDirectory, command: Command
) -> None:
    code, _, err = command("infer", run.path, *ARGUMENTS, *arguments)
    assert code == 2
    for word in words:
        assert word in err
    if "--" not in words[0]:
        assert len(err.strip().splitlines()) == 1
    assert service.jobs == []
    assert not run.hardware.exists()


def test_a_stored_circuit_that_the_device_does_not_execute_is_refused(
    service: Loopback, run: RunDirectory, command: Command
) -> None:
    from qiskit import QuantumCircuit, qpy

    assert command("plan", run.path, *ARGUMENTS[:-1])[0] == 0
    circuit = QuantumCircuit(5)
    circuit.h(0)
    with (run.hardware / "isa.qpy").open("wb") as file:
        qpy.dump(circuit, file)
    code, _, err = command("submit", run.path, "--yes")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "not an ISA circuit of `ibm_manila`" in err
    assert service.jobs == []


def test_a_checkpoint_with_another_circuit_than_the_stored_one_is_refused(
    service: Loopback, run: RunDirectory, command: Command
) -> None:
    assert command("plan", run.path, *ARGUMENTS[:-1])[0] == 0
    other = tiny_config(qubits=2, ansatz="real_amplitudes")
    run.config_file.write_text(json.dumps(other.model_dump()))
    write_checkpoint(run, other, 0)
    for name in ("submit", "fetch"):
        code, _, err = command(name, run.path, *(("--yes",) if name == "submit" else ()))
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert "the checkpoint holds another circuit" in err
    assert service.jobs == []


def test_a_wrong_key_is_said_in_one_line_without_the_key(
    service: Loopback, run: RunDirectory, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "another-key-4712")
    code, _, err = command("infer", run.path, *ARGUMENTS)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "the IBM Quantum account cannot be used" in err
    assert "another-key-4712" not in err


def test_neither_key_nor_token_reach_output_logs_or_the_run_directory(
    paid_service: Loopback, run: RunDirectory, tmp_path: Path
) -> None:
    """A process of its own with the client's log at its most talkative, and a service that repeats what it was sent."""
    paid_service.state.outcomes[1] = "failed"
    paid_service.fail("POST", "/jobs", status=401, body=json.dumps({"error": f"apikey {API_KEY} Bearer eyJx.eyJy.z"}))
    environment = {**os.environ, **paid_service.environment, "QISKIT_IBM_RUNTIME_LOG_LEVEL": "DEBUG"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "qhybrid.commands.main",
            "hardware",
            "infer",
            str(run.path),
            *ARGUMENTS,
            "--mode",
            "session",
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(hardware.__file__).parent.parent,
    )
    assert done.returncode == 2, done.stderr
    assert "has failed" in done.stderr
    assert "session._log_request_info:DEBUG" in done.stderr
    written = [done.stdout, done.stderr]
    written += [path.read_bytes().decode("latin1") for path in run.path.rglob("*") if path.is_file()]
    secrets = {API_KEY, *paid_service.tokens_given}
    assert len(secrets) > 2
    assert not [secret for secret in secrets for text in written if secret in text]
    assert [session.closed_by for session in paid_service.state.sessions.values()] == ["client"]


def test_an_error_that_repeats_the_key_is_shown_without_it(service: Loopback) -> None:
    service.fail("GET", "/backends/ibm_manila/configuration", status=400, body=f"apikey {API_KEY}", times=9)
    service.fail("GET", "/backends", status=400, body=f"Bearer eyJhb.eyJj.c2ln and {API_KEY}", times=9)
    with pytest.raises(BackendError) as caught:
        hardware.open_backend("ibm_manila")
    assert API_KEY not in str(caught.value)
    assert "eyJ" not in str(caught.value)
