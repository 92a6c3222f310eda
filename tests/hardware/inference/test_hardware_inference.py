"""From a run directory to images made with a device, whatever interrupts."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hardware_runs import MakeRun, tiny_config, write_checkpoint

import hardware
from hardware.errors import BudgetError, HardwareError
from hardware.inference import evaluator
from hardware.inference.reverse_process import ReverseProcess
from hardware.inference.sensitivity import measure_sensitivity
from hardware.jobs import runner
from hardware.runs.stages import compare_run
from hardware.runs.status import status
from qhybrid.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from qhybrid.config import HardwareConfig, build_config
from qhybrid.errors import RunDirectoryError
from qhybrid.files import read_json, read_jsonl
from qhybrid.models.build import build_model
from qhybrid.rundir import RunDirectory


def options(**given: Any) -> HardwareConfig:
    return HardwareConfig(
        **{"backend": "fake_manila", "images": 3, "steps": 4, "qpu_steps": [0, 2], "shots": 128, **given}
    )


def images(run: RunDirectory) -> dict[str, np.ndarray]:
    with np.load(run.hardware / "images.npz") as file:
        return dict(file)


def sent(run: RunDirectory) -> list[dict[str, Any]]:
    return [row for row in read_jsonl(run.hardware / "jobs.jsonl") if row["event"] == "submitted"]


def test_infer_leaves_plan_jobs_results_images_and_comparison(run: RunDirectory) -> None:
    lines: list[str] = []
    comparison = hardware.infer(run, options(), echo=lines.append)
    folder = run.hardware
    assert read_json(folder / "plan.json")["qpu_steps"] == [0, 2]
    assert read_json(folder / "comparison.json") == comparison
    assert [(row["step"], row["samples"]) for row in sent(run)] == [(0, 3), (2, 3)]
    assert len(list((folder / "results").glob("*.npz"))) == len(list((folder / "results").glob("*.json"))) == 2
    for picture in ("layout.png", "comparison.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    found = images(run)
    assert found["images"].shape == found["exact"].shape == (3, 8, 8)
    assert found["images"].dtype == np.uint8
    assert found["seeds"].tolist() == [0, 1, 2]
    assert not np.array_equal(found["images"], found["exact"])
    assert any("simulating qubits" in line for line in lines)
    assert any("ibm_manila" in line for line in lines)


def test_the_noisy_simulation_explains_the_device_within_its_standard_errors(make_run: MakeRun) -> None:
    run = make_run(qubits=4, layers=2)
    comparison = hardware.infer(
        run, options(backend="fake_torino", pack=1, images=16, steps=6, qpu_steps="all", shots=4096)
    )
    z = comparison["device_against_noisy"]["z"]
    assert z["rms"] == pytest.approx(1.0, abs=0.15)
    assert z["beyond_2"] == pytest.approx(0.046, abs=0.04)
    assert comparison["device_against_exact"]["z"]["rms"] > 1.3
    assert comparison["device_against_exact"]["n"] == 16 * 6 * 4
    assert comparison["noisy_against_exact"]["rms"] > comparison["device_against_noisy"]["rms"] / 2


def test_an_ideal_device_gives_the_images_of_exact_simulation(run: RunDirectory) -> None:
    comparison = hardware.infer(run, options(backend="aer", shots=20_000))
    found = images(run)
    assert np.abs(found["images"].astype(int) - found["exact"]).mean() < 10
    assert np.abs(found["images"].astype(int) - found["exact"][::-1]).mean() > 50
    assert comparison["device_against_exact"]["z"]["rms"] == pytest.approx(1.0, abs=0.5)


def test_the_exact_images_are_those_of_the_samplers_seeds(run: RunDirectory) -> None:
    hardware.infer(run, options())
    first = images(run)
    hardware.infer(run, options(seed=1, images=2))
    second = images(run)
    np.testing.assert_array_equal(second["exact"], first["exact"][1:])
    assert second["seeds"].tolist() == [1, 2]


def test_asking_again_sends_nothing_and_gives_the_same_images(run: RunDirectory) -> None:
    first = hardware.infer(run, options())
    before = images(run)
    again = hardware.infer(run, options())
    assert len(sent(run)) == 2
    np.testing.assert_array_equal(images(run)["images"], before["images"])
    assert again == first


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


@pytest.mark.parametrize(("module", "place"), [(runner, "job_sender"), (evaluator, "collect")])
def test_a_run_that_was_killed_goes_on_to_the_same_images(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, module: ModuleType, place: str
) -> None:
    whole = make_run("whole")
    hardware.infer(whole, options())

    killed = make_run("killed")
    genuine = getattr(module, place)
    calls = iter(range(100))

    def die(*args: Any) -> Any:
        if next(calls) == 1:
            raise Killed
        return genuine(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, place, die)
        with pytest.raises(Killed):
            hardware.infer(killed, options())
    assert not (killed.hardware / "images.npz").exists()
    with np.load(killed.hardware / "state.npz") as state:
        assert int(state["step"]) == 2

    hardware.infer(killed, options(), resume=True)
    np.testing.assert_array_equal(images(killed)["images"], images(whole)["images"])
    # The first step's job was not sent again.
    assert [row["step"] for row in sent(killed)].count(0) == 1


def test_plan_submit_and_fetch_in_turn_give_the_images_of_infer(make_run: MakeRun) -> None:
    whole, parts = make_run("whole"), make_run("parts")
    hardware.infer(whole, options())

    made = hardware.plan(parts, options())
    assert (made.jobs, made.executions) == (2, 2 * 3 * 128)
    assert not (parts.hardware / "jobs.jsonl").exists()
    assert status(parts)["step"] == 0
    first = hardware.submit(parts, options())
    assert (first.finished, first.step) == (False, 2)
    assert len(sent(parts)) == 1
    between = hardware.fetch(parts)
    assert (between.finished, between.step, len(sent(parts))) == (False, 2, 1)
    assert "step 2" in between.message
    assert hardware.submit(parts, options()).finished
    found = status(parts)
    assert (found["finished"], [job["state"] for job in found["jobs"]]) == (True, ["done", "done"])
    np.testing.assert_array_equal(images(parts)["images"], images(whole)["images"])
    assert compare_run(parts) == read_json(whole.hardware / "comparison.json")


def test_jobs_of_a_split_step_are_all_sent_before_the_first_is_waited_for(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardware.service import limits

    monkeypatch.setattr(limits, "MAX_PARAMETER_SETS_PER_JOB", 2)
    hardware.infer(run, options(qpu_steps=[1]))
    events = [(row["event"], row["part"]) for row in read_jsonl(run.hardware / "jobs.jsonl")]
    assert events == [("submitted", 0), ("submitted", 1), ("done", 0), ("done", 1)]
    assert read_json(run.hardware / "comparison.json")["parameter_sets"] == 3


def test_a_job_with_a_wrong_result_is_recorded_and_sent_anew_on_resume(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardware.primitives import execution

    with monkeypatch.context() as patch:
        patch.setattr(execution, "_raw_result", lambda job: None)
        with pytest.raises(HardwareError, match="no measured bits"):
            hardware.infer(run, options())
    assert [row["event"] for row in read_jsonl(run.hardware / "jobs.jsonl")] == ["submitted", "failed"]
    hardware.infer(run, options(), resume=True)
    assert [row["step"] for row in sent(run)] == [0, 0, 2]


def test_a_budget_too_small_leaves_nothing_behind(run: RunDirectory) -> None:
    with pytest.raises(BudgetError):
        hardware.infer(run, options(budget_seconds=0.5))
    assert not run.hardware.exists()


def test_resuming_with_other_options_is_refused(run: RunDirectory) -> None:
    hardware.infer(run, options())
    with pytest.raises(HardwareError, match=r"other options \(shots: 128 there, 256 here\)"):
        hardware.infer(run, options(shots=256), resume=True)
    # It is finished, so it stands in the way of no other that begins anew.
    hardware.submit(run, options(seed=4))
    assert json.loads((run.hardware / "plan.json").read_text())["config"]["seed"] == 4


def test_a_checkpoint_with_another_circuit_than_the_stored_one_is_refused(run: RunDirectory) -> None:
    hardware.plan(run, options())
    other = tiny_config(ansatz="real_amplitudes")
    (run.config_file).write_text(json.dumps(other.model_dump()))
    write_checkpoint(run, other, 0)
    with pytest.raises(HardwareError, match="another circuit"):
        hardware.fetch(run)


def test_a_checkpoint_with_other_weights_is_refused(run: RunDirectory) -> None:
    hardware.plan(run, options())
    write_checkpoint(run, tiny_config(), seed=1)
    with pytest.raises(HardwareError, match="another model"):
        hardware.fetch(run)


def test_a_classical_model_has_nothing_to_run(tmp_path: Path) -> None:
    config = build_config({"model": {"channels": [8, 8, 8], "time_dim": 8, "bottleneck": {"core": "se"}}})
    run = RunDirectory.create(tmp_path / "se", config)
    model = build_model(config, 1)
    save_checkpoint(run, config, 1, model, model, {}, (1, 8, 8))
    with pytest.raises(HardwareError, match="no circuit to run"):
        hardware.plan(run, options())


def test_what_is_missing_is_named(tmp_path: Path, run: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        hardware.plan(tmp_path, options())
    with pytest.raises(HardwareError, match="no hardware plan"):
        hardware.fetch(run)
    hardware.plan(run, options())
    with pytest.raises(HardwareError, match="no result of a device yet"):
        compare_run(run)


def test_sensitivity_is_deterministic_and_largest_where_the_gate_matters(run: RunDirectory) -> None:
    checkpoint = load_checkpoint(run.path)
    process = ReverseProcess(checkpoint, 4, [0, 1])
    first = measure_sensitivity(process)
    assert first == measure_sensitivity(process)
    assert len(first) == 4
    assert min(first) > 0
    # Without a way from the circuit to the images there is nothing to be sensitive to.
    checkpoint.model.bottleneck.excite.weight.data.zero_()
    assert measure_sensitivity(process) == [0.0] * 4
