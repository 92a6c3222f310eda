"""Whole runs against a loopback service by the unmodified client: modes, bill, status, fetch, another machine."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_runs import Command, MakeRun, tiny_config
from loopback import Loopback

import hardware
from hardware.comparison import expectation_values as compare
from hardware.inference import workload
from hardware.runs.status import status
from hardware.service import limits
from qhybrid.commands import main as cli
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json, read_jsonl
from qhybrid.rundir import RunDirectory

SMALL = ("--backend", "ibm_manila", "--images", "2", "--qpu-steps", "all", "--shots", "32", "--pack", "1", "--yes")
TWO = HardwareConfig(backend="ibm_manila", images=2, steps=2, qpu_steps="all", shots=32, pack=1)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn in other tests."""
    monkeypatch.setattr(workload, "draw_layout", lambda *arguments: None)
    monkeypatch.setattr(compare, "draw_comparison", lambda *arguments: None)


def images(run: RunDirectory) -> np.ndarray:
    with np.load(run.hardware / "images.npz") as file:
        return file["images"]


def contents(service: Loopback) -> list[str]:
    return [job.content for job in service.jobs]


@pytest.mark.parametrize("mode", ["job", "batch", "session"])
def test_eight_steps_execute_what_the_plan_says(
    mode: str, paid_service: Loopback, make_run: MakeRun, command: Command
) -> None:
    run = make_run(qubits=2)
    code, out, err = command("infer", run.path, *SMALL, "--steps", "8", "--mode", mode)
    assert (code, err.startswith("hardware: 8/8")) == (0, True)
    assert "Plan for ibm_manila" in out
    plan = read_json(run.hardware / "plan.json")
    state = paid_service.state
    assert (plan["mode"], plan["jobs"], plan["executions"]) == (mode, 8, 8 * 2 * 32)
    assert len(state.jobs) == plan["jobs"]
    assert state.executions == plan["executions"]
    sessions = list(state.sessions.values())
    expected = {"job": [], "batch": ["batch"], "session": ["dedicated"]}[mode]
    assert [session.mode for session in sessions] == expected
    assert all(session.closed_by == "client" for session in sessions)
    assert {job.session for job in state.jobs.values()} == ({session.id for session in sessions} or {None})
    assert (run.hardware / "images.npz").exists()
    assert "device against exact" in out


@pytest.mark.parametrize(
    "options",
    [
        {"level": 1},
        {"level": 2},
        {"zne": True, "zne_factors": [1, 2, 3], "dynamical_decoupling": "XY4", "twirling": True},
        {"primitive": "sampler"},
        {"primitive": "sampler", "twirling": True, "readout_mitigation": False},
        {"pack": 2},
        {"pack": 2, "primitive": "sampler"},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_jobs_of_every_kind_execute_what_the_plan_says(
    options: dict[str, Any], service: Loopback, make_run: MakeRun
) -> None:
    run = make_run(qubits=2)
    hardware.infer(run, TWO.model_copy(update={"shots": 64, **options}), yes=True)
    plan = read_json(run.hardware / "plan.json")
    assert (len(service.jobs), service.state.executions) == (plan["jobs"], plan["executions"])
    assert plan["pack"] == options.get("pack", 1)
    comparison = read_json(run.hardware / "comparison.json")
    assert comparison["device_against_exact"]["n"] == 2 * 2 * 2
    # Extrapolation and correction may leave [-1, 1] by their scatter, but not lose the value.
    assert comparison["device_against_exact"]["rms"] < 0.6


def test_all_parts_of_a_step_are_in_the_queue_before_the_first_is_waited_for(
    service: Loopback, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PARAMETER_SETS_PER_JOB", 1)
    service.watch = lambda when, method, path: service.state.release() if len(service.jobs) >= 2 else None
    service.state.outcomes[0] = "hold"
    run = make_run(qubits=2)
    hardware.infer(run, TWO.model_copy(update={"qpu_steps": [1]}), yes=True, wait_seconds=30.0)
    assert [job.tags[2] for job in service.jobs] == ["step:1", "step:1"]


def test_submit_status_and_fetch_on_another_machine(service: Loopback, make_run: MakeRun, command: Command) -> None:
    """The run directory is all that travels."""
    here = make_run("here", qubits=2)
    service.state.outcomes[0] = "hold"
    code, out, _ = command("submit", here.path, *SMALL, "--steps", "2")
    assert (code, "0 of 2 steps done" in out, "queued" in out) == (0, True, True)
    there = RunDirectory(here.path.parent / "there")
    shutil.copytree(here.path, there.path)
    code, out, _ = command("status", there.path, "--json")
    assert [job["state"] for job in json.loads(out)["jobs"]] == ["queued"]
    assert "0 of 2 steps done" in command("fetch", there.path)[1]
    service.state.release()
    service.state.wait_until_idle()
    assert [job["state"] for job in status(there)["jobs"]] == ["done"]
    assert "1 of 2 steps done" in command("fetch", there.path)[1]
    assert len(service.jobs) == 1
    command("submit", there.path, "--yes")
    service.state.wait_until_idle()
    assert "2 of 2 steps done" in command("fetch", there.path)[1]
    assert service.state.executions == read_json(there.hardware / "plan.json")["executions"]


def test_jobs_are_found_by_their_tags_alone(service: Loopback, make_run: MakeRun) -> None:
    """Every line, every result and the stored state are lost; nothing is sent a second time."""
    run = make_run(qubits=2)
    hardware.infer(run, TWO, yes=True)
    before = images(run)
    paid = service.state.executions
    (run.hardware / "jobs.jsonl").unlink()
    (run.hardware / "state.npz").unlink()
    shutil.rmtree(run.hardware / "results")
    assert ["known by its tags alone" in job["state"] for job in status(run)["jobs"]] == [True, True]
    hardware.infer(run, TWO, yes=True, resume=True)
    np.testing.assert_array_equal(images(run), before)
    assert (len(service.jobs), service.state.executions) == (2, paid)


def test_what_a_job_was_charged_is_written_down_and_counts_against_the_budget(
    service: Loopback, make_run: MakeRun
) -> None:
    service.state.seconds_per_job = 5.0
    run = make_run(qubits=2)
    seconds = hardware.plan(run, TWO).seconds
    limited = TWO.model_copy(update={"budget_seconds": seconds + 1.0})
    with pytest.raises(
        hardware.errors.BudgetError, match=r"budget_seconds 5\.\d+: 0\.\d s are left and denoising step 1 takes 2"
    ):
        hardware.infer(run, limited, yes=True)
    rows = read_jsonl(run.hardware / "jobs.jsonl")
    assert [row.get("charged") for row in rows] == [None, 5.0]
    assert service.jobs[0].max_seconds == int(seconds + 1.0)
    hardware.infer(run, TWO.model_copy(update={"budget_seconds": 60.0}), yes=True, resume=True)
    assert len(service.jobs) == 2


def test_auto_takes_a_session_for_dependent_jobs_where_the_plan_has_sessions(
    paid_service: Loopback, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(qubits=2)
    assert hardware.plan(run, TWO).mode == "session"
    assert hardware.plan(run, TWO.model_copy(update={"qpu_steps": [1]})).mode == "job"
    monkeypatch.setattr(limits, "MAX_PARAMETER_SETS_PER_JOB", 1)
    assert hardware.plan(run, TWO.model_copy(update={"qpu_steps": [1]})).mode == "batch"


def test_auto_takes_no_session_on_an_open_plan(
    service: Loopback, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(qubits=2)
    assert hardware.plan(run, TWO).mode == "job"
    monkeypatch.setattr(limits, "MAX_PARAMETER_SETS_PER_JOB", 1)
    assert hardware.plan(run, TWO).mode == "batch"


def test_backends_lists_the_accounts_devices_with_plan_queue_and_seconds_left(
    service: Loopback, command: Command
) -> None:
    service.state.consumed_seconds = 25.0
    code, out, err = command("backends", "--json")
    found = json.loads(out)
    rows: dict[str, Any] = {row["name"]: row for row in found["backends"]}
    assert (code, err, found["note"]) == (0, "", None)
    assert {"aer", "fake_manila", "ibm_manila", "ibm_armonk"} <= set(rows)
    manila = rows["ibm_manila"]
    assert (manila["queue"], manila["plan"], manila["seconds_left"], manila["qubits"]) == (3, "open", 575.0, 5)
    assert manila["basis"] == rows["fake_manila"]["basis"]
    assert manila["two_qubit_error"] == pytest.approx(rows["fake_manila"]["two_qubit_error"])
    assert (rows["fake_manila"]["plan"], rows["fake_manila"]["seconds_left"]) == (None, None)


def test_a_whole_run_for_a_real_device_ends_with_the_bill(
    service: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`qhybrid run` has no --yes: what was trained is kept, and the next command is said."""
    config = tiny_config(qubits=2).model_dump(mode="json")
    config |= {"training": {"steps": 1, "batch_size": 4}, "hardware": TWO.model_dump(mode="json")}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    arguments = ["qhybrid", "run", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "run")]
    for extra in ([], ["--resume"]):
        monkeypatch.setattr(sys, "argv", [*arguments, *extra])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out = capsys.readouterr().out
        assert not caught.value.code
        assert ("nothing was sent: `qhybrid hardware infer" in out) == (not extra)
    assert read_json(tmp_path / "run" / "hardware" / "plan.json")["backend"] == "ibm_manila"
    assert service.jobs == []
