"""One run at several levels and packings."""

import numpy as np
import pytest
from hardware_runs import MakeRun

import hardware
from hardware.comparison import expectation_values as compare
from hardware.errors import HardwareError
from hardware.inference import workload
from hardware.jobs import runner
from hardware.runs.stages import compare_run
from hardware.runs.variants import compare_variants
from qhybrid.config import HardwareConfig
from qhybrid.errors import ConfigError
from qhybrid.files import read_json
from qhybrid.quantum import load_noise_model
from qhybrid.quantum.devices.snapshots import crop, noise_model, snapshot
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="fake_torino", images=4, steps=3, qpu_steps=[1, 2], shots=512, pack=1)


@pytest.fixture(autouse=True)
def _no_other_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "draw_layout", lambda *arguments: None)
    monkeypatch.setattr(compare, "draw_comparison", lambda *arguments: None)


def test_levels_and_packings_stand_in_one_table(make_run: MakeRun) -> None:
    run = make_run(layers=2)
    hardware.infer(run, OPTIONS)
    images = (run.hardware / "images.npz").read_bytes()
    found = compare_variants(run, ["0", "2", "sampler"], [1])
    both = compare_variants(run, ["0"], [1, 2])

    rows = {row["name"]: row for row in found["variants"]}
    names = ["noisy simulation", *(f"{name}, 1 at a time" for name in ("level 0", "level 2", "sampler"))]
    assert list(rows) == names
    executions = [rows[name]["executions"] for name in names]
    assert executions[:2] == [0, 2 * 4 * 512]
    assert executions[2] > 3 * executions[1]
    assert executions[3] == 2 * (4 + 2) * 512
    for row in rows.values():
        assert 0 < row["rms"] < 0.5
        assert 0 < row["images"]["rms"] < 0.5
        assert 0 < row["images"]["ssim"] < 1
        assert abs(row["bias"]) <= row["rms"]

    assert [row["pack"] for row in both["variants"]] == [1, 1, 2]
    assert both["variants"][2]["executions"] == both["variants"][1]["executions"] / 2
    # The same numbers again, from the same results.
    assert both["variants"][1] == rows["level 0, 1 at a time"]
    # Level 0 is the run itself once more: its own job, its own noise of the same seed.
    assert rows["level 0, 1 at a time"]["rms"] == found["device_against_exact"]["rms"]

    assert (run.hardware / "images.npz").read_bytes() == images
    assert (run.hardware / "variants.png").read_bytes().startswith(b"\x89PNG")
    assert read_json(run.hardware / "comparison.json") == both


def test_a_packed_run_is_compared_with_its_images_one_by_one(run: RunDirectory) -> None:
    """What packing costs in accuracy stands in the table unasked, where it costs nothing."""
    hardware.infer(run, OPTIONS.model_copy(update={"pack": 2, "qpu_steps": [1]}))
    found = compare_variants(run, [])
    names = ["noisy simulation", "level 0, 2 at a time", "level 0, 1 at a time"]
    assert [row["name"] for row in found["variants"]] == names
    # A comparison of the run alone keeps the variants that were made.
    assert compare_run(run) == found
    assert [row["name"] for row in compare_variants(run, ["0"], [2])["variants"]] == names[:2]


def test_variants_that_are_there_are_not_run_again(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware.infer(run, OPTIONS)
    first = compare_variants(run, ["1"])
    monkeypatch.setattr(runner, "job_sender", None)
    assert compare_variants(run, ["1"]) == first


def test_a_run_with_other_options_has_variants_of_its_own(run: RunDirectory) -> None:
    small = OPTIONS.model_copy(update={"images": 1, "qpu_steps": [1], "shots": 64})
    found = []
    for options in (small, small.model_copy(update={"shots": 128}), small):
        hardware.infer(run, options)
        found.append(compare_variants(run, ["0"])["variants"])
    assert [rows[1]["executions"] for rows in found] == [64, 128, 64]
    assert found[2] == found[0]


def test_what_cannot_be_compared_is_said(run: RunDirectory) -> None:
    with pytest.raises(HardwareError, match="no finished run to vary"):
        compare_variants(run, ["0"])
    with pytest.raises(HardwareError, match="level `3` is unknown: choose of 0, 1, 2, sampler, or rescale"):
        compare_variants(run, ["0", "3"])


def test_a_level_that_does_not_go_with_the_runs_options_is_said_before_any_is_run(run: RunDirectory) -> None:
    options = {"backend": "fake_fractional", "fractional_gates": True, "images": 1, "qpu_steps": [1]}
    hardware.infer(run, OPTIONS.model_copy(update=options))
    with pytest.raises(ConfigError, match="`fractional_gates` can be neither twirled nor folded"):
        compare_variants(run, ["0", "2"])
    assert not (run.hardware / "variants").exists()


def test_the_noise_model_of_the_day_is_kept(run: RunDirectory) -> None:
    hardware.infer(run, OPTIONS)
    stored = read_json(run.hardware / "noise_model.json")
    assert stored["calibrated"] == read_json(run.hardware / "plan.json")["calibrated"]
    assert len(stored["qubits"]) == 3
    model = load_noise_model(run.hardware / "noise_model.json")
    assert model == noise_model(crop(snapshot("fake_torino"), stored["qubits"]))
    assert set(model._local_quantum_errors["cz"]) >= {(0, 1), (1, 2)}
    assert compare_run(run)["device_against_exact"]["n"] == 2 * 4 * 3
    assert np.isfinite(compare_run(run)["standard_error"])
