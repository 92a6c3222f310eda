"""A finished run without its device."""

from pathlib import Path

import numpy as np
import pytest
from hardware_runs import MakeRun, tiny_config, write_checkpoint

import hardware
from hardware.errors import BackendError, HardwareError
from hardware.inference import workload
from hardware.jobs import runner
from hardware.runs.stages import compare_run
from hardware.service import backends
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="fake_torino", images=4, steps=3, qpu_steps=[0, 2], shots=128, pack=2)
REPLAY = OPTIONS.model_copy(update={"backend": "replay"})


def no_device(*given: object, **options: object) -> object:
    raise AssertionError("no device may be opened, no job sent")


def test_a_finished_run_is_replayed_without_its_device(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    before = hardware.infer(run, OPTIONS)
    images = np.load(run.hardware / "images.npz")["images"]
    jobs = (run.hardware / "jobs.jsonl").read_bytes()
    (run.hardware / "images.npz").unlink()

    monkeypatch.setattr(workload, "open_backend", no_device)
    monkeypatch.setattr(runner, "job_sender", no_device)
    monkeypatch.setattr(backends, "snapshot", no_device)
    lines: list[str] = []
    again = hardware.infer(run, REPLAY, echo=lines.append)
    np.testing.assert_array_equal(np.load(run.hardware / "images.npz")["images"], images)
    assert again["device_against_exact"] == before["device_against_exact"]
    assert again["device_against_noisy"]["rms"] == pytest.approx(before["device_against_noisy"]["rms"], rel=1e-6)
    assert (run.hardware / "jobs.jsonl").read_bytes() == jobs
    assert "replaying 2 jobs of fake_torino, calibrated 20" in lines[0]
    assert compare_run(run) == again


def test_the_calibration_of_the_day_is_kept(make_run: MakeRun) -> None:
    run = make_run()
    plan = hardware.plan(run, OPTIONS)
    saved = run.hardware / "calibration.json"
    assert read_json(saved)["calibrated"] == plan.calibrated
    again = hardware.plan(run, OPTIONS.model_copy(update={"backend": str(saved)}))
    assert again.patches == plan.patches
    assert again.calibrated == plan.calibrated


def test_what_cannot_be_replayed_is_said(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(HardwareError, match="no hardware run to replay"):
        hardware.infer(run, REPLAY)
    hardware.submit(run, OPTIONS)
    with pytest.raises(HardwareError, match="no result of denoising step 2"):
        hardware.infer(run, REPLAY)
    with pytest.raises(BackendError, match="`replay` is for `infer`"):
        hardware.plan(run, REPLAY)
    hardware.infer(run, OPTIONS, resume=True)
    write_checkpoint(run, tiny_config(), seed=1)
    with pytest.raises(HardwareError, match="another model"):
        hardware.infer(run, REPLAY)


def test_results_of_other_parameters_are_not_taken(run: RunDirectory, tmp_path: Path) -> None:
    hardware.infer(run, OPTIONS)
    for path in (run.hardware / "results").glob("*.npz"):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        arrays["angles"] = arrays["angles"] + 0.1
        np.savez(path, **arrays)
    with pytest.raises(HardwareError, match="step 0 belong to other parameters"):
        hardware.infer(run, REPLAY)


@pytest.mark.parametrize("left", [False, True])
def test_the_calibration_of_an_earlier_device_is_not_taken_for_the_present_one(run: RunDirectory, left: bool) -> None:
    hardware.infer(run, OPTIONS)
    old = (run.hardware / "calibration.json").read_bytes()
    on_simulator = OPTIONS.model_copy(update={"backend": "aer"})
    expected = hardware.infer(run, on_simulator)
    # Neither stays beside results that they do not belong to.
    assert not (run.hardware / "calibration.json").exists()
    assert not (run.hardware / "noise_model.json").exists()
    if left:
        # As a version before this one has left it.
        (run.hardware / "calibration.json").write_bytes(old)
    assert hardware.infer(run, REPLAY) == expected
