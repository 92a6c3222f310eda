"""`hardware evaluate` and `hardware.evaluate`: anyone's own circuit on a device."""

import json
from pathlib import Path

import numpy as np
import pytest
from hardware_runs import Command
from loopback import Loopback
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

import hardware
from hardware.errors import HardwareError
from qhybrid.quantum.circuits.spec import CircuitSpec

POINTS = np.array([[0.1, 0.7], [0.5, 2.0], [-1.2, 0.3]])


def own_circuit() -> QuantumCircuit:
    """Couplings 0 - 2 - 1, every qubit another."""
    a = ParameterVector("a", 2)
    circuit = QuantumCircuit(3, name="own")
    circuit.ry(a[0], 0)
    circuit.cx(0, 2)
    circuit.rx(a[1], 1)
    circuit.cx(2, 1)
    circuit.ry(0.4, 1)
    return circuit


def expected(labels: list[str], points: np.ndarray = POINTS) -> np.ndarray:
    """Expectation values (N, M) by Qiskit's statevector."""
    states = [Statevector(own_circuit().assign_parameters(point)) for point in points]
    return np.array([[state.expectation_value(SparsePauliOp(label)).real for label in labels] for state in states])


@pytest.fixture
def circuit(tmp_path: Path) -> Path:
    with (tmp_path / "own.qpy").open("wb") as file:
        qpy.dump(own_circuit(), file)
    return tmp_path / "own.qpy"


@pytest.fixture
def values(tmp_path: Path) -> Path:
    np.savez(tmp_path / "values.npz", values=POINTS)
    return tmp_path / "values.npz"


@pytest.mark.parametrize(
    ("given", "labels"),
    [(None, ["IIZ", "IZI", "ZII"]), ("zz", ["IZZ", "ZIZ", "ZZI"]), ("XZI,IYZ", ["XZI", "IYZ"])],
)
def test_a_file_on_a_simulator(
    command: Command, circuit: Path, values: Path, tmp_path: Path, given: str | None, labels: list[str]
) -> None:
    out = tmp_path / "out.npz"
    more = [] if given is None else ["--observables", given]
    code, text, err = command(
        "evaluate", circuit, "--parameters", values, "--backend", "aer", "--shots", 4096, "--out", out, *more
    )
    assert code == 0, err
    assert "3 parameter sets, " in text
    assert "±" in text
    with np.load(out) as found:
        assert found["values"].shape == found["errors"].shape == (3, len(labels))
        assert np.abs(found["values"] - expected(labels)).max() < 5 / 64
        np.testing.assert_array_equal(found["parameters"], POINTS)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["observables"] == [[[label, 1.0]] for label in labels]
    assert record["parameters"] == ["a[0]", "a[1]"]
    assert (record["shots"], record["bill"]["jobs"]) == (4096, 1)


def test_values_by_name_and_sums_from_a_file(command: Command, circuit: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "named.npz", **{"a[1]": POINTS[:, 1], "a[0]": POINTS[:, 0]})
    (tmp_path / "sums.json").write_text('[{"IIZ": 0.5, "ZII": 2.0}]')
    out = tmp_path / "out.npz"
    options = ["--parameters", tmp_path / "named.npz", "--observables", tmp_path / "sums.json", "--shots", "4096"]
    code, text, err = command("evaluate", circuit, *options, "--backend", "aer", "--out", out, "--json")
    assert code == 0, err
    assert json.loads(text)["out"] == str(out)
    one, two = expected(["IIZ", "ZII"]).T
    with np.load(out) as found:
        np.testing.assert_allclose(found["values"][:, 0], 0.5 * one + 2 * two, atol=0.2)


def test_a_circuit_with_roles_measures_its_own_observables_and_needs_no_values_without_parameters(
    command: Command, tmp_path: Path
) -> None:
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    CircuitSpec("bell", bell, (), (), (SparsePauliOp("XX"), SparsePauliOp("ZI"))).save(tmp_path / "bell.qpy")
    out = tmp_path / "out.npz"
    code, _, err = command("evaluate", tmp_path / "bell.qpy", "--backend", "fake_torino", "--out", out)
    assert code == 0, err
    with np.load(out) as found:
        np.testing.assert_allclose(found["values"], [[1.0, 0.0]], atol=0.15)


def test_on_a_device_it_is_planned_asked_for_paid_once_and_gone_on_with(
    service: Loopback, command: Command, circuit: Path, values: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.npz"
    options = ["evaluate", circuit, "--parameters", values, "--backend", "ibm_manila", "--shots", 64, "--out", out]
    code, _, err = command(*options)
    assert (code, err.count("\n"), "--budget-seconds" in err) == (2, 1, True)
    code, text, err = command(*options, "--budget-seconds", 10)
    assert (code, err.count("\n"), service.jobs) == (2, 1, [])
    assert "1 jobs, 192 executions, 2." in text
    assert "add --yes to send 1 jobs" in err
    code, _, err = command(*options, "--budget-seconds", 1, "--yes")
    assert (code, service.jobs, "budget_seconds 1" in err) == (2, [], True)
    service.state.outcomes[0] = "hold"
    code, _, err = command(*options, "--budget-seconds", 10, "--yes", "--resume", "--wait-seconds", "0.2")
    assert (code, "is queued after 0.2 s" in err, out.exists()) == (2, True, False)
    service.state.release()
    code, _, err = command(*options, "--yes")
    assert (code, "add --resume" in err) == (2, True)
    code, _, err = command(*options, "--yes", "--resume")
    assert code == 0, err
    record = json.loads(out.with_suffix(".json").read_text())
    assert (len(service.jobs), record["jobs"]) == (1, [service.jobs[0].id])
    assert service.state.executions == record["bill"]["executions"] == 192
    assert record["bill"]["spent"] == service.state.consumed_seconds == 2.0
    with np.load(out) as found:
        np.testing.assert_allclose(found["values"], expected(["IIZ", "IZI", "ZII"]), atol=0.6)
    code, _, err = command(*options, "--yes")
    assert (code, "exists: choose another --out" in err) == (2, True)


def test_from_python(tmp_path: Path) -> None:
    circuit = own_circuit()
    first, second = circuit.parameters
    spec = CircuitSpec("own", circuit, (second,), (first,), (SparsePauliOp("XZI"),))
    found = hardware.evaluate(spec, POINTS[:, ::-1], "aer", folder=tmp_path / "python", shots=4096)
    assert np.abs(found.values - expected(["XZI"])).max() < 5 / 64
    again = hardware.evaluate(spec, POINTS[:, ::-1], "aer", folder=tmp_path / "python", shots=4096)
    np.testing.assert_array_equal(again.values, found.values)
    assert again.bill == found.bill
    for wrong, words in (
        (POINTS[:, :1], r"shape \(3, 1\): circuit `own` has 2 parameters \(a\[1\], a\[0\]\), one column each"),
        (None, r"has 2 parameters \(a\[1\], a\[0\]\): give their values"),
        (POINTS * np.nan, "6 are not finite"),
        (np.zeros((0, 2)), "there is no row"),
        ([["a", "b"]], "expected an array"),
    ):
        with pytest.raises(HardwareError, match=words):
            hardware.evaluate(spec, wrong, "aer", folder=tmp_path / "python")  # type: ignore[arg-type]


def test_mistakes_are_one_line(command: Command, circuit: Path, values: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.qpy"
    damaged.write_bytes(circuit.read_bytes()[:60])
    np.savez(tmp_path / "narrow.npz", values=POINTS[:, :1])
    np.savez(tmp_path / "lacking.npz", **{"a[0]": POINTS[:, 0]})
    np.savez(tmp_path / "uneven.npz", **{"a[0]": POINTS[:, 0], "a[1]": POINTS[:2, 1]})
    measured = own_circuit()
    measured.measure_all()
    with (tmp_path / "measured.qpy").open("wb") as file:
        qpy.dump(measured, file)
    good = {"--parameters": values, "--backend": "aer", "--out": tmp_path / "out.npz"}
    for file, changed, words in (
        (damaged, {}, "not a readable QPY file"),
        (tmp_path / "none.qpy", {}, "cannot be read"),
        (tmp_path / "measured.qpy", {}, "holds a measurement"),
        (circuit, {"--parameters": tmp_path / "narrow.npz"}, "shape (3, 1)"),
        (circuit, {"--parameters": tmp_path / "lacking.npz"}, "`a[1]` is missing"),
        (circuit, {"--parameters": tmp_path / "uneven.npz"}, "give (N,) for each"),
        (circuit, {"--parameters": circuit}, "is no npz file"),
        (circuit, {"--parameters": tmp_path / "none.npz"}, "no such file"),
        (circuit, {"--parameters": None}, "has 2 parameters (a[0], a[1]): give their values"),
        (circuit, {"--observables": "ZZ"}, "2 qubits"),
        (circuit, {"--observables": "ZQZ"}, "ZQZ"),
        (circuit, {"--observables": "none.json"}, "cannot be read"),
        (circuit, {"--backend": "fake_nowhere"}, "unknown backend"),
        (circuit, {"--backend": None}, "--backend missing"),
        (circuit, {"--out": tmp_path / "out.txt"}, "call it"),
        (circuit, {"--shots": 0}, "shots"),
        (circuit, {"--budget-seconds": "nan"}, "finite number of seconds"),
    ):
        options = {**good, **changed}
        arguments = [item for key, value in options.items() if value is not None for item in (key, value)]
        code, _, err = command("evaluate", file, *arguments)
        assert (code, err.count("\n")) == (2, 1), (words, err)
        assert words in err
        assert not (tmp_path / "out.npz").exists()
