"""The notebook runs from start to end and shows what it says; what is committed was executed and is fit to read."""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from notebook_checks import outputs, pictures
from sklearn.svm import SVC

from qhybrid.config import DataConfig
from qhybrid.data import load_data

NAME = "01_train_a_hybrid_model.ipynb"
FIGURES = 12
# Appended to the executed copy: numbers of its own variables.
PROBE = """
import json
print(json.dumps({
    "losses": [row["loss"] for row in log],
    "circuit_gradients": [row["gradient_norm"]["circuit"] for row in log],
    "dead": [len(diagnose(item).dead) for item in (spec, published)],
    "frames": [frames[step].tolist() for step in shown],
    "sheet": sheet.tolist(),
    "accuracy": accuracy,
    "plan": bill.to_dict(),
    "comparison": comparison,
    "device_images": device_images.tolist(),
    "exact_images": exact_images.tolist(),
    "folder": folder.name,
}))
"""
PROGRESS = re.compile(r"(training|sampling|hardware): \d+/\d+")


def complaints(notebook):
    """Lines on stderr that are not progress."""
    text = "".join(out.text for out in outputs(notebook, "stream") if out.name == "stderr")
    return [line for line in text.splitlines() if not PROGRESS.match(line)]


@pytest.fixture(scope="module")
def executed(root, tmp_path_factory):
    """The notebook, executed in a copy of its surroundings by a kernel of this environment; and the copy's folder."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "notebooks").mkdir()
    (folder / "tmp").mkdir()
    shutil.copytree(root / "configs", folder / "configs")
    notebook = nbformat.read(root / "notebooks" / NAME, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    client = NotebookClient(
        notebook, timeout=400, kernel_name="python3", resources={"metadata": {"path": str(folder / "notebooks")}}
    )
    client.execute(env=environment)
    return notebook, folder


@pytest.fixture(scope="module")
def facts(executed):
    notebook, _ = executed
    return json.loads(notebook.cells[-1].outputs[0].text)


def test_notebook_shows_every_figure_and_no_warning(executed):
    notebook, _ = executed
    assert len(pictures(notebook)) == FIGURES
    assert complaints(notebook) == []


def test_notebook_leaves_nothing_behind(executed, facts):
    _, folder = executed
    assert list((folder / "notebooks").iterdir()) == []
    assert Path(facts["folder"]).parent == folder / "tmp"
    assert not Path(facts["folder"]).exists()


def test_notebook_diagnoses_both_circuits(facts):
    assert facts["dead"] == [0, 18]


def test_notebook_training_learns(facts):
    assert len(facts["losses"]) == 100
    assert facts["losses"][-1] < 0.5 * facts["losses"][0]
    assert min(facts["circuit_gradients"][10:]) > 1e-6


def test_notebook_reverse_diffusion_takes_the_noise_away(facts):
    frames = np.array(facts["frames"], dtype=float)
    assert frames.shape == (9, 6, 8, 8)
    # The digits' outermost columns are dark; pure noise is not.
    border = frames[..., [0, -1]].mean(axis=(1, 2, 3))
    assert border[0] > 100
    assert border[-1] < 40


def test_notebook_samples_are_the_digits_asked_for(facts):
    sheet = np.array(facts["sheet"], dtype=np.uint8)
    assert sheet.shape == (60, 8, 8)
    data = load_data(DataConfig())
    judge = SVC(C=10).fit(data.train.reshape(len(data.train), -1) / 255, data.train_labels)
    assert np.mean(judge.predict(sheet.reshape(60, -1) / 255) == np.arange(60) % 10) > 0.8


def test_notebook_says_truly_that_the_circuit_carries_the_label(facts):
    trained, zeros, others = (facts["accuracy"][name] for name in ("trained circuit", "zeros", "another image's"))
    assert trained > 0.85
    assert zeros < 0.3
    # The batch is of the digits 0 to 9 again and again: the other image's digit is never the one asked for.
    assert others < 0.15


def test_notebook_ends_on_the_device(facts):
    plan, comparison = facts["plan"], facts["comparison"]
    assert plan["device"] == "ibm_torino"
    assert plan["jobs"] == len(plan["qpu_steps"]) > 0
    assert plan["seconds"] > 0
    assert comparison["parameter_sets"] == 10 * len(plan["qpu_steps"])
    # The text says that the device's errors are the larger part, and the shots the smaller one.
    assert 1 < comparison["noisy_against_exact"]["rms"] / comparison["standard_error"] < 5
    assert 0.7 < comparison["device_against_noisy"]["rms"] / comparison["standard_error"] < 1.3
    device, exact = np.array(facts["device_images"]), np.array(facts["exact_images"])
    assert device.shape == exact.shape == (10, 8, 8)
    assert np.abs(device - exact).mean() < 10


def test_committed_notebook_is_executed_and_fit_to_read(root):
    path = root / "notebooks" / NAME
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len(pictures(notebook)) == FIGURES
    assert outputs(notebook, "error") == []
    assert [out for out in outputs(notebook, "stream") if out.name == "stderr"] == []
    assert len(text) < 700_000
    assert not re.search(r"/(tmp|home|root|work|Users|usr)/", json.dumps([dict(cell) for cell in code]))
    assert notebook.metadata.kernelspec.name == "python3"
