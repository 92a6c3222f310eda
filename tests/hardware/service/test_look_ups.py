"""Look-ups that the service does not answer: repeated for a short time, said to be, and ended by the true reason."""

import json

import pytest
from hardware_runs import Command, MakeRun
from loopback import Loopback

import hardware
from hardware.comparison import expectation_values as compare
from hardware.inference import workload
from hardware.jobs import service_jobs
from hardware.service import outages
from hardware.service.outages import Outage
from qhybrid.config import HardwareConfig
from qhybrid.files import read_jsonl
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=2, qpu_steps="all", shots=16, pack=1)
# As the service nests its reasons.
BODY = json.dumps({"errors": [{"code": 1234, "message": "it is amiss", "more_info": "https://x"}], "trace": "0af"})
TOKEN, SEARCH = ("POST", "/identity/token"), ("POST", "/v3/resources/search")
DEVICE = [("GET", "/backends"), ("GET", "/backends/[^/]+/configuration"), ("GET", "/backends/[^/]+/properties")]
JOBS, JOB, PRICE = ("GET", "/jobs"), ("GET", "/jobs/[^/]+"), ("GET", "/jobs/[^/]+/metrics")
REASONS = {
    None: "no answer (Remote end closed connection without response)",
    500: "500: the service has failed; it is amiss (code 1234)",
    503: "503: the service is away; it is amiss (code 1234)",
    401: "401: the token is not accepted; it is amiss (code 1234)",
    403: "403: the account has no access; it is amiss (code 1234)",
}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "LOOK_UP_SECONDS", 0.5)
    monkeypatch.setattr(service_jobs, "LOOK_SECONDS", 0.1)
    for module in ("hardware.runs.status", "hardware.runs.at_service", "hardware.jobs.runner"):
        monkeypatch.setattr(f"{module}.LOOK_UP_SECONDS", 0.0)
    monkeypatch.setattr(workload, "draw_layout", lambda *arguments: None)
    monkeypatch.setattr(compare, "draw_comparison", lambda *arguments: None)


@pytest.fixture
def run(make_run: MakeRun, service: Loopback) -> RunDirectory:
    """With a job that is queued."""
    made = make_run(qubits=2)
    service.state.outcomes[0] = "hold"
    hardware.submit(made, OPTIONS, yes=True)
    return made


def fail(service: Loopback, request: tuple[str, str], status: int | None) -> None:
    service.fail(*request, status=status, body=BODY, times=10**6)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        *((TOKEN, None), (TOKEN, 401), (SEARCH, 500), (SEARCH, 403), (DEVICE[0], None), (DEVICE[0], 401)),
        *((DEVICE[1], 503), (DEVICE[1], 401), (DEVICE[2], 500), (DEVICE[2], 403)),
    ],
)
def test_a_plan_ends_with_the_reason_and_says_that_it_asks_again(
    request_: tuple[str, str], status: int | None, service: Loopback, run: RunDirectory, command: Command
) -> None:
    fail(service, request_, status)
    before = service.count(*request_)
    code, out, err = command("plan", run.path, "--backend", "ibm_manila", "--images", "1", "--steps", "2")
    *notices, error = err.strip().splitlines()
    assert (code, REASONS[status] in error, "{" in error, out) == (2, True, False, "")
    assert "does not offer" not in error
    again = status in (None, 500, 503)
    assert len(notices) == again
    assert all(line.endswith("; asking again for 0.5 s") for line in notices)
    assert not again or service.count(*request_) - before > 1
    assert ("try again later" in error) == again
    assert ("make an API key" in error) == (status == 401)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        *((TOKEN, None), (SEARCH, 401), (DEVICE[0], 500), (DEVICE[1], None), (DEVICE[2], 403), (JOBS, 500)),
        *((JOBS, 401), (JOB, None), (JOB, 401), (JOB, 403), (PRICE, 500)),
    ],
)
def test_status_and_jobs_show_what_was_known_last(
    request_: tuple[str, str], status: int | None, service: Loopback, run: RunDirectory, command: Command
) -> None:
    fail(service, request_, status)
    code, out, _ = command("status", run.path, "--json")
    found = json.loads(out)
    assert (code, found["step"], found["seconds"] > 4) == (0, 0, True)
    (job,) = found["jobs"]
    # Login and the job itself are needed to know more than what was written down.
    known = request_ not in (TOKEN, SEARCH, JOB)
    assert job["state"] == ("queued" if known else "submitted")
    assert found["note"] is None if known and request_ != JOBS else REASONS[status] in found["note"]
    code, out, _ = command("jobs", run.path, "--json")
    (job,) = json.loads(out)
    assert (code, job["state"]) == (0, "queued" if known else "sent")
    assert job["note"] is None if known else REASONS[status] in job["note"]


@pytest.mark.parametrize(("request_", "status"), [(TOKEN, None), (SEARCH, 401), (JOB, 500), (JOB, 403)])
def test_fetch_ends_with_the_reason_and_loses_nothing(
    request_: tuple[str, str], status: int | None, service: Loopback, run: RunDirectory, command: Command
) -> None:
    fail(service, request_, status)
    code, _, err = command("fetch", run.path)
    assert (code, REASONS[status] in err, "Traceback" in err) == (2, True, False)
    service.faults.clear()
    service.state.release()
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert service.state.executions == 2 * 16


@pytest.mark.parametrize("status", [500, 401])
def test_fetch_needs_no_device(status: int | None, service: Loopback, run: RunDirectory, command: Command) -> None:
    for request_ in DEVICE:
        fail(service, request_, status)
    service.state.release()
    service.state.wait_until_idle()
    code, out, _ = command("fetch", run.path)
    assert (code, "1 of 2 steps done" in out) == (0, True)


@pytest.mark.parametrize("status", [500, 403])
def test_a_result_that_the_service_does_not_give_is_not_called_wrong(
    status: int | None, service: Loopback, run: RunDirectory, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_jobs, "OUTAGE_SECONDS", 0.0)
    service.state.release()
    service.state.wait_until_idle()
    fail(service, ("GET", "/jobs/[^/]+/results"), status)
    for again in (command("fetch", run.path), command("infer", run.path, "--resume", "--yes")):
        assert (again[0], REASONS[status] in again[2]) == (2, True)
    assert [row["event"] for row in read_jsonl(run.hardware / "jobs.jsonl")] == ["submitted"]
    service.faults.clear()
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert len(service.jobs) == 2


def test_results_that_the_service_has_lost_are_sent_anew(service: Loopback, run: RunDirectory) -> None:
    service.state.release()
    service.state.wait_until_idle()
    service.fail("GET", "/jobs/j0+/results", status=404, times=10**6)
    with pytest.raises(hardware.errors.ResultError, match=r"404: .*--resume fetches it once more"):
        hardware.infer(run, OPTIONS, yes=True, resume=True)
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert len(service.jobs) == 3


def test_a_run_waits_through_an_outage_and_says_so(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the token expires in it, and another cannot be had at once."""
    monkeypatch.setattr(outages, "LOOK_UP_SECONDS", 0.0)
    service.state.release()
    service.state.wait_until_idle()

    def break_down(when: str, method: str, path: str) -> None:
        if (when, path[:6]) == ("before", "/jobs/") and not service.faults:
            service.expire_tokens()
            service.fail("POST", "/identity/token", status=503, times=3)
            service.fail("GET", "/jobs/.*", status=500, times=3)

    service.watch = break_down
    lines: list[str] = []
    hardware.infer(run, OPTIONS, yes=True, resume=True, echo=lines.append)
    assert [fault.times for fault in service.faults] == [0, 0]
    assert any("asking again for up to 10 min" in line for line in lines)
    assert service.state.executions == 2 * 16


def test_devices_of_the_account_come_first_and_a_refusal_before_the_local_ones(
    service: Loopback, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardware.service.local_devices.local_names", lambda: ["aer", "fake_manila"])
    code, out, _ = command("backends")
    assert (code, out.index("ibm_manila") < out.index("fake_manila")) == (0, True)
    names = [row["name"] for row in json.loads(command("backends", "--json")[1])["backends"]]
    assert names == ["ibm_manila", "ibm_armonk", "aer", "fake_manila"]
    for request_ in DEVICE:
        service.faults.clear()
        fail(service, request_, 403)
        code, out, _ = command("backends")
        assert (code, out.index(REASONS[403]) < out.index("fake_manila")) == (0, True), request_


def test_an_outage_is_waited_for_once_and_not_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(outages, "LOOK_UP_SECONDS", 3.0)
    outage = Outage(lines.append, "it")
    assert outage.lasts("500", 1.0)
    now[0] = 2.0
    assert outage.lasts("500", 1.0)
    # A pause for which the service asks, or that does not fit any more, ends it.
    assert not outage.lasts("500", 1.1)
    outage.answered(500)
    assert not outage.lasts("500", 1.1)
    outage.answered(404)
    assert outage.lasts("500", 1.1)
    assert lines == ["it: 500; asking again for 3 s"] * 2
