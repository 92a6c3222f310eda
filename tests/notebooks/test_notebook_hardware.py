"""The notebook on the way to a device runs from start to end, and what is committed was executed."""

import json
import os
import shutil

import nbformat
import pytest
from nbclient import NotebookClient
from notebook_checks import check_committed, pictures

NAME = "04_to_hardware.ipynb"
PICTURES = 4
PROBE = """
print(json.dumps({
    "chosen": placed.report["method"], "success": placed.report["estimated_success"], "copies": len(packed.layouts),
    "executions": bill.executions, "names": [row["name"] for row in variants["variants"]],
    "rms": [row["rms"] for row in variants["variants"]], "same": bool(np.array_equal(before, after)),
    "paid": [row["executions"] for row in variants["variants"][1:]], "jobs": bill.jobs, "accuracy": accuracy,
}))
"""


@pytest.fixture(scope="module")
def facts(root, tmp_path_factory):
    """Numbers of the executed notebook."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copy(root / "notebooks" / NAME, folder)
    notebook = nbformat.read(folder / NAME, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import json\n" + PROBE))
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "QHYBRID_CACHE": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=400, kernel_name="python3", resources=resources).execute(env=environment)
    assert len(pictures(notebook)) == PICTURES
    return json.loads(notebook.cells[-1].outputs[0].text)


def test_notebook_goes_the_whole_way(facts):
    assert facts["chosen"].startswith("embedding")
    assert facts["success"] > 0.8
    assert facts["copies"] == 8
    # Ten digits times four steps, eight at a time, in one job.
    assert facts["jobs"] == 1
    assert facts["executions"] == 10 * 4 // 8 * 1024
    assert facts["same"]


def test_notebook_shows_digits_that_come_through_the_circuit(facts):
    accuracy = facts["accuracy"]
    assert accuracy["exact"] > 0.9
    assert accuracy["on the device"] > accuracy["exact"] - 0.06
    assert accuracy["without circuit"] < 0.3


def test_notebook_compares_every_level(facts):
    levels = [name.split(",")[0] for name in facts["names"]]
    # Level 0 twice: packed as the run, and one by one.
    assert levels == ["noisy simulation", "level 0", "level 0", "level 0+rescale", "level 1", "sampler"]
    # Which level comes closest depends on the weights, and they on the machine's rounding: the price does not.
    assert facts["paid"] == [5120, 40960, 5120, 6144, 7168]
    assert facts["rms"][0] < 0.12
    # Learned from the run's own circuits, at no execution more.
    assert facts["rms"][3] < facts["rms"][1] / 2
    assert max(facts["rms"]) < 0.25


def test_committed_hardware_notebook_is_executed_and_fit_to_read(root):
    check_committed(root / "notebooks" / NAME, PICTURES)
