"""`qhybrid doctor` names what other packages register, and which of them cannot be imported."""

from pathlib import Path

from qhybrid.commands.doctor import findings
from qhybrid.registry import ANSAETZE, SAMPLERS, Entry, NoOptions


def test_packages_and_their_failures_are_told(monkeypatch):
    for registry in (ANSAETZE, SAMPLERS):
        registry.packages()
    entry = Entry("brick_wall", lambda options, qubits, layers: None, NoOptions, "a-package")
    monkeypatch.setitem(ANSAETZE._entries, "brick_wall", [entry])
    monkeypatch.setitem(SAMPLERS._failures, "euler", ("b-package", "ImportError: no"))
    found = dict(findings())
    assert found["ansatz brick_wall"] == "from package a-package"
    assert found["sampler euler"] == "package b-package fails on import: ImportError: no"
    assert "sampler ddim" not in found


def test_a_damaged_file_of_accounts_is_one_line_that_names_it(command, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("QISKIT_IBM_TOKEN", raising=False)
    saved = tmp_path / ".qiskit" / "qiskit-ibm.json"
    saved.parent.mkdir()
    for content in ("null", "3", "[3]", "{"):
        saved.write_text(content)
        code, _, err = command("doctor")
        assert code == 2
        assert len(err.splitlines()) == 1
        assert str(saved) in err
