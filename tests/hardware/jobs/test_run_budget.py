"""A budget is a promise of the run directory, whatever is counted how."""

import math

import numpy as np
import pytest
from hardware_runs import Command, MakeRun
from loopback import Loopback

import hardware
from hardware.errors import BudgetError, HardwareError, JobPendingError
from hardware.jobs import runner
from hardware.jobs.budget import RunBudget
from hardware.jobs.job_log import seconds_taken
from hardware.runs.variants import compare_variants
from hardware.service import limits
from qhybrid.config import HardwareConfig
from qhybrid.files import read_jsonl
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=2, qpu_steps="all", shots=16, pack=1)
ARGUMENTS = ("--backend", "ibm_manila", "--images", "1", "--steps", "2", "--qpu-steps", "all", "--shots", "16", "--yes")


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run(qubits=2)


def limited(seconds: float | None, **changed: object) -> HardwareConfig:
    return OPTIONS.model_copy(update={"budget_seconds": seconds, **changed})


def test_a_budget_holds_for_later_commands_that_name_none(service: Loopback, run: RunDirectory) -> None:
    hardware.infer(run, limited(6.0), yes=True)
    assert RunBudget(run).spent() == service.state.consumed_seconds == 4.0
    with pytest.raises(BudgetError, match=r"budget_seconds 6 .*other plans have taken 4\.0 s .*takes 4\.\d s; raise"):
        hardware.infer(run, limited(None, seed=5), yes=True)
    with pytest.raises(BudgetError, match="other plans have taken"):
        compare_variants(run, ["1"], yes=True)
    assert len(service.jobs) == 2
    # Another command may name another.
    hardware.infer(run, limited(12.0, seed=5), yes=True)
    with pytest.raises(BudgetError, match=r"budget_seconds 12 .*other plans have taken 8\.0 s"):
        compare_variants(run, ["1", "sampler"], yes=True)
    assert service.state.consumed_seconds == 8.0


def test_the_promise_holds_before_the_configuration(service: Loopback, run: RunDirectory, command: Command) -> None:
    assert command("infer", run.path, *ARGUMENTS, "--budget-seconds", "6")[0] == 0
    code, _, err = command("infer", run.path, *ARGUMENTS, "--seed", "3")
    assert (code, "budget_seconds 6" in err, len(err.strip().splitlines())) == (2, True, 1)
    assert len(service.jobs) == 2


def test_limits_of_jobs_that_are_sent_together_keep_within_the_budget(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PARAMETER_SETS_PER_JOB", 1)
    service.state.outcomes[None] = "hold"
    with pytest.raises(JobPendingError):
        hardware.infer(run, limited(10.0, images=4, steps=1), yes=True, wait_seconds=0.05)
    shares = [job.max_seconds for job in service.jobs]
    assert len(shares) == 4
    assert sum(shares) <= 10
    assert min(shares) >= 2


def test_a_charge_that_is_told_late_counts_as_the_limit_until_then(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CHARGE_PAUSE", 0.0)
    service.state.usage_late = 3
    hardware.infer(run, limited(6.0), yes=True)
    rows = read_jsonl(run.hardware / "jobs.jsonl")
    assert [row["charged"] for row in rows if row["event"] == "charged"] == [2.0]
    assert len(service.jobs) == 2
    # The last job's own price is asked for before anything else is sent.
    assert RunBudget(run).spent() == 4.0


def test_a_charge_that_is_never_told_stops_the_run(
    service: Loopback, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CHARGE_PAUSE", 0.0)
    monkeypatch.setattr(runner, "CHARGE_SECONDS", 0.1)
    service.state.usage_late = 10**6
    with pytest.raises(BudgetError, match=r"budget_seconds 6: 0\.0 s are left"):
        hardware.infer(run, limited(6.0), yes=True)
    assert [job.max_seconds for job in service.jobs] == [6]


def test_a_session_counts_by_the_clock(paid_service: Loopback, run: RunDirectory) -> None:
    opened = {"event": "opened", "mode": "session", "session": "s", "clock": 100.0, "limit": 12}
    sent = {"event": "submitted", "job": "j", "seconds": 2.0, "session": "s"}
    done = {"event": "done", "job": "j", "charged": 3.8}
    assert seconds_taken([opened, sent, done, {"event": "closed", "session": "s", "clock": 109.0}], 500.0) == 9.0
    # Left open by a process that was killed: no longer than its limit.
    assert seconds_taken([opened, sent, done], 105.0) == 5.0
    assert seconds_taken([opened, sent, done], 500.0) == 12.0
    assert seconds_taken([opened, sent, done], 101.0) == 3.8
    hardware.infer(run, limited(60.0, mode="session"), yes=True)
    (session,) = paid_service.state.sessions.values()
    assert session.max_time == 60
    rows = read_jsonl(run.hardware / "jobs.jsonl")
    opened, closed = (next(row["clock"] for row in rows if row["event"] == event) for event in ("opened", "closed"))
    assert math.isclose(RunBudget(run).spent(), max(4.0, closed - opened))


def test_resume_of_nothing_begins_nothing(service: Loopback, run: RunDirectory) -> None:
    with pytest.raises(HardwareError, match="no hardware run to resume: leave out --resume"):
        hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert service.jobs == []
    assert not run.hardware.exists()


def test_a_rehearsal_costs_nothing(run: RunDirectory) -> None:
    for seed in (0, 1):
        hardware.infer(run, limited(5.0, backend="fake_manila", seed=seed))
    assert (RunBudget(run).spent(), RunBudget(run).seconds()) == (0.0, None)
    assert np.isfinite(hardware.plan(run, limited(None, backend="fake_manila")).seconds)
