"""The notebook on the study runs on the recorded results, and what its text says is what its numbers say."""

import json
import os

import nbformat
import pytest
from nbclient import NotebookClient
from notebook_checks import check_committed, pictures

NAME = "05_does_it_help.ipynb"
PICTURES = 4
PROBE = """
print(json.dumps({
    "corrected": {arm: item["p_holm"] for arm, item in found.items()},
    "differences": {arm: item["difference"] for arm, item in found.items()},
    "depends": [cell["reliance"]["depends"] for cell in study["cells"]],
    "counted": counted * 1024,
    "copied": {arm: values(study, arm, "memorisation_share").mean() for arm in arms},
    "fourier_against_se": sign_flip_p(differences(study, "fourier", "class_accuracy", "se")),
}))
"""


@pytest.fixture(scope="module")
def facts(root):
    """Numbers of the executed notebook."""
    notebook = nbformat.read(root / "notebooks" / NAME, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}
    resources = {"metadata": {"path": str(root / "notebooks")}}
    NotebookClient(notebook, timeout=200, kernel_name="python3", resources=resources).execute(env=environment)
    assert len(pictures(notebook)) == PICTURES
    return json.loads(notebook.cells[-1].outputs[0].text)


def test_the_text_says_what_the_records_say(facts):
    shown = {arm for arm, p in facts["corrected"].items() if p <= 0.05}
    assert shown == {"quantum_frozen", "se", "sine", "fourier"}
    assert {arm for arm in shown if facts["differences"][arm] > 0} == {"se", "fourier"}
    assert facts["depends"] == [10] * 6
    assert facts["counted"] == 2
    assert all(0.8 < share < 0.9 for share in facts["copied"].values())
    assert facts["fourier_against_se"] > 0.5


def test_the_committed_notebook_is_executed_and_fit_to_read(root):
    check_committed(root / "notebooks" / NAME, PICTURES)
