import json

import numpy as np
from PIL import Image

from qhybrid.config import build_config
from qhybrid.files import read_json, write_json
from qhybrid.report.page import format_number, typeset, write_report
from qhybrid.report.reliance_view import class_rows, reliance_rows
from qhybrid.report.summary import core_in_words, first_lines


def test_the_first_screen_and_the_parts_of_a_conditional_model(judged, digits):
    html = write_report(judged).read_text()
    result = read_json(judged.evaluation_file)
    start = html[: html.index('<div class="cards">')]
    assert start.count('<p class="sub">') == 3
    assert "Class-conditional diffusion model of digits (1,259 images, 2 steps)" in start
    assert "a circuit (<code>quantum</code>, 2 qubits, 4 weights) as a condition" in start
    assert "the only way in for the class" in start
    accuracy = result["metrics"]["class_accuracy"]
    assert f"{accuracy['value']:.1%} of 100 images show the class asked for" in start
    assert str(typeset(result["reliance"]["statement"])) in start
    assert html.index("A row for each class asked for") < html.index("How good are they?")
    assert "How much do they rely on the circuit?" in html
    assert "Class by class" in html
    assert "shrunk as on fake_manila" in html
    for name in ("zeroed", "mean", "shuffled", "shrunk"):
        entry = result["reliance"]["outputs"][name]
        assert format_number(entry["class_accuracy"]["value"]) in html
        assert format_number(entry["difference"]["loss"]["value"]) in html
    for row in accuracy["by_class"].values():
        assert f"<b>{row['value']:.3f}</b>" in html


def test_each_row_of_the_first_picture_is_one_class(judged, digits):
    with np.load(judged.images_file) as file:
        images, labels = file["images"], file["labels"]
    picture = np.array(Image.open(judged.path / "evaluation" / "generated.png").convert("L"))
    cell = 64
    margin = picture.shape[1] - (10 * (cell + 4) + 4)
    assert margin > 0
    assert picture.shape[0] == 10 * (cell + 4) + 4
    for label in (0, 3, 9):
        for place in (0, 9):
            top, left = 4 + label * (cell + 4), margin + 4 + place * (cell + 4)
            expected = images[labels == label][place]
            assert np.array_equal(picture[top : top + cell : 8, left : left + cell : 8], expected)


def test_an_evaluation_of_an_older_version_has_a_report(judged, tmp_path):
    result = read_json(judged.evaluation_file)
    older = {**result, "metrics": {k: v for k, v in result["metrics"].items() if k in ("kid", "fid", "recall")}}
    older["metrics"] |= {k: result["metrics"][k] for k in ("mean_top_probability", "class_histogram")}
    older["metrics"] |= {"memorisation_share": result["metrics"]["memorisation_share"]}
    older.pop("reliance")
    write_json(judged.evaluation_file, older)
    try:
        html = write_report(judged).read_text()
    finally:
        write_json(judged.evaluation_file, result)
    assert "rely on the circuit?" not in html
    assert "<code>qhybrid evaluate --reliance</code>" in html


def test_sentences_are_typeset_and_escaped():
    minus = "\N{MINUS SIGN}"
    found = typeset("`a<b>` is -1.5 to [-2, +3], not x-1")
    assert found == f"<code>a&lt;b&gt;</code> is {minus}1.5 to [{minus}2, +3], not x-1"


def test_device_images_stand_under_their_classes_in_one_order(judged, digits):
    write_json(
        judged.hardware / "plan.json",
        {"backend": "fake_manila", "mode": "job", "jobs": 1, "shots": 9, "executions": 9, "seconds": 1.0}
        | {"budget_seconds": None},
    )
    images = digits.test[:12, ..., 0]
    np.savez(
        judged.hardware / "images.npz",
        images=images,
        exact=images[:, ::-1],
        seeds=np.arange(12),
        labels=digits.test_labels[:12],
    )
    with_classes = write_report(judged).read_text()
    np.savez(judged.hardware / "images.npz", images=images, exact=images[:, ::-1], seeds=np.arange(12))
    without = write_report(judged).read_text()
    assert "in the same order" in with_classes
    assert len(with_classes) > len(without)  # the classes above the columns are part of the picture


def test_lines_before_anything_was_measured():
    config = build_config({"name": "test", "model": {"bottleneck": {"core": "none"}}})
    lines = first_lines(config, None, None)
    assert len(lines) == 3
    assert "no core in the bottleneck" in lines[0]
    assert "`qhybrid evaluate`" in lines[1]
    assert "`qhybrid evaluate --reliance`" in lines[2]
    classical = build_config({"name": "test", "model": {"bottleneck": {"core": "se"}}})
    assert core_in_words(classical) == "the core `se` as a gate on the deepest features"


def test_rows_say_what_was_not_measured():
    measures = {"kid": {"value": 0.1, "interval": [0, 1]}, "loss": {"value": 0.2, "interval": [0, 1]}}
    entry = {**measures, "difference": measures, "pixel_difference": {"value": 1.0}}
    outputs = {"zeroed": entry, "mean": entry, "shuffled": entry, "shrunk": {"reason": "no circuit"}}
    rows = reliance_rows({"untouched": measures, "outputs": outputs})
    assert [row["title"] for row in rows][:2] == ["untouched", "set to zero"]
    assert rows[0]["pixel_difference"] is None
    assert rows[-1]["reason"] == "no circuit"
    assert class_rows({"kid": {}}) == []


def test_result_is_json(judged):
    json.dumps(read_json(judged.evaluation_file), allow_nan=False)
