"""What the tests of all notebooks ask of a notebook."""

import re

import nbformat


def outputs(notebook, kind):
    """Outputs of a kind (`stream`, `error`, ...) in the order of the cells."""
    return [out for cell in notebook.cells for out in cell.get("outputs", ()) if out.output_type == kind]


def pictures(notebook):
    """Outputs that hold a picture."""
    shown = outputs(notebook, "display_data") + outputs(notebook, "execute_result")
    return [out for out in shown if "image/png" in out.data]


def check_committed(path, count):
    """The committed file was executed from start to end without a complaint and holds its pictures, but no path."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len(pictures(notebook)) == count
    assert outputs(notebook, "error") == []
    assert [out for out in outputs(notebook, "stream") if out.name == "stderr"] == []
    assert len(text) < 300_000
    assert not re.search(r"/(tmp|home|root|work|Users|usr)/", text)
