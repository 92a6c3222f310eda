"""A report of files that are damaged or of another kind: one line that names the file, or a page; nothing else."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report import COMPARISON, PLAN, TRANSPILED, VARIANTS, log_training

from qhybrid.files import write_json
from qhybrid.report.page import write_report
from qhybrid.rundir import RunDirectory

sys.path.append(str(Path(__file__).parents[1] / "fuzz"))

from fuzzing import altered, as_json, inputs, survives

LINE = {"patch": 0, "layout": [99, 92], "estimated_success": 0.9163, "readout_errors": [0.01, None, 0.02]}
SHARE = {"value": 0.5, "interval": [0.1, 0.9]}
FILES = {
    "hardware/plan.json": {**PLAN, "patches": [LINE, {**LINE, "patch": 1}]},
    "hardware/comparison.json": {
        **COMPARISON,
        "variants": VARIANTS,
        "by_patch": [{"patch": 1, "rms": 0.0523}],
        "class_accuracy": {"n": 16, "exact": SHARE, "noisy": SHARE, "device": SHARE},
    },
    "hardware/transpiled.json": TRANSPILED,
}


@pytest.fixture(scope="module")
def complete(judged, tmp_path_factory):
    """A judged run with a device's files and without what takes long to draw."""
    run = RunDirectory(tmp_path_factory.mktemp("damaged") / "run")
    shutil.copytree(judged.path, run.path, ignore=shutil.ignore_patterns("checkpoints"))
    for name, content in FILES.items():
        write_json(run.path / name, content)
    log_training(run)
    write_report(run)
    return run


@pytest.fixture
def place(complete, tmp_path):
    """A copy of it, for damage."""
    shutil.copytree(complete.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


@pytest.mark.parametrize("name", ["evaluation.json", "meta.json", *FILES])
def test_a_damaged_file_is_one_line_that_names_it(place, command, name):
    path = place.path / name
    whole = path.read_text()
    for content in (whole[: len(whole) // 2], "", "[]", "null", "3", "[" * 100_000):
        path.write_text(content)
        code, _, err = command("report", place.path)
        assert code == 2, content[:20]
        assert len(err.splitlines()) == 1
        assert str(path) in err


def _without(tree, path):
    copied = json.loads(json.dumps(tree))
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return copied


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("evaluation.json", ["metrics"]),
        ("evaluation.json", ["features", "accuracy"]),
        ("evaluation.json", ["metrics", "kid", "value"]),
        ("evaluation.json", ["reliance", "untouched", "loss"]),
        ("evaluation.json", ["reliance", "outputs", "mean", "difference", "class_accuracy"]),
        ("evaluation.json", ["reliance", "outputs", "shrunk", "factors"]),
        ("hardware/plan.json", ["backend"]),
        ("hardware/plan.json", ["patches", 1, "layout"]),
        ("hardware/comparison.json", ["device_against_exact", "rms"]),
        ("hardware/comparison.json", ["variants", 1, "images", "ssim"]),
        ("hardware/transpiled.json", ["report", "depth"]),
    ],
)
def test_a_file_that_lacks_a_key_is_one_line_that_names_both(place, command, name, path):
    file = place.path / name
    file.write_text(json.dumps(_without(json.loads(file.read_text()), path)))
    code, _, err = command("report", place.path)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert str(file) in err
    assert f"{path[-1]}`" in err


@pytest.mark.parametrize("metric", ["kid", "class_histogram"])
def test_a_metric_that_was_not_measured_is_left_out(place, metric):
    content = json.loads(place.evaluation_file.read_text())
    write_json(place.evaluation_file, _without(content, ["metrics", metric]))
    assert "How good are they?" in write_report(place).read_text()


def test_a_row_of_the_training_that_is_none_is_named(place, command):
    rows = place.train_log.read_text().splitlines()
    for number, row in ((1, "[]"), (2, "{}"), (2, rows[1].replace('"loss"', '"lost"')), (3, '{"step": 1}')):
        place.train_log.write_text("\n".join([*rows[: number - 1], row, *rows[number:]]) + "\n")
        code, _, err = command("report", place.path)
        assert code == 2, row
        assert str(place.train_log) in err
        assert str(number) in err


def test_a_gradient_that_has_overflown_is_drawn(place):
    place.train_log.write_text(place.train_log.read_text().replace('"bottleneck": 0.02', '"bottleneck": Infinity'))
    assert "Training" in write_report(place).read_text()


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.array(3)},
        {"images": np.zeros((2, 8, 8))},
        {"images": np.zeros((2, 8, 8), np.uint8), "exact": np.zeros((3, 8, 8), np.uint8)},
        {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros((3,), np.int64)},
        {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.array(["x", "y"])},
    ],
)
def test_images_of_a_device_that_are_none_are_one_line(place, command, arrays):
    np.savez(place.hardware / "images.npz", **arrays)
    code, _, err = command("report", place.path)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "hardware/images.npz" in err


@inputs(400, 8)
@given(data=st.data())
def test_altered_files_give_a_page_or_one_line(data, complete):
    name = data.draw(st.sampled_from(["evaluation.json", "evaluation.json", "train.jsonl", "meta.json", *FILES]))
    file = complete.path / name
    whole = file.read_text()
    if name == "train.jsonl":
        new = "".join(as_json(data.draw(altered(json.loads(line)))) + "\n" for line in whole.splitlines())
    else:
        new = as_json(data.draw(altered(json.loads(whole))))
    try:
        file.write_text(new)
        survives(f"report: {name}", lambda: write_report(complete))
    finally:
        file.write_text(whole)
