"""Circuits of the user's own: read from QPY and OpenQASM 3 files, refused in one line where they cannot be trained."""

import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm3, qpy
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector

from qhybrid.commands.main import main
from qhybrid.config import CircuitFileConfig, QuantumConfig, build_section
from qhybrid.errors import CircuitError, ConfigError
from qhybrid.quantum import CircuitSpec, CompiledEstimator, spec_from_config
from qhybrid.quantum.circuits.own import read_circuit_file
from qhybrid.quantum.circuits.qpy_files import load_qpy


def own_circuit(qubits=3, weights=11):
    """RY(x_i), then many RZ(w_j), RX(w_j); more than ten weights, so that their order is not that of the alphabet."""
    x, w = ParameterVector("x", qubits), ParameterVector("w", weights)
    circuit = QuantumCircuit(qubits, name="mine")
    for i in range(qubits):
        circuit.ry(x[i], i)
    for j in range(weights):
        circuit.rx(w[j], j % qubits)
        circuit.cx(j % qubits, (j + 1) % qubits)
    return circuit


@pytest.fixture
def file(tmp_path):
    def write(circuit, name="mine.qpy"):
        path = tmp_path / name
        if path.suffix == ".qpy":
            with path.open("wb") as stream:
                qpy.dump(circuit, stream)
        else:
            path.write_text(circuit if isinstance(circuit, str) else qasm3.dumps(circuit))
        return str(path)

    return write


def read(path, inputs="x", **others):
    ansatz = {"file": path, "inputs": inputs} | {k: v for k, v in others.items() if k == "observables"}
    rest = {k: v for k, v in others.items() if k != "observables"}
    return spec_from_config(build_section(QuantumConfig, {"ansatz": ansatz, **rest}, "test"))


def test_a_qpy_file_is_read_with_its_roles_and_evaluates_as_qiskit_does(file):
    circuit = own_circuit()
    spec = read(file(circuit), "x", observables=["ZII", "IXY"])
    assert [p.name for p in spec.inputs] == ["x[0]", "x[1]", "x[2]"]
    assert [p.name for p in spec.weights] == [f"w[{j}]" for j in range(11)]
    assert (spec.name, spec.num_qubits) == ("mine", 3)
    values = np.random.default_rng(0).uniform(-3, 3, 14)
    bound = circuit.assign_parameters(dict(zip([*spec.inputs, *spec.weights], values, strict=True)))
    expected = [np.real(Statevector(bound).expectation_value(SparsePauliOp(label))) for label in ("ZII", "IXY")]
    pub = (spec.circuit, [[o] for o in spec.observables], [values[[p_index(spec, p) for p in spec.circuit.parameters]]])
    np.testing.assert_allclose(CompiledEstimator().run([pub]).result()[0].data.evs[:, 0], expected, atol=1e-5)


def p_index(spec, parameter):
    return [p.name for p in [*spec.inputs, *spec.weights]].index(parameter.name)


def test_an_openqasm_3_file_is_the_same_circuit(file):
    circuit = QuantumCircuit(2)
    names = ["x0", "x1", "x10", "w"]
    parameters = {name: Parameter(name) for name in names}
    circuit.ry(parameters["x0"], 0)
    circuit.ry(parameters["x1"] * 2, 1)
    circuit.rz(parameters["x10"], 1)
    circuit.cx(0, 1)
    circuit.rx(parameters["w"], 1)
    spec = read(file(circuit, "mine.qasm"))
    assert [p.name for p in spec.inputs] == ["x0", "x1", "x10"]
    values = dict(zip(names, [0.3, -0.8, 1.1, 0.7], strict=True))
    ours = spec.circuit.assign_parameters({p: values[p.name] for p in spec.circuit.parameters})
    theirs = circuit.assign_parameters({p: values[p.name] for p in circuit.parameters})
    assert Operator(ours).equiv(Operator(theirs))


def test_inputs_by_prefix_stand_in_natural_order(file):
    circuit = QuantumCircuit(1)
    for name in ("x10", "x2", "x1", "theta"):
        circuit.rx(Parameter(name), 0)
    assert [p.name for p in read(file(circuit)).inputs] == ["x1", "x2", "x10"]
    assert [p.name for p in read(file(circuit), ["x10", "theta"]).inputs] == ["x10", "theta"]


def test_the_number_of_qubits_follows_the_file(file):
    config = build_section(QuantumConfig, {"ansatz": {"file": file(own_circuit(5)), "inputs": "x"}}, "test")
    assert config.qubits is None
    assert spec_from_config(config).num_qubits == 5
    assert build_section(QuantumConfig, config.model_dump(), "test") == config
    assert read(file(own_circuit(5)), qubits=5).num_qubits == 5
    with pytest.raises(CircuitError, match=r"`quantum\.qubits: 4` contradicts circuit `mine`, which has 5"):
        read(file(own_circuit(5)), qubits=4)
    with pytest.raises(ConfigError, match=r"`layers: 3`: a circuit from a file has its own layers"):
        read(file(own_circuit(5)), layers=3)


def test_observables_from_a_json_file(file, tmp_path):
    target = tmp_path / "observables.json"
    target.write_text(json.dumps(["ZII", {"ZZI": 0.5, "IIX": -2}, [["IYI", 1.5], ["XXX", 1.0, 0.0]]]))
    observables = read(file(own_circuit()), observables=str(target)).observables
    expected = [[("ZII", 1)], [("ZZI", 0.5), ("IIX", -2)], [("IYI", 1.5), ("XXX", 1)]]
    assert [o.to_list() for o in observables] == [SparsePauliOp.from_list(terms).to_list() for terms in expected]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('["ZI"]', r"`ZI` acts on 2 qubits, the circuit has 3"),
        ('[{"ZZI": 1, "ZZZZ": 1}]', r"observable 0: `ZZZZ` acts on 4 qubits, the circuit has 3"),
        ('["ZZI", "ZAI"]', r"observable 1: `ZAI` is no Pauli label"),
        ('[[["ZII", 1, 0.5]]]', "has an imaginary part"),
        ('[{"ZII": NaN}]', "with finite numbers"),
        ('[{"ZII": "1"}]', "with finite numbers"),
        ("[{}]", "a sum without terms"),
        ("[3]", "expected a Pauli label"),
        ("[]", "expected a list of at least one"),
        ('{"ZII": 1}', "expected a list of at least one"),
        ("[", "not valid JSON"),
        (None, "cannot be read"),
    ],
)
def test_wrong_observables_are_refused_in_one_line(file, tmp_path, content, reason):
    target = tmp_path / "observables.json"
    if content is not None:
        target.write_text(content)
    with pytest.raises(CircuitError, match=reason) as error:
        read(file(own_circuit()), observables=str(target))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["ZI"], r"`ZI` acts on 2 qubits, the circuit has 3"),
        (["ZZZZ"], r"`ZZZZ` acts on 4 qubits, the circuit has 3"),
        (["ZQI"], "no Pauli label"),
        ([""], "no Pauli label"),
        ([], "empty list"),
    ],
)
def test_observables_over_another_number_of_qubits_are_refused(file, labels, reason):
    with pytest.raises(CircuitError, match=reason):
        read(file(own_circuit()), observables=labels)


def test_observables_of_a_built_in_ansatz():
    def labels(**values):
        spec = spec_from_config(build_section(QuantumConfig, {"qubits": 3, "layers": 1, **values}, "test"))
        return [o.to_list() for o in spec.observables]

    z = [[("IIZ", 1)], [("IZI", 1)], [("ZII", 1)]]
    assert labels() == labels(observables="z") == z
    assert labels(observables="zz") == [[("IZZ", 1)], [("ZIZ", 1)], [("ZZI", 1)]]
    assert labels(observables=["XIZ", "IYI"]) == [[("XIZ", 1)], [("IYI", 1)]]
    with pytest.raises(CircuitError, match=r"`XI` acts on 2 qubits, the circuit has 3"):
        labels(observables=["XI"])
    with pytest.raises(CircuitError, match="needs pairs"):
        labels(observables="zz", qubits=1)


def test_observables_of_a_file_stand_in_one_place(file):
    path = file(own_circuit(4))
    assert len(read(path).observables) == 4
    config = {"ansatz": {"file": path, "inputs": "x"}, "observables": "zz"}
    assert len(spec_from_config(build_section(QuantumConfig, config, "test")).observables) == 6
    config["ansatz"]["observables"] = ["ZZZZ"]
    with pytest.raises(CircuitError, match="both given"):
        spec_from_config(build_section(QuantumConfig, config, "test"))


def measured():
    circuit = own_circuit()
    circuit.measure_all()
    return circuit


def with_reset():
    circuit = own_circuit()
    circuit.reset(1)
    return circuit


def conditional():
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(1, "c"))
    circuit.ry(Parameter("x"), 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    return circuit


def looped():
    circuit = own_circuit()
    with circuit.for_loop(range(3)):
        circuit.x(0)
    return circuit


def hidden_measurement():
    inner = QuantumCircuit(1, 1, name="inner")
    inner.measure(0, 0)
    circuit = QuantumCircuit(2, 1)
    circuit.ry(Parameter("x"), 0)
    circuit.append(inner.to_instruction(), [0], [0])
    return circuit


def hidden_reset():
    inner = QuantumCircuit(1, name="inner")
    inner.reset(0)
    outer = QuantumCircuit(1, name="outer")
    outer.append(inner.to_instruction(), [0])
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("x"), 0)
    circuit.append(outer.to_instruction(), [1])
    return circuit


def initialized():
    circuit = QuantumCircuit(1)
    circuit.initialize([0, 1], 0)
    circuit.ry(Parameter("x"), 0)
    return circuit


def with_variable():
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("x"), 0)
    circuit.add_var("flag", False)
    return circuit


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (measured, "a measurement"),
        (with_reset, "a reset"),
        (conditional, "a classical condition"),
        (looped, "control flow"),
        (hidden_measurement, "a measurement inside an instruction"),
        (hidden_reset, "a reset inside an instruction"),
        (initialized, "a reset inside an instruction"),
        (with_variable, "classical variables"),
    ],
)
def test_a_circuit_that_is_more_than_gates_is_refused(file, make, found):
    with pytest.raises(CircuitError, match=rf"circuit `.*mine\.qpy` holds {found}") as error:
        read(file(make()))
    assert "\n" not in str(error.value)


def test_the_same_in_openqasm_3(file):
    head = 'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput angle phi;\nqubit[2] q;\nbit[1] c;\nry(phi) q[0];\n'
    assert read(file(head, "sound.qasm"), "phi").num_qubits == 2
    for line, found in [
        ("c[0] = measure q[0];", "a measurement"),
        ("reset q[0];", "a reset"),
        ("if (c[0]) { x q[1]; }", "a classical condition"),
        ("for int i in [0:2] { x q[1]; }", "control flow"),
    ]:
        with pytest.raises(CircuitError, match=found):
            read(file(head + line, "unsound.qasm"), "phi")


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (["x[0]", "y"], r"lacks the inputs y; its parameters are w\[0\], .* and 6 more"),
        (["x"], "lacks the inputs x"),
        ("theta", r"has no inputs: no parameter begins with `theta`; its parameters are w\[0\]"),
        (["x[0]", "x[0]"], "named twice"),
    ],
)
def test_inputs_that_the_circuit_lacks_are_refused(file, inputs, reason):
    with pytest.raises(CircuitError, match=reason):
        read(file(own_circuit()), inputs)


def test_a_circuit_needs_inputs(file):
    path = file(own_circuit())
    with pytest.raises(ConfigError, match="option `inputs` is missing"):
        build_section(QuantumConfig, {"ansatz": {"file": path}}, "test")
    with pytest.raises(ConfigError, match=r"option `inputs.*` is \[\]"):
        read(path, [])
    bare = QuantumCircuit(1)
    bare.h(0)
    with pytest.raises(CircuitError, match="it has no parameters"):
        read(file(bare, "bare.qpy"))


def test_a_file_that_is_no_circuit_is_refused(file, tmp_path):
    sound = Path(file(own_circuit())).read_bytes()
    two = io.BytesIO()
    qpy.dump([own_circuit(), own_circuit()], two)
    contents = {
        "empty": b"",
        "text": b"not a circuit",
        "page": b"<!DOCTYPE html><html></html>",
        "header": sound[:10],
        "cut": sound[: len(sound) // 2],
        "short": sound[:-1],
        "noise": sound[:40] + bytes(255 - byte for byte in sound[40:]),
        "newer": sound[:6] + bytes([99]) + sound[7:],
        "pickle": pickle.dumps(own_circuit()),
        "two": two.getvalue(),
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.qpy"
        path.write_bytes(content)
        with pytest.raises(CircuitError) as error:
            read(str(path))
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    for name, content in {
        "q2": b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\n',
        "words": b"hello",
        "bytes": b"\xff\xfe",
    }.items():
        path = tmp_path / f"{name}.qasm"
        path.write_bytes(content)
        with pytest.raises(CircuitError, match=r"OpenQASM 3|no parameters|no qubits") as error:
            read(str(path))
        assert "\n" not in str(error.value)
    for name in ("absent.qpy", "absent.qasm"):
        with pytest.raises(CircuitError, match=rf"`.*{name}` cannot be read: No such file"):
            read(str(tmp_path / name))
    with pytest.raises(CircuitError, match="cannot be read"):
        read(str(tmp_path))


class Bomb:
    """Unpickling it leaves a mark."""

    def __reduce__(self):
        return list, ((1, 2, 3),)


def test_a_qpy_file_is_never_unpickled(tmp_path, monkeypatch):
    """A matrix whose numpy payload is an array of pickled objects, as Qiskit's format would have room for."""
    circuit = QuantumCircuit(2)
    circuit.append(UnitaryGate(np.eye(4)), [0, 1])
    stream = io.BytesIO()
    qpy.dump(circuit, stream)
    content = stream.getvalue()
    start = content.index(b"\x93NUMPY")
    room = 128 + 16 * 16
    bomb = io.BytesIO()
    np.save(bomb, np.array(Bomb(), dtype=object), allow_pickle=True)
    payload = bomb.getvalue().ljust(room, b"\0")
    path = tmp_path / "bomb.qpy"
    path.write_bytes(content[:start] + payload[:room] + content[start + room :])
    called = []
    monkeypatch.setattr(pickle, "load", lambda *a, **k: called.append(a))
    monkeypatch.setattr(pickle, "loads", lambda *a, **k: called.append(a))
    with pytest.raises(CircuitError, match="not a readable QPY"):
        load_qpy(path)
    assert not called


@pytest.mark.parametrize("version", [10, 11, 12])
def test_expressions_that_symengine_would_unpickle_are_refused_unread(tmp_path, version):
    circuit = own_circuit()
    with (tmp_path / "old.qpy").open("wb") as stream:
        qpy.dump(circuit, stream, version=13)
    content = bytearray((tmp_path / "old.qpy").read_bytes())
    assert struct.unpack("!6sB", content[:7]) == (b"QISKIT", 13)
    assert content[18:19] in (b"p", b"e")
    content[6], content[18] = version, ord("e")
    (tmp_path / "old.qpy").write_bytes(content)
    with pytest.raises(CircuitError, match="read by unpickling"):
        load_qpy(tmp_path / "old.qpy")


def test_a_saved_spec_is_read_by_the_same_door(tmp_path):
    (tmp_path / "text.qpy").write_text("not a circuit")
    with pytest.raises(CircuitError, match="not a readable QPY"):
        CircuitSpec.load(tmp_path / "text.qpy")


@pytest.mark.parametrize(
    ("make", "ansatz", "line"),
    [
        (measured, {"inputs": "x"}, "holds a measurement"),
        (conditional, {"inputs": "x"}, "holds a classical condition"),
        (own_circuit, {"inputs": ["y"]}, "lacks the inputs y"),
        (own_circuit, {"inputs": "x", "observables": ["ZZ"]}, "`ZZ` acts on 2 qubits, the circuit has 3"),
        (own_circuit, {}, "option `inputs` is missing"),
    ],
)
def test_the_command_line_ends_with_one_line_and_code_2(file, tmp_path, monkeypatch, capsys, make, ansatz, line):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"quantum": {"ansatz": {"file": file(make()), **ansatz}}}))
    monkeypatch.setattr("sys.argv", ["qhybrid", "train", str(config), "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("length", "unit"), [(100, "ns"), (100, "dt"), (200.0, "ps"), (1.5, "us")])
def test_delays_are_refused_where_their_unit_is_lost(tmp_path, length, unit):
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("x"), 0)
    circuit.delay(length, 0, unit=unit)
    with (tmp_path / "own.qpy").open("wb") as file:
        qpy.dump(circuit, file)
    with pytest.raises(CircuitError):
        read_circuit_file(CircuitFileConfig(file=str(tmp_path / "own.qpy"), inputs="x"))
    text = 'OPENQASM 3.0; include "stdgates.inc"; input float a; qubit[1] q; rx(a) q[0]; delay[100UNIT] q[0];'
    path = tmp_path / "own.qasm"
    path.write_text(text.replace("UNIT", unit))
    options = CircuitFileConfig(file=str(path), inputs="a")
    if unit == "dt":
        spec = read_circuit_file(options)
        spec.save(tmp_path / "stored.qpy")
        assert CircuitSpec.load(tmp_path / "stored.qpy") == spec
    elif unit != "ps":
        with pytest.raises(CircuitError, match=f"a delay of 100.*{unit}: give it in dt"):
            read_circuit_file(options)
