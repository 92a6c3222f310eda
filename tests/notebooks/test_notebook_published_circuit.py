"""The notebook on the published circuit runs, and its numbers bear out what its text says."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from notebook_checks import outputs

NAME = "02_why_the_published_circuit_cannot_learn.ipynb"
FIGURES = 8
PROBE = """
import json
print(json.dumps({
    "spreads": spreads,
    "formula": formula.tolist(),
    "measured": measured.tolist(),
    "strings": [max(string_counts(spec, 3)) for spec in (published, mended)],
    "gradients": [branch_gradients(spec, detach) for spec in (published, mended) for detach in (True, False)],
    "dead": [len(diagnose(spec).dead) for spec in (published, mended)],
    "capability": [measure_capability(spec).to_dict() for spec in (published, mended)],
    "curves": curves,
    "timing": [[float(value) for value in row] for row in table],
    "left": left.total.slope,
}))
"""


def check_outputs(notebook: nbformat.NotebookNode) -> None:
    assert len([out for out in outputs(notebook, "display_data") if "image/png" in out.data]) == FIGURES
    assert outputs(notebook, "error") == []
    assert [out.text for out in outputs(notebook, "stream") if out.name == "stderr"] == []


@pytest.fixture(scope="module")
def executed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    notebook = nbformat.read(root / "notebooks" / NAME, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    folder = tmp_path_factory.mktemp("notebook")
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})
    return notebook


@pytest.fixture(scope="module")
def facts(executed: nbformat.NotebookNode) -> dict:
    return json.loads(executed.cells[-1].outputs[0].text)


def test_every_figure_and_no_warning(executed: nbformat.NotebookNode) -> None:
    check_outputs(executed)


def test_the_published_outputs_do_not_move(facts: dict) -> None:
    assert facts["spreads"]["published"] < 1e-14
    assert facts["spreads"]["ry_rz_ladder"] > 0.5
    assert facts["measured"] == pytest.approx(facts["formula"], abs=1e-12)
    assert facts["strings"][0] == 1
    assert facts["strings"][1] > 100


def test_gradients_are_where_the_text_says(facts: dict) -> None:
    front, weights = zip(*facts["gradients"], strict=True)
    assert [value == "none" for value in front] == [True, False, True, False]
    assert [float(value) == 0 for value in weights] == [True, True, False, False]
    assert facts["dead"] == [12, 0]


def test_the_published_circuit_entangles_and_is_expressive(facts: dict) -> None:
    dead, alive = facts["capability"]
    assert dead["entanglement"] > 0.5
    assert dead["expressibility"] < 0.01 * dead["idle"]
    assert alive["expressibility"] < 3 * alive["haar_floor"]


def test_only_the_mended_circuit_trains(facts: dict) -> None:
    curves = facts["curves"]
    assert curves["published"][-1] == pytest.approx(curves["published"][0], rel=1e-6)
    assert curves["ry_rz_ladder"][-1] < 0.1 * curves["ry_rz_ladder"][0]


def test_the_drop_in_is_worth_it(facts: dict) -> None:
    """Orders of magnitude, so that a busy machine changes nothing."""
    for _, stock, one_job, compiled in facts["timing"]:
        assert stock > 2 * one_job
        assert stock > 1000 * compiled


def test_a_device_leaves_most_of_the_signal(facts: dict) -> None:
    assert all(0.7 < slope < 1 for slope in facts["left"])


def test_what_is_committed_was_executed_and_is_fit_to_read(root: Path) -> None:
    text = (root / "notebooks" / NAME).read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    check_outputs(notebook)
    assert len(text) < 500_000
    assert not re.search(r"/(tmp|home|root|work|Users|usr)/", json.dumps([dict(cell) for cell in code]))
    assert notebook.metadata.kernelspec.name == "python3"
