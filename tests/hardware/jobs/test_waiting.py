"""What is said of a job while it is waited for."""

import itertools

import pytest
from hardware_runs import MakeRun
from loopback import Loopback

import hardware
from hardware.errors import JobPendingError
from hardware.jobs import waiting
from hardware.service.backends import open_backend
from qhybrid.config import HardwareConfig

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=1, qpu_steps="all", shots=16, pack=1)


def test_a_queued_job_is_named_with_its_queue_and_what_ctrl_c_does(
    service: Loopback, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "FIRST_LINE", 0.0)
    service.state.outcomes[0] = "hold"
    lines: list[str] = []
    with pytest.raises(JobPendingError):
        hardware.infer(make_run(qubits=2), OPTIONS, yes=True, wait_seconds=0.3, echo=lines.append)
    (line,) = [line for line in lines if "waited" in line]
    pending = open_backend("ibm_manila").status().pending_jobs
    queue = f"({pending} {'job waits' if pending == 1 else 'jobs wait'} at `ibm_manila`)"
    assert line.startswith(f"job {service.jobs[0].id} is queued {queue}, waited 0 s; Ctrl-C leaves it to the service")


def test_a_state_is_said_when_it_changes_and_less_and_less_often_while_it_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    lines: list[str] = []
    found = waiting.WaitingLines("j", None, lines.append)
    said = {}
    for second in range(7201):
        now[0] = float(second)
        before = len(lines)
        found.look("RUNNING" if second >= 7000 else "INITIALIZING")
        if len(lines) > before:
            said[second] = lines[-1]
    moments = list(said)
    assert moments[:3] == [3, 63, 123]
    assert 7000 in moments
    assert len(moments) < 25
    gaps = [later - sooner for sooner, later in itertools.pairwise(moments) if later < 7000]
    assert gaps == sorted(gaps)
    assert "Ctrl-C" in said[3]
    assert all("Ctrl-C" not in line for line in lines[1:])
    assert said[7000] == "job j is running, waited 1 h 56 min"
