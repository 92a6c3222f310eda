import json
import re

import numpy as np
import pytest

from qhybrid.config import build_config
from qhybrid.evaluation.evaluate import evaluate
from qhybrid.files import write_json
from qhybrid.pictures.grids import image_grid
from qhybrid.progress import duration
from qhybrid.report.page import format_number, write_report
from qhybrid.rundir import RunDirectory

PLAN = {
    "backend": "fake_torino",
    "device": "ibm_torino",
    "mode": "job",
    "jobs": 7,
    "shots": 1024,
    "executions": 114688,
    "seconds": 43.2,
    "budget_seconds": None,
    "images": 16,
    "steps": 8,
    "qpu_steps": [1, 2, 3],
    "level": 0,
    "open_plan_share": 0.07,
}
DIFFERENCE = {"n": 448, "rms": 0.04, "bias": 0.001, "z": {"mean": 0, "rms": 1.5, "beyond_2": 0.17, "largest": 4.0}}
COMPARISON = {
    "backend": "fake_torino",
    "shots": 1024,
    "standard_error": 0.028,
    "device_against_exact": DIFFERENCE,
    "noisy_against_exact": {key: DIFFERENCE[key] for key in ("n", "rms", "bias")},
    "device_against_noisy": None,
    "images": {"n": 16, "rms": 0.01, "ssim": 0.9912, "same_class": 0.9375, "feature_distance": 0.123},
}
VARIANT = {
    "name": "level 2, 8 at a time",
    "n": 448,
    "rms": 0.031,
    "bias": -0.002,
    "z_rms": 1.25,
    "beyond_2": 0.062,
    "images": COMPARISON["images"],
    "executions": 57344,
    "seconds": 28.5,
}
UNPRICED = {"name": "noisy simulation", "z_rms": None, "beyond_2": None, "executions": 0, "seconds": 0.0}
VARIANTS = [{**VARIANT, **UNPRICED, "images": {**COMPARISON["images"], "same_class": None}}, VARIANT]
TRANSPILED = {
    "layout": [81, 80, 92, 99],
    "report": {
        "estimated_success": 0.9163,
        "depth": 41,
        "two_qubit_depth": 7,
        "two_qubit_gates": 9,
        "method": "embedding 1 of 518",
    },
}


def log_training(run):
    rows = [
        {
            "step": step,
            "images_seen": 64 * step,
            "loss": 1 / step,
            "learning_rate": 3e-4,
            "gradient_norm": {"unet": 0.3, "bottleneck": 0.02, "circuit": 1e-3},
            "seconds": step / 10,
        }
        for step in (50, 100, 150)
    ]
    run.train_log.write_text("".join(json.dumps(row) + "\n" for row in rows))


def add_checkpoint(run):
    from qhybrid.checkpoints.checkpoint import save_checkpoint
    from qhybrid.models.build import build_model

    config = run.config()
    network = build_model(config, 1)
    save_checkpoint(run, config, 150, network, network, {}, (1, 8, 8))


def add_hardware(run, images):
    write_json(run.hardware / "plan.json", PLAN)
    write_json(run.hardware / "comparison.json", COMPARISON)
    write_json(run.hardware / "transpiled.json", TRANSPILED)
    np.savez(run.hardware / "images.npz", images=images[..., 0], exact=images[..., 0], seeds=np.arange(len(images)))
    for name in ("layout.png", "comparison.png"):
        image_grid(images[:1], run.hardware / name)


def headings(html):
    return re.findall(r"<h2>(.*?)</h2>", html)


def test_report_with_every_part(digits, cached, make_run):
    run = make_run(digits.val, data={"n_train": 50}, model={"channels": [8, 8, 8]})
    evaluate(run)
    log_training(run)
    add_checkpoint(run)
    add_hardware(run, digits.val[:16])
    html = write_report(run).read_text()
    assert headings(html) == [
        "Images",
        "How good are they?",
        "Training",
        "Circuit in the bottleneck",
        "On the device",
        "Repeat this run",
    ]
    # Generated, real, film, its last picture, classes, nearest, training, circuit, device images, comparison, layout.
    assert html.count("data:image/png;base64,") == 11
    for shown in (
        "n 179 against 359",
        "150",
        "No dead parameters",
        "43 s",
        "114,688",
        "0.916",
        "17.0 %",
        "(50 images, 150 steps)",
    ):
        assert shown in html
    assert "None" not in html.replace("None:", "")
    kid = json.loads(run.evaluation_file.read_text())["metrics"]["kid"]
    assert format_number(kid["value"]) in html
    assert f"[{format_number(kid['interval'][0])}, {format_number(kid['interval'][1])}]" in html


def test_report_shows_what_mitigation_gains(digits, tmp_path):
    run = RunDirectory.create(tmp_path / "run", build_config({"name": "test"}))
    add_hardware(run, digits.val[:16])
    plain = write_report(run).read_text()
    assert "What mitigation gains" not in plain
    assert "structural similarity 0.9912" in plain
    assert "94 % of them into their twin's class" in plain.replace("&#39;", "'")
    write_json(run.hardware / "comparison.json", {**COMPARISON, "variants": VARIANTS})
    image_grid(digits.val[:1], run.hardware / "variants.png")
    html = write_report(run).read_text()
    assert html.count("data:image/png;base64,") == plain.count("data:image/png;base64,") + 1
    for shown in (
        "What mitigation gains",
        "level 2, 8 at a time",
        "57,344",
        "1.25",
        "6.2 %",
        "28 s",
        "noisy simulation",
    ):
        assert shown in html
    assert "Feature distance" in html
    assert "None" not in html.replace("None:", "")
    # Without a classifier its columns are left out.
    write_json(run.hardware / "comparison.json", {**COMPARISON, "variants": VARIANTS[:1]})
    assert "Feature distance" not in write_report(run).read_text()


def test_report_lists_the_copies_of_a_packed_circuit(digits, tmp_path):
    run = RunDirectory.create(tmp_path / "run", build_config({"name": "test"}))
    add_hardware(run, digits.val[:4])
    line = {"patch": 0, "layout": [99, 92], "estimated_success": 0.9163, "readout_errors": [0.01, None, 0.02]}
    other = {"patch": 1, "layout": [68, 67], "estimated_success": 0.9004, "readout_errors": [None]}
    assert "Side by side" not in write_report(run).read_text()
    write_json(run.hardware / "plan.json", {**PLAN, "patches": [line, other]})
    write_json(run.hardware / "comparison.json", {**COMPARISON, "by_patch": [{"patch": 1, "rms": 0.0523}]})
    html = write_report(run).read_text()
    for shown in ("Side by side", "99, 92", "68, 67", "0.916", "1.50 %", "0.0523"):
        assert shown in html


def test_report_loads_nothing_from_outside(digits, cached, make_run):
    run = make_run(digits.val[:20])
    evaluate(run)
    html = write_report(run).read_text()
    assert not re.search(r"https?://|//[a-z]+\.", re.sub(r"base64,[^\"]*", "", html))
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', html))
    assert not re.search(r"<(link|script|iframe|object)|@import|url\(", html)


def test_report_of_a_run_that_has_only_begun(tmp_path):
    run = RunDirectory.create(tmp_path / "run", build_config({"name": "begun"}))
    assert headings(write_report(run).read_text()) == ["Repeat this run"]


@pytest.mark.parametrize(
    "missing", ["comparison.json", "comparison.png", "layout.png", "images.npz", "transpiled.json"]
)
def test_report_without_a_hardware_file(missing, digits, tmp_path):
    run = RunDirectory.create(tmp_path / "run", build_config({"name": "partial"}))
    add_hardware(run, digits.val[:4])
    whole = write_report(run).read_text()
    (run.hardware / missing).unlink()
    html = write_report(run).read_text()
    assert headings(html) == ["On the device", "Repeat this run"]
    assert len(html) < len(whole)


def test_plan_alone_with_the_fields_of_the_contract(tmp_path):
    run = RunDirectory.create(tmp_path / "run", build_config({"name": "planned"}))
    kept = ("backend", "mode", "jobs", "shots", "executions", "seconds", "budget_seconds")
    write_json(run.hardware / "plan.json", {key: PLAN[key] for key in kept} | {"budget_seconds": 600.0})
    html = write_report(run).read_text()
    assert "10 min" in html
    assert "fake_torino" in html


def test_dead_parameters_are_shown(make_run, digits):
    run = make_run(
        digits.val[:20],
        model={"bottleneck": {"core": "published"}, "channels": [8, 8, 8]},
        quantum={"allow_dead_parameters": True},
    )
    add_checkpoint(run)
    assert "48 dead parameters" in write_report(run).read_text()


def test_names_are_escaped(tmp_path):
    run = RunDirectory.create(
        tmp_path / "run", build_config({"name": "x", "data": {"name": "npz", "path": "<script>alert(1)</script>"}})
    )
    assert "<script>" not in write_report(run).read_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.05964, "0.0596"),
        (-0.0023, "\N{MINUS SIGN}0.0023"),
        (12345, "12,345"),
        (2e-5, "2.0e\N{MINUS SIGN}05"),
    ],
)
def test_numbers(value, text):
    assert format_number(value) == text


def test_durations():
    assert [duration(s) for s in (43.2, 600, 7500)] == ["43 s", "10 min 0 s", "2 h 5 min"]
