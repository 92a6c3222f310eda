"""Banks drawn through a loopback service by the unmodified client: what is sent, paid, found again, refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hardware_runs import Command
from loopback import Loopback

import hardware
from hardware.errors import BudgetError, HardwareError, JobPendingError, ResultError
from hardware.jobs import runner
from hardware.jobs.job_log import JobLog
from hardware.noise import yields as noise_yield
from hardware.noise.draw import plan_noise, work_folder
from qhybrid.config import NoiseBankConfig
from qhybrid.diffusion.bank import read_record
from qhybrid.files import read_json, read_jsonl

SMALL = NoiseBankConfig(backend="ibm_manila", normals=6_250, extractor="toeplitz", max_readout_error=0.2)


@pytest.fixture
def two_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_yield, "EXECUTIONS_PER_JOB", 16_000)
    monkeypatch.setattr(runner, "DOWNLOAD_PAUSE", 0.0)


def test_a_real_device_executes_what_the_plan_says(
    service: Loopback, tmp_path: Path, command: Command, two_jobs: None
) -> None:
    out = tmp_path / "bank.npz"
    options = ["--backend", "ibm_manila", "--normals", 6250, "--out", out, "--extractor", "toeplitz"]
    options += ["--max-readout-error", "0.2", "--budget-seconds", 60]
    code, text, err = command("noise", *options)
    assert (code, err.count("\n"), service.jobs) == (2, 1, [])
    assert "Plan for ibm_manila" in text
    assert "`ibm_manila` is a real device: send 2 jobs" in err
    code, text, err = command("noise", *options, "--yes")
    assert code == 0, err
    plan = read_json(work_folder(out) / "plan.json")
    record = read_record(out)
    assert (plan["mode"], plan["jobs"]) == ("batch", 2)
    assert service.state.executions == plan["executions"] == record.provenance["executions"]
    assert [job.id for job in service.jobs] == record.provenance["job_ids"]
    assert (record.provenance["local"], record.provenance["device_seconds"]) == (False, 4.0)
    assert record.certificate is not None
    assert record.certificate["failed"] == []
    assert [job.max_seconds for job in service.jobs] == [60, 58]
    assert all(session.closed_by == "client" for session in service.state.sessions.values())
    assert all(job.tags[:2] == ["qhybrid", f"run:noise-{plan['key']}"] for job in service.jobs)


def test_nothing_is_paid_twice_when_the_last_line_or_all_lines_are_lost(
    service: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_jobs: None
) -> None:
    class Lost(BaseException):
        """The process dies."""

    def die(self: JobLog, event: str, **fields: object) -> None:
        raise Lost

    out = tmp_path / "bank.npz"
    with monkeypatch.context() as patch:
        patch.setattr(JobLog, "append", die)
        with pytest.raises(Lost):
            hardware.draw_noise(out, SMALL.model_copy(update={"mode": "job"}), yes=True)
    assert len(service.jobs) == 1
    hardware.draw_noise(out, SMALL, yes=True, resume=True)
    checksum, paid = read_record(out).checksum, service.state.executions
    # Another machine, with nothing but the plan.
    for path in (out, out.with_suffix(".json"), work_folder(out) / "jobs.jsonl"):
        path.unlink()
    shutil.rmtree(work_folder(out) / "results")
    hardware.draw_noise(out, SMALL, yes=True, resume=True)
    assert read_record(out).checksum == checksum
    assert (len(service.jobs), service.state.executions) == (2, paid)


def test_two_draws_of_the_same_kind_share_no_job(service: Loopback, tmp_path: Path) -> None:
    for name in ("one", "two"):
        hardware.draw_noise(tmp_path / f"{name}.npz", SMALL, yes=True)
    one, two = (read_record(tmp_path / f"{name}.npz") for name in ("one", "two"))
    assert len(service.jobs) == 2
    assert set(one.provenance["job_ids"]).isdisjoint(two.provenance["job_ids"])
    assert one.checksum != two.checksum


def test_the_budget_holds_before_every_job(service: Loopback, tmp_path: Path, two_jobs: None) -> None:
    out = tmp_path / "bank.npz"
    service.state.seconds_per_job = 8.0
    seconds = plan_noise(out, SMALL).plan.seconds
    with pytest.raises(BudgetError, match="is too small"):
        hardware.draw_noise(out, SMALL.model_copy(update={"budget_seconds": seconds - 1}), yes=True)
    assert (service.jobs, work_folder(out).exists()) == ([], False)
    with pytest.raises(BudgetError, match=r"s are left and job 2 takes .*--resume"):
        hardware.draw_noise(out, SMALL.model_copy(update={"budget_seconds": seconds + 1}), yes=True)
    assert (len(service.jobs), out.exists()) == (1, False)
    hardware.draw_noise(out, SMALL.model_copy(update={"budget_seconds": 60.0}), yes=True, resume=True)
    assert len(service.jobs) == 2


@pytest.mark.parametrize("outcome", ["half", "truncated", "empty"])
def test_a_spoiled_result_does_not_count(service: Loopback, tmp_path: Path, outcome: str, two_jobs: None) -> None:
    service.state.outcomes[1] = outcome  # type: ignore[assignment]
    out = tmp_path / "bank.npz"
    with pytest.raises(ResultError, match="--resume"):
        hardware.draw_noise(out, SMALL, yes=True)
    assert not out.exists()
    assert len(list((work_folder(out) / "results").iterdir())) == 1
    hardware.draw_noise(out, SMALL, yes=True, resume=True)
    # The first job is kept, the second is sent anew after its result was wrong in two processes.
    assert [row["event"] for row in read_jsonl(work_folder(out) / "jobs.jsonl") if "content" in row] == [
        "submitted", "done", "submitted", "refused", "failed", "submitted", "done"
    ]  # fmt: skip
    assert len(service.jobs) == 3


def test_a_job_in_the_queue_is_waited_for_as_long_as_said(service: Loopback, tmp_path: Path) -> None:
    service.state.outcomes[0] = "hold"
    with pytest.raises(JobPendingError, match=r"job 1: job j0+ is queued after 0\.2 s"):
        hardware.draw_noise(tmp_path / "bank.npz", SMALL, yes=True, wait_seconds=0.2)
    service.state.release()
    hardware.draw_noise(tmp_path / "bank.npz", SMALL, yes=True, resume=True)
    assert len(service.jobs) == 1


def test_a_session_is_refused_on_an_open_plan(service: Loopback, tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match="an Open plan has no sessions"):
        hardware.draw_noise(tmp_path / "bank.npz", SMALL.model_copy(update={"mode": "session"}), yes=True)
    assert service.jobs == []
    assert not work_folder(tmp_path / "bank.npz").exists()


def test_fluctuations_come_from_the_device_as_well(service: Loopback, tmp_path: Path) -> None:
    config = NoiseBankConfig(
        backend="ibm_manila", source="quantum_intrinsic", normals=4_000, qubits=2, shots=4, places=1,
        max_readout_error=0.2, max_gate_error=0.05, image_size=8,
    )  # fmt: skip
    certificate = hardware.draw_noise(tmp_path / "bank.npz", config, yes=True)
    record = read_record(tmp_path / "bank.npz")
    assert certificate.failed == ()
    assert (record.shape, record.law["patch"]) == ((2000, 2), [1, 2])
    assert service.state.executions == 8_000
    assert abs(np.array(record.law["covariance"])[0, 1]) > 0.1
