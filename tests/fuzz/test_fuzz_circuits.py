"""Own circuits in QPY and OpenQASM 3 files, and observables in JSON files."""

from __future__ import annotations

import io
from pathlib import Path

from fuzzing import altered, as_json, damaged, inputs, survives
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ParameterVector

from qhybrid.config import CircuitFileConfig
from qhybrid.quantum.circuits.own import read_circuit_file


def circuit() -> QuantumCircuit:
    x, w = ParameterVector("x", 2), ParameterVector("w", 3)
    made = QuantumCircuit(2)
    made.ry(x[0], 0)
    made.ry(2 * x[1] + 1, 1)
    made.cx(0, 1)
    made.u(w[0], w[1], w[2], 0)
    made.barrier()
    return made


def stored() -> bytes:
    content = io.BytesIO()
    qpy.dump(circuit(), content)
    return content.getvalue()


QPY = stored()
QASM = """OPENQASM 3.0;
include "stdgates.inc";
input float[64] x0;
input float[64] w0;
gate g(a) q { rx(a) q; }
qubit[2] q;
ry(x0) q[0];
cx q[0], q[1];
g(w0 * 2) q[1];
U(w0, 0.1, pi / 2) q[0];
"""
WORDS = [
    *"(){}[];,+-*/=<>\"'",
    "pi",
    "1e999",
    "9" * 400,
    "qubit",
    "bit",
    "if (true)",
    "for int i in [0:3]",
    "measure",
    "ctrl @",
]
WORDS += [
    "pow(2) @",
    "inv @",
    "delay[100ns]",
    "reset",
    "barrier",
    "/*",
    "//",
    "#pragma",
    'include "x";',
    "input",
    "x0",
    "q[5]",
]


def read(path: Path) -> None:
    read_circuit_file(CircuitFileConfig(file=str(path), inputs="x")).content_hash()


@inputs(500, 40)
@given(content=damaged(QPY))
def test_qpy(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "circuit.qpy"
    path.write_bytes(content)
    survives("QPY", lambda: read(path))


@inputs(400, 15)
@given(data=st.data())
def test_qasm(data, tmp_path_factory):
    text = QASM
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + data.draw(st.sampled_from(WORDS)) + text[place + data.draw(st.integers(0, 6)) :]
    content = data.draw(damaged(text.encode())) if data.draw(st.integers(0, 3)) == 0 else text.encode()
    path = tmp_path_factory.getbasetemp() / "circuit.qasm"
    path.write_bytes(content)
    survives("OpenQASM", lambda: read(path))


@inputs(300, 30)
@given(data=st.data())
def test_observables(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "own.qpy"
    path.write_bytes(QPY)
    tree = data.draw(altered([["ZZ"], {"XI": 0.5, "ZI": 1.0}, "ZI", [["ZZ", 1.0], ["XX", 0.25]]]))
    file = tmp_path_factory.getbasetemp() / "observables.json"
    content = as_json(tree).encode()
    file.write_bytes(data.draw(damaged(content)) if data.draw(st.booleans()) else content)
    options = CircuitFileConfig(file=str(path), inputs="x", observables=str(file))
    survives("observables", lambda: read_circuit_file(options))


@inputs(200, 20)
@given(
    labels=st.lists(st.sampled_from(["ZZ", "XI", "Z", "ZZZ", "", "QQ", "zz"]), max_size=3),
    names=st.sampled_from(["x", "", "y"]) | st.lists(st.sampled_from(["x[0]", "x[1]", "w[0]", "y"]), max_size=4),
)
def test_roles(labels, names, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "roles.qpy"
    path.write_bytes(QPY)

    def read() -> None:
        values = {"file": str(path), "inputs": names, "observables": labels}
        from qhybrid.config import build_section

        read_circuit_file(build_section(CircuitFileConfig, values, "options"))

    survives("roles", read)


def test_what_is_damaged_was_whole(tmp_path):
    for name, content in (("a.qpy", QPY), ("a.qasm", QASM.encode())):
        (tmp_path / name).write_bytes(content)
        assert read_circuit_file(CircuitFileConfig(file=str(tmp_path / name), inputs="x")).num_qubits == 2
