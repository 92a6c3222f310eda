"""A study's page: made of `study.json` alone, the same every time, and its sentences say what the numbers say."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from qhybrid.pictures.grids import pixel_rows
from qhybrid.studies.page import study_page
from qhybrid.studies.verdicts import outcome, roll_call, verdict

RECORDS = ("core", "device_pair", "noise_factorial", "placement", "published")


@pytest.fixture
def record(root):
    return lambda name: json.loads((root / "tests" / "benchmarks" / "results" / name / "study.json").read_text())


def test_a_record_gives_the_same_page_anywhere_and_fetches_nothing(root, tmp_path, command):
    results = root / "tests" / "benchmarks" / "results"
    for place in ("here", "there"):
        for name in RECORDS:
            (tmp_path / place / name).mkdir(parents=True)
            shutil.copy(results / name / "study.json", tmp_path / place / name)
    # Another process, order of hashes, language and time zone.
    elsewhere = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "de_DE.UTF-8"}
    write = "import sys; from pathlib import Path; from qhybrid.studies.page import write_study_page as w; "
    write += "[w(Path(name)) for name in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", write, *RECORDS], cwd=tmp_path / "there", env=elsewhere, check=True)
    for name in RECORDS:
        assert command("report", tmp_path / "here" / name)[0] == 0
        page = (tmp_path / "here" / name / "study.html").read_bytes()
        assert page == (tmp_path / "there" / name / "study.html").read_bytes()
        html = page.decode()
        assert not re.findall(r"(?:https?:)?//[\w.]+", html)
        assert not re.findall(r"<(?:link|script|iframe|object)\b|@import|url\(", html)
        assert set(re.findall(r'(?:src|href)="([^"]{0,22})', html)) <= {"data:image/png;base64,"}


def test_the_page_shows_every_number_of_the_record(record):
    result = record("core")
    html = study_page(result).replace("\N{MINUS SIGN}", "-")
    for view in (result, result["also"]["class_accuracy"]):
        for cell in view["cells"]:
            assert f"<b>{cell['mean']:.3g}</b>" in html
        for item in view["comparisons"]:
            assert "{:.3g} <span".format(item["difference"]) in html
            assert "[{:.3g}, {:.3g}]".format(*item["interval"]) in html
    assert html.count('class="forest"') == 10
    assert "10 of 10" in html
    shares = [
        run["metrics"]["memorisation_share"] for run in result["runs"] if run["levels"]["train.core"] == "fourier"
    ]
    assert f">{np.mean(shares):.3g}</td>" in html


def test_bars_stand_where_the_differences_are(record):
    result = record("core")
    html = study_page(result)
    bars = re.findall(r'<svg class="forest".*?</svg>', html)[:5]
    zero = float(re.search(r'"zero" d="M([\d.]+) ', bars[0])[1])
    places = [float(re.search(r'"disc" d="M([\d.]+) ', bar)[1]) - zero for bar in bars]
    differences = [item["difference"] for item in result["comparisons"]]
    assert np.corrcoef(places, differences)[0, 1] == pytest.approx(1, abs=1e-4)
    assert all((place > 0) == (difference > 0) for place, difference in zip(places, differences, strict=True))


def test_verdicts_say_what_the_numbers_say(record):
    frozen, product, se, *_ = record("core")["comparisons"]
    assert verdict(frozen, "kid") == (
        "`quantum_frozen` against `quantum`: KID is higher (worse) by 0.0095 [0.0055, 0.013] (p = 0.0098 after Holm's "
        "correction, 10 pairs)."
    )
    assert "KID is lower (better) by 0.013 [0.0089, 0.019]" in verdict(se, "kid")
    assert "no difference in KID is shown, -0.003 [-0.014, 0.0099]" in verdict(product, "kid")
    assert "one of 0.023 would have been, with probability 80%" in verdict(product, "kid")
    assert outcome(se, "class_accuracy") == "worse"
    assert outcome(se, "memorisation_share") == "lower"
    equal = {**product, "margin": 0.05, "p_equal": 0.001, "p_equal_holm": 0.004}
    assert "KID is equal within the declared margin of 0.05, difference -0.003" in verdict(equal, "kid")
    assert outcome({**product, "p": None}, "kid") == "no pairs"
    assert roll_call(record("core")) == (
        "KID, against `quantum`: better: `se`, `fourier`; worse: `quantum_frozen`, `sine`; "
        "not shown: `quantum_product`."
    )


def test_a_factor_of_numbers_is_drawn_as_curves(record):
    result = record("core")
    levels = [("8", "se"), ("8", "sine"), ("16", "se"), ("16", "sine")]
    result["factors"] = {"train.n": ["8", "16"], "train.core": ["se", "sine"]}
    result |= {"comparisons": [], "also": {}, "runs": []}
    result["cells"] = [
        {**cell, "levels": {"train.n": n, "train.core": core}}
        for cell, (n, core) in zip(result["cells"], levels, strict=False)
    ]
    html = study_page(result)
    (drawn,) = re.findall(r'<svg class="curves".*?</svg>', html)
    assert drawn.count("<circle") == 4
    assert drawn.count('class="whisker"') == 4
    assert re.findall(r">(8|16)</text>", drawn) == ["8", "16"]
    assert 'class="curves"' not in study_page(record("core"))


def test_samples_and_failures_are_on_the_page_and_names_cannot_be_markup(record, tmp_path):
    result = record("core")
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    pixel_rows(list(images), tmp_path / "rows.png")
    with Image.open(tmp_path / "rows.png") as picture:
        stored = np.asarray(picture)
    assert stored.shape == (9, 14, 3)
    np.testing.assert_array_equal(stored[5:, 10:, 0], images[1, 2])
    png = base64.b64encode((tmp_path / "rows.png").read_bytes()).decode()
    result["samples"] = [{"levels": result["runs"][0]["levels"], "seed": 0, "png": png}]
    result["name"] = "<script>alert(1)</script>"
    result["runs"][5] = {**{key: result["runs"][5][key] for key in ("levels", "seed")}, "value": None}
    result["runs"][5] |= {"failed": True, "reason": "the loss is nan"}
    html = study_page(result)
    assert f"data:image/png;base64,{png}" in html
    assert "the loss is nan" in html
    assert "<script" not in html


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "beauty"},
        {"cells": [{}]},
        {"comparisons": 3},
        {"also": {"beauty": {"cells": [], "comparisons": [], "effects": []}}},
        {"samples": [{"levels": {}, "seed": 0, "png": '"><script>'}]},
        {"runs": [{"levels": {}, "seed": "0", "value": 1.0}]},
    ],
)
def test_a_damaged_record_is_one_line_that_names_it(record, tmp_path, command, change):
    (tmp_path / "study.json").write_text(json.dumps(record("core") | change))
    code, said, err = command("report", tmp_path)
    assert (code, said) == (2, "")
    assert len(err.splitlines()) == 1
    assert str(tmp_path / "study.json") in err
    assert not (tmp_path / "study.html").exists()
