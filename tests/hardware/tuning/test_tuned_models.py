"""`hardware.tune`: the map refitted to stored results, for nothing; a run directory like any other comes of it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hardware_runs import Command, conditional_run, write_checkpoint
from safetensors.numpy import load_file

import hardware
from hardware.comparison.expectation_values import NoisySimulation
from hardware.errors import HardwareError
from hardware.inference.results import read_results
from hardware.inference.workload import planned_workload
from hardware.tuning.tuned_model import refit_run, trained_values
from hardware.tuning.tuned_run import TUNING_FILE
from qhybrid.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from qhybrid.config import HardwareConfig, SamplingConfig, build_config
from qhybrid.data import load_data
from qhybrid.data.labels import LabelSpace
from qhybrid.files import read_json, write_json
from qhybrid.models.build import build_model
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import sample

BLIND = {"sees": ["class", "time"]}
OPTIONS = HardwareConfig(backend="fake_torino", images=10, steps=4, qpu_steps="all", shots=1024, pack=2, seed=3)


def one_job_run(folder: Path) -> RunDirectory:
    return conditional_run(folder, classes=10, qubits=2, **BLIND)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A one-job run that has been on the local copy of a device."""
    run = one_job_run(tmp_path_factory.mktemp("measured") / "run")
    hardware.infer(run, OPTIONS)
    return run


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def map_of(run: RunDirectory) -> tuple[np.ndarray, np.ndarray]:
    excite = load_checkpoint(run.path).model.bottleneck.excite
    return tuple(values.detach().double().numpy() for values in (excite.weight, excite.bias))  # type: ignore[return-value]


def test_the_map_is_better_on_a_later_run_and_about_as_good_as_least_squares_can_be(
    measured: RunDirectory, tmp_path: Path
) -> None:
    before = contents(measured.path)
    lines: list[str] = []
    tuned = hardware.tune(measured, out=tmp_path / "tuned", echo=lines.append)
    assert contents(measured.path) == before
    assert "linear map refitted" in lines[0]
    assert tuned.record["refit"]["points"] == 40
    assert tuned.record["steps"] is None

    # Results at other denoising steps, with other chance, that the fit has not seen.
    later = hardware.infer(tuned.run, OPTIONS.model_copy(update={"steps": 5, "seed": 100}))
    assert later["parameter_sets"] == 50
    workload = planned_workload(tuned.run)
    fresh = read_results(tuned.run.hardware, workload.plan)
    weight, bias = map_of(measured)
    wanted = workload.process.exact.values(fresh.angles) @ weight.T + bias

    def error(matrix: np.ndarray, shift: np.ndarray) -> float:
        return float(np.sqrt(np.mean((fresh.values @ matrix.T + shift - wanted) ** 2)))

    # numpy's least squares, on the stored results; only the circuit's own exact values are the product's.
    stored = read_results(measured.hardware, planned_workload(measured).plan)
    target = workload.process.exact.values(stored.angles) @ weight.T + bias
    solution = np.linalg.lstsq(np.column_stack([stored.values, np.ones(40)]), target, rcond=None)[0]
    assert error(*map_of(tuned.run)) < 0.9 * error(weight, bias)
    assert error(*map_of(tuned.run)) < 1.05 * error(solution[:-1].T, solution[-1])


def test_the_tuned_run_differs_in_the_map_alone_and_is_sampled_and_run_like_any_other(
    measured: RunDirectory, tmp_path: Path, command: Command
) -> None:
    code, out, _ = command("tune", measured.path, "--out", tmp_path / "tuned")
    assert (code, "linear map refitted" in out, f"tuned model: {tmp_path / 'tuned'}" in out) == (0, True, True)
    run = RunDirectory.open(tmp_path / "tuned")
    for name in ("model", "ema"):
        old = load_file(measured.checkpoints / "step-1" / "ema.safetensors")
        new = load_file(run.checkpoints / "step-1" / f"{name}.safetensors")
        changed = {key for key in old if not np.array_equal(old[key], new[key])}
        assert changed == {"bottleneck.excite.weight", "bottleneck.excite.bias"}
        assert new.keys() == old.keys()
    record = read_json(run.path / TUNING_FILE)
    assert record["options"] == {
        "backend": "fake_torino", "primitive": "estimator", "level": 0, "rescale": False, "shots": 1024
    }  # fmt: skip
    assert (record["checkpoint"], record["refit"]["held"]) == ("step-1", True)
    sample(run.path, SamplingConfig(steps=2, images=4))
    # Without options it runs as it was tuned.
    code, out, _ = command("infer", run.path)
    assert code == 0
    assert read_json(run.hardware / "plan.json")["config"]["shots"] == 1024
    assert "tuned to" not in out
    code, out, _ = command("infer", run.path, "--rescale")
    assert (code, "this model was tuned to the outputs of rescale False" in out) == (0, True)
    code, _, err = command("tune", measured.path, "--out", tmp_path / "tuned")
    assert (code, err.count("\n"), "exists: choose another --out" in err) == (2, 1, True)


def test_the_default_place_is_beside_the_run(measured: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(measured.path)
    tuned = hardware.tune(".")
    assert tuned.run.path.resolve() == measured.path.with_name("run-tuned").resolve()


def test_a_model_trained_under_noise_is_fitted_to_what_it_saw_in_training(tmp_path: Path) -> None:
    """Its map expects shrunk values, so that exact ones are no target for it."""
    checkpoint = load_checkpoint(one_job_run(tmp_path / "plain").path)
    noisy = checkpoint.config.model_dump()
    noisy["quantum"] |= {"noise": {"device": "fake_torino"}, "shots": 100}
    config = build_config(noisy)
    run = RunDirectory.create(tmp_path / "noisy", config)
    save_checkpoint(run, config, 1, checkpoint.model, checkpoint.model, {}, (1, 8, 8), checkpoint.labels)
    hardware.plan(run, OPTIONS.model_copy(update={"pack": 1}))
    workload = planned_workload(run, offline=True)
    angles = np.random.default_rng(0).uniform(-3, 3, (20, 2))
    exact = workload.process.exact.values(angles)
    # Aer's noise model of the same qubits.
    expected = NoisySimulation(workload).values(angles, np.zeros(20, dtype=np.int64))
    found = trained_values(workload.checkpoint, angles)
    assert np.abs(found - expected).max() < 0.1 * np.abs(exact - expected).max()
    np.testing.assert_allclose(trained_values(checkpoint, angles), exact, atol=1e-6)


def test_rescaled_values_are_what_is_fitted_where_the_run_rescales(tmp_path: Path) -> None:
    run = one_job_run(tmp_path / "run")
    compared = hardware.infer(run, OPTIONS.model_copy(update={"rescale": True, "shots": 8192}))
    assert compared["rescaling"]["held"]
    weight, _ = map_of(run)
    rescaled, _ = refit_run(planned_workload(run))
    hardware.infer(run, OPTIONS.model_copy(update={"shots": 8192}))
    measured, _ = refit_run(planned_workload(run))
    # What is undone already is not undone once more.
    assert np.linalg.norm(rescaled.weight - weight) < 0.3 * np.linalg.norm(measured.weight - weight)


def test_an_unconditional_model_that_sees_the_image_is_refitted_as_well(tmp_path: Path) -> None:
    config = build_config(
        {
            "name": "tiny",
            "model": {"channels": [8, 8, 8], "time_dim": 8},
            "quantum": {"qubits": 3, "layers": 1},
            "diffusion": {"timesteps": 50},
        }
    )
    run = RunDirectory.create(tmp_path / "run", config)
    write_checkpoint(run, config, 0)
    hardware.infer(run, OPTIONS.model_copy(update={"images": 8, "pack": 1}))
    assert hardware.tune(run).record["refit"]["points"] == 32


def test_bad_input_is_one_line(measured: RunDirectory, tmp_path: Path, command: Command) -> None:
    fresh = one_job_run(tmp_path / "fresh")
    planned = one_job_run(tmp_path / "planned")
    hardware.plan(planned, OPTIONS)
    values = load_checkpoint(fresh.path).config.model_dump()
    values["model"]["bottleneck"] = {"core": "se", **BLIND}
    classical = build_config(values)
    without = RunDirectory.create(tmp_path / "classical", classical)
    labels = LabelSpace.of(load_data(classical.data))
    model = build_model(classical, 1, classes=len(labels.names))
    save_checkpoint(without, classical, 1, model, model, {}, (1, 8, 8), labels)
    cases = {
        (fresh.path,): "has no hardware plan: run `qhybrid hardware plan` or `infer` first",
        (planned.path,): "has no result of a device yet",
        (without.path,): "has no circuit: there is nothing to tune to a device",
        (tmp_path,): "is not a run directory",
        (measured.path, "--backend", "fake_kingston"): "holds results of `fake_torino`, and not of `fake_kingston`",
        (measured.path, "--budget-seconds", "0"): "--budget-seconds 0: give a positive number of seconds",
        (measured.path, "--budget-seconds", "nan"): "--budget-seconds nan: give a positive number of seconds",
        (measured.path, "--spsa-steps", "-1"): "--spsa-steps -1",
        (measured.path, "--spsa-steps", "1", "--circuits", "0"): "--circuits 0",
        (measured.path, "--spsa-steps", "1", "--learning-rate", "inf"): "--learning-rate inf",
        (measured.path, "--spsa-steps", "1", "--seed", "-2"): "--seed -2",
    }
    for arguments, words in cases.items():
        before = contents(measured.path)
        code, _, err = command("tune", *arguments, "--out", tmp_path / "out")
        assert (code, len(err.strip().splitlines()), words in err) == (2, 1, True), (arguments, err)
        assert not (tmp_path / "out").exists()
        assert contents(measured.path) == before
    assert not list(tmp_path.glob(".out*"))


def test_a_damaged_record_is_said_to_be_so(measured: RunDirectory, tmp_path: Path, command: Command) -> None:
    hardware.tune(measured, out=tmp_path / "tuned")
    write_json(tmp_path / "tuned" / TUNING_FILE, {"options": 3})
    code, _, err = command("infer", tmp_path / "tuned")
    assert (code, TUNING_FILE in err, len(err.strip().splitlines())) == (2, True, 1)


def test_too_few_points_are_refused(tmp_path: Path) -> None:
    run = one_job_run(tmp_path / "run")
    hardware.infer(run, OPTIONS.model_copy(update={"images": 1, "shots": 16, "pack": 1}))
    with pytest.raises(HardwareError, match=r"4 points are too few .*: take 10: there is nothing to tune, unless by"):
        hardware.tune(run)
    assert not run.path.with_name("run-tuned").exists()
