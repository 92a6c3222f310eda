"""A job that the service does not know any more: said, and its work sent anew where jobs may be sent."""

import pytest
from hardware_runs import MakeRun
from loopback import Loopback

import hardware
from hardware.comparison import expectation_values as compare
from hardware.inference import workload
from hardware.jobs import service_jobs
from hardware.runs.status import status
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=1, qpu_steps="all", shots=16, pack=1)


@pytest.fixture
def run(make_run: MakeRun, service: Loopback, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """With a job that the service has forgotten."""
    monkeypatch.setattr(workload, "draw_layout", lambda *arguments: None)
    monkeypatch.setattr(compare, "draw_comparison", lambda *arguments: None)
    monkeypatch.setattr(service_jobs, "LOOK_SECONDS", 0.1)
    made = make_run(qubits=2)
    service.state.outcomes[0] = "hold"
    hardware.submit(made, OPTIONS, yes=True)
    forgotten = service.state.jobs.pop("j" + "0" * 19)
    service.state.jobs["another"] = forgotten
    forgotten.id, forgotten.tags = "another", []
    return made


def test_its_work_is_sent_anew_and_no_look_at_it_fails(service: Loopback, run: RunDirectory) -> None:
    assert [job["state"] for job in status(run)["jobs"]] == ["not known to the service any more"]
    assert "`infer --resume --yes` sends that part anew for about 2.0 s" in hardware.fetch(run).message
    lines: list[str] = []
    hardware.infer(run, OPTIONS, yes=True, resume=True, echo=lines.append)
    assert sum("is not known to the service any more; that part is sent anew" in line for line in lines) == 1
    assert service.state.executions == 16


def test_a_run_with_other_options_can_take_its_place(service: Loopback, run: RunDirectory) -> None:
    hardware.infer(run, OPTIONS.model_copy(update={"shots": 32}), yes=True, discard=True)
    assert service.state.executions == 32
