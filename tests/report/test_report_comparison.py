"""Runs listed and side by side: every number is the run's own, and what cannot be compared is said."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml

from qhybrid.evaluation.record import read_evaluation
from qhybrid.report.page import format_number
from qhybrid.rundir import RunDirectory


@pytest.fixture
def pair(judged, tmp_path):
    """The judged run and a copy of it whose images, name and numbers of steps differ."""
    runs = [RunDirectory(tmp_path / name) for name in ("first", "second")]
    for run in runs:
        shutil.copytree(judged.path, run.path)
    second = runs[1]
    config = yaml.safe_load(second.config_file.read_text())
    second.config_file.write_text(yaml.safe_dump(config | {"name": "other"}))
    found = read_evaluation(second)
    found["metrics"]["kid"] |= {"value": 0.7777, "interval": [0.66, 0.88]}
    second.evaluation_file.write_text(json.dumps(found))
    return runs


def test_runs_lists_what_each_holds(pair, tmp_path, command):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("name: [")
    code, out, err = command("runs", tmp_path)
    assert code == 0, err
    titles, *rows = out.splitlines()
    assert titles.split()[:4] == ["run", "data", "core", "steps"]
    assert [row.split()[0] for row in rows] == [str(tmp_path / name) for name in ("broken", "first", "second")]
    assert "cannot be read" in rows[0]
    assert "quantum, condition" in rows[1]
    assert "2/2" in rows[1]
    accuracy = read_evaluation(pair[0])["metrics"]["class_accuracy"]["value"]
    assert f"{accuracy:.3g} [" in rows[1]
    assert "0.778 [0.66, 0.88]" in rows[2]
    assert "0.778" not in rows[1]


def test_an_empty_folder_and_a_missing_one_are_told(tmp_path, command):
    assert command("runs", tmp_path)[1].strip() == f"no run directories in `{tmp_path}`"
    code, _, err = command("runs", tmp_path / "none")
    assert code == 2
    assert "is no folder" in err


def test_the_page_holds_each_runs_numbers_and_what_differs(pair, tmp_path, command):
    page = tmp_path / "page.html"
    code, out, err = command("compare", pair[0].path, pair[1].path, "--out", page)
    assert code == 0, err
    assert str(page) in out
    html = page.read_text()
    assert "0.778" in html
    assert format_number(read_evaluation(pair[0])["metrics"]["kid"]["value"]) in html
    assert "name: &#39;tiny&#39;, &#39;other&#39;" in html
    assert html.count("<img ") == 2
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert 'class="warn"' not in html


def test_images_side_by_side_are_of_equal_seeds_and_classes(pair, tmp_path, command, monkeypatch):
    from qhybrid.report import comparison

    with np.load(pair[1].images_file) as file:
        arrays = dict(file)
    # The second run has its images in another order, and another class at seed 0.
    order = np.arange(len(arrays["seeds"]))[::-1]
    arrays = {name: array[order].copy() for name, array in arrays.items()}
    arrays["labels"][-1] = (arrays["labels"][-1] + 1) % 10
    np.savez(pair[1].images_file, **arrays)
    drawn = {}
    monkeypatch.setattr(comparison, "labelled_rows", lambda rows, path: (drawn.update(rows), path.write_bytes(b"")))
    assert command("compare", pair[0].path, pair[1].path, "--out", tmp_path / "page.html")[0] == 0
    assert drawn["first"].shape == (12, 8, 8)
    assert np.array_equal(drawn["first"], drawn["second"])
    with np.load(pair[0].images_file) as file:
        assert np.array_equal(drawn["first"], file["images"][1:13])


def test_what_cannot_be_compared_is_said(pair, tmp_path, command):
    found = read_evaluation(pair[1])
    found["features"]["hash"] = "0" * 64
    found["n_generated"] = 50
    pair[1].evaluation_file.write_text(json.dumps(found))
    command("compare", pair[0].path, pair[1].path, "--out", tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "different classifiers" in html
    assert "different numbers of images" in html
    pair[1].evaluation_file.unlink()
    command("compare", pair[0].path, pair[1].path, "--out", tmp_path / "page.html")
    assert "not judged yet" in (tmp_path / "page.html").read_text()


def test_one_run_or_one_twice_is_refused(pair, tmp_path, command):
    for runs, text in (
        ([pair[0].path], "two runs"),
        ([pair[0].path] * 2, "twice"),
        ([tmp_path, pair[0].path], "not a"),
    ):
        code, _, err = command("compare", *runs, "--out", tmp_path / "page.html")
        assert code == 2
        assert text in err
        assert not (tmp_path / "page.html").exists()
