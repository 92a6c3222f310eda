"""Steps of a circuit's weights on a device: the right gradient, paid once whatever is killed, within the budget."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import tune_on_device
from hardware_runs import Command, MakeRun, conditional_run
from loopback import Loopback
from safetensors.numpy import load_file

import hardware
import qhybrid.hub
from hardware.errors import BudgetError, HardwareError
from hardware.inference.reverse_process import ReverseProcess, circuit_weights
from hardware.jobs.budget import RunBudget
from hardware.runs.at_service import list_jobs
from hardware.tuning.images import IMAGES_PER_CIRCUIT, TuningImages
from hardware.tuning.tuned_model import Steps
from hardware.tuning.weights import TuningState, WeightTuning
from qhybrid.checkpoints.checkpoint import load_checkpoint
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json
from qhybrid.hub.folder import load_model
from qhybrid.rundir import RunDirectory

BLIND = {"sees": ["class", "time"]}
OPTIONS = HardwareConfig(backend="ibm_manila", images=10, steps=2, qpu_steps="all", shots=1024, pack=1)
FEW = Steps(2, circuits=3)
WEIGHTS = "bottleneck.core.layer.weight"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return conditional_run(tmp_path / "run", classes=10, qubits=2, **BLIND)


@pytest.fixture
def measured(service: Loopback, run: RunDirectory) -> RunDirectory:
    hardware.infer(run, OPTIONS.model_copy(update={"budget_seconds": 100.0}), yes=True)
    return run


def tuned_weights(run: RunDirectory | Path) -> dict[str, np.ndarray]:
    folder = run.path if isinstance(run, RunDirectory) else run
    return load_file(folder / "checkpoints" / "step-1" / "ema.safetensors")


def kept_always(self: WeightTuning) -> tuple[np.ndarray, dict[str, object]]:
    """The last weights, so that what the steps made can be seen."""
    return self.state.weights, {"kept": True, "step": self.state.step, "loss": {}, "difference": 0.0}


def test_a_step_needs_few_circuits_for_many_images_where_the_image_is_not_seen(
    run: RunDirectory, make_run: MakeRun
) -> None:
    images = TuningImages(load_checkpoint(run.path), 4, (0, 1, 3), 5, seed=1)
    sight = images.step(0)
    assert (len(sight.angles), len(sight.rows)) == (5, 5 * IMAGES_PER_CIRCUIT)
    assert np.array_equal(np.bincount(sight.rows.numpy()), [IMAGES_PER_CIRCUIT] * 5)
    assert len(images.held_out().angles) == 10
    assert not np.array_equal(images.step(1).angles, sight.angles)
    assert np.array_equal(images.step(0).angles, sight.angles)
    seeing = TuningImages(load_checkpoint(make_run("seeing").path), 4, (0,), 5, seed=1).step(0)
    assert (len(seeing.angles), len(seeing.rows)) == (5, 5)


def test_held_out_images_are_seen_by_no_step(run: RunDirectory) -> None:
    images = TuningImages(load_checkpoint(run.path), 4, (0,), 5, seed=1)
    assert not set(images._held.tolist()) & set(images._seen.tolist())
    assert len(images._held) == len(images._images) // 4


def test_steps_lead_a_spoiled_circuit_back(tmp_path: Path) -> None:
    """The digits model of the package with its circuit's weights moved away, on an ideal device with shots."""
    checkpoint = load_model(Path(qhybrid.hub.__file__).parent / "models" / "digits")
    core = ReverseProcess(checkpoint, 4, range(1)).core
    trained = circuit_weights(core)
    moved = trained + np.random.default_rng(0).normal(0, 0.5, trained.shape)
    images = TuningImages(checkpoint, 4, (0, 1, 2, 3), 10, seed=0)
    estimator = hardware.device_estimator(core.spec, "aer", folder=tmp_path / "device", shots=1024)
    lines: list[str] = []
    tuning = WeightTuning(
        checkpoint.model, core.spec, moved, images, estimator, 0.05, tmp_path / "state.npz", lines.append
    )
    assert tuning.price(10).jobs == 13
    assert tuning.run(10) is None
    best, record = tuning.best()
    assert (record["kept"], record["circuits"], len(lines)) == (True, 20, 3)

    def exact_loss(weights: np.ndarray) -> float:
        """By the compiled engine, on the same images."""
        sight = images.held_out()
        with torch.no_grad():
            core.layer.weight.copy_(torch.from_numpy(weights))
            outputs = core(torch.from_numpy(sight.angles).float())[sight.rows]
            found = checkpoint.model.decode(sight.encoded, outputs)
        return float((found - sight.target).square().mean())

    start, end, least = exact_loss(moved), exact_loss(best), exact_loss(trained)
    assert record["loss"] == {"start": pytest.approx(start, rel=0.03), "best": pytest.approx(end, rel=0.03)}
    assert end < start - 0.25 * (start - least)


@pytest.mark.parametrize("place", ["answered", "noted", "sent"])
def test_a_local_tuning_that_dies_ends_with_the_weights_of_one_that_did_not(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    class Lost(BaseException):
        """The process dies."""

    monkeypatch.setattr(WeightTuning, "best", kept_always)
    local = OPTIONS.model_copy(update={"backend": "fake_manila"})
    other = conditional_run(tmp_path / "other", classes=10, qubits=2, **BLIND)
    hardware.infer(run, local)
    hardware.infer(other, local)
    whole = hardware.tune(other, steps=FEW)

    calls = 0
    name = {"answered": "_note", "noted": "_losses", "sent": "_make"}[place]
    genuine = getattr(WeightTuning, name)

    def die(self: WeightTuning, *arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2 and place != "sent":
            raise Lost
        result = genuine(self, *arguments)
        if calls == 2:
            raise Lost
        return result

    with monkeypatch.context() as patch:
        patch.setattr(WeightTuning, name, die)
        with pytest.raises(Lost):
            hardware.tune(run, steps=FEW)
    assert not run.path.with_name("run-tuned").exists()
    resumed = hardware.tune(run, steps=FEW)
    first, second = tuned_weights(whole.run), tuned_weights(resumed.run)
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert not np.array_equal(second[WEIGHTS], tuned_weights(run)[WEIGHTS])
    bills = [made.record["steps"]["bill"] for made in (whole, resumed)]
    assert bills[0] == bills[1]
    # More steps go on from these.
    longer = hardware.tune(run, out=tmp_path / "longer", steps=Steps(3, circuits=3))
    assert [row["jobs"] for row in longer.record["steps"]["history"]][:4] == [
        row["jobs"] for row in resumed.record["steps"]["history"]
    ]


def test_a_tuning_that_is_killed_pays_for_no_step_twice(
    service: Loopback, measured: RunDirectory, tmp_path: Path
) -> None:
    """Killed when the job of the first step has just been made."""
    before = len(service.jobs)
    process = subprocess.Popen(
        [sys.executable, tune_on_device.__file__, str(measured.path)],
        env={**os.environ, **service.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    def watch(when: str, asked: str, path: str) -> None:
        if when == "after" and asked == "POST" and path.endswith("/jobs") and len(service.jobs) == before + 2:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    service.watch = watch
    assert process.wait(timeout=300) == -signal.SIGKILL
    service.watch = None
    assert len(service.jobs) == before + 2
    made = hardware.tune(measured, steps=FEW, yes=True)
    service.state.wait_until_idle()
    record = made.record["steps"]
    # A look, two steps, a look.
    assert [row["kind"] for row in record["history"]] == ["held out", "step", "step", "held out"]
    assert len(service.jobs) - before == record["bill"]["jobs"] == 4
    assert sum(job.executions for job in service.jobs[before:]) == record["bill"]["executions"]
    assert record["bill"]["taken"] == 8.0
    assert [row["jobs"] for row in record["history"]] == [[job.id] for job in service.jobs[before:]]
    assert read_json(made.run.path / "tuning.json") == made.record
    # What a run has paid for holds the steps.
    assert RunBudget(measured).spent() == service.state.consumed_seconds
    assert {job["job"] for job in list_jobs(measured)} == {job.id for job in service.jobs}
    # Once more: all of it is stored, and the same weights follow.
    again = hardware.tune(measured, out=tmp_path / "again", steps=FEW, yes=True)
    assert again.record["steps"] == record
    first, second = tuned_weights(made.run), tuned_weights(again.run)
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert len(service.jobs) - before == 4


def test_the_budget_is_that_of_the_run(
    service: Loopback, measured: RunDirectory, tmp_path: Path, command: Command
) -> None:
    before = len(service.jobs)
    arguments = ("tune", measured.path, "--spsa-steps", "2", "--circuits", "3", "--out", tmp_path / "out")
    code, _, err = command(*arguments, "--budget-seconds", "60")
    assert (code, "`ibm_manila` is a real device: add --yes to send 4 jobs of 16 s in all" in err) == (2, True), err
    # 2 s were taken by the images.
    code, _, err = command(*arguments, "--budget-seconds", "9", "--yes")
    assert (code, "the steps take 15.9 s and 7.0 s of the budget are left" in err) == (2, True), err
    assert (len(service.jobs), len(err.strip().splitlines())) == (before, 1)
    assert not (tmp_path / "out").exists()
    # What is charged above the plan ends the steps, and what was made of them is kept.
    service.state.seconds_per_job = 5.0
    lines: list[str] = []
    made = hardware.tune(measured, steps=FEW, budget_seconds=19.0, yes=True, echo=lines.append).record["steps"]
    assert (made["made"], len(made["history"]), service.state.consumed_seconds) == (2, 3, 17.0)
    assert re.fullmatch(r"budget_seconds 19: 2\.0 s are left and evaluation 3 takes 3\.\d s", made["stopped"])
    assert f"stopped after 2 steps: {made['stopped']}" in lines


def test_a_real_device_needs_a_budget_for_steps(service: Loopback, run: RunDirectory, tmp_path: Path) -> None:
    hardware.infer(run, OPTIONS, yes=True)
    with pytest.raises(HardwareError, match="is a real device: name the seconds"):
        hardware.tune(run, steps=FEW, yes=True)
    assert len(service.jobs) == 1


def test_the_budget_of_a_rehearsal_is_that_of_its_steps(run: RunDirectory) -> None:
    hardware.infer(run, OPTIONS.model_copy(update={"backend": "fake_manila"}))
    with pytest.raises(BudgetError, match=r"the steps take 15\.\d s and 5\.0 s of the budget are left"):
        hardware.tune(run, steps=FEW, budget_seconds=5.0)
    assert RunBudget(run).seconds() is None
    assert not run.path.with_name("run-tuned").exists()
    assert hardware.tune(run, steps=FEW, budget_seconds=17.0).record["steps"]["made"] == 2


def test_a_job_of_a_tuning_hinders_no_inference_and_is_cancelled_with_the_others(
    service: Loopback, measured: RunDirectory, command: Command
) -> None:
    service.state.outcomes[1] = "hold"
    code, _, err = command(
        "tune", measured.path, "--spsa-steps", "1", "--circuits", "3", "--yes", "--wait-seconds", "0"
    )
    assert (code, service.jobs[1].status, service.jobs[1].id in err) == (2, "Queued", True), err
    assert command("infer", measured.path, "--yes")[0] == 0
    assert len(service.jobs) == 2
    code, out, _ = command("cancel", measured.path)
    assert (code, "1 job cancelled" in out, service.jobs[1].status) == (0, True, "Cancelled")


def test_what_steps_cannot_do_is_one_line(run: RunDirectory, tmp_path: Path, command: Command) -> None:
    hardware.infer(run, OPTIONS.model_copy(update={"backend": "fake_manila", "rescale": True}))
    code, _, err = command("tune", run.path, "--spsa-steps", "1")
    assert (code, "error: the run rescales the device's values" in err) == (2, True)
    frozen = conditional_run(tmp_path / "frozen", classes=10, qubits=2, core="quantum_frozen", **BLIND)
    hardware.infer(frozen, OPTIONS.model_copy(update={"backend": "fake_manila"}))
    code, _, err = command("tune", frozen.path, "--spsa-steps", "1")
    assert (code, "weights of a `quantum_frozen` circuit are not trained" in err) == (2, True)


def test_a_damaged_state_is_said_to_be_so(tmp_path: Path) -> None:
    state = TuningState.start(np.zeros(3, dtype=np.float32))
    state.save(tmp_path / "state.npz")
    assert TuningState.load(tmp_path / "state.npz").step == 0
    state.step = 2
    state.save(tmp_path / "state.npz")
    with pytest.raises(HardwareError, match="holds no state of a tuning: remove it"):
        TuningState.load(tmp_path / "state.npz")
    (tmp_path / "state.npz").write_bytes(b"no archive")
    with pytest.raises(HardwareError, match="cannot be read"):
        TuningState.load(tmp_path / "state.npz")
