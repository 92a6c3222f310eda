"""`qhybrid doctor` names what other packages register, and which of them cannot be imported."""

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
