"""ISA circuits: the right place, the right bit order, and a reason where one is refused."""

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import SwapGate
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import InstructionProperties, Target

from hardware.errors import BackendError, HardwareError
from hardware.placement import isa_cache
from hardware.placement.packing import pack
from hardware.placement.transpilation import Program, Transpiled, check_isa, transpile
from hardware.service.backends import open_backend
from qhybrid.quantum.circuits.ansatz import benchmark_spec, build_spec
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.calibration import SavedBackend


def asymmetric_spec(routed: bool = False) -> CircuitSpec:
    """No two outputs agree, nor would they under any exchange of qubits; `routed` fits no heavy-hexagonal device."""
    circuit = QuantumCircuit(4, name="asymmetric")
    x, w = ParameterVector("x", 3), ParameterVector("w", 4)
    for qubit in range(3):
        circuit.ry(x[qubit], qubit)
    circuit.cx(0, 1)
    circuit.rx(w[0], 1)
    circuit.cx(1, 2)
    circuit.ry(w[1], 2)
    circuit.rz(w[2], 0)
    circuit.h(0)
    circuit.cx(2, 3)
    circuit.ry(w[3], 3)
    if routed:
        circuit.cx(0, 2)
        circuit.cx(0, 3)
    observables = [SparsePauliOp(label) for label in ("IIIZ", "IIZI", "IZII", "ZIII", "XIIY", "IZXI")]
    return CircuitSpec("asymmetric", circuit, tuple(x), tuple(w), tuple(observables))


def expectations(program: Program, angles: np.ndarray) -> np.ndarray:
    circuit = program.circuit.assign_parameters(dict(zip(program.inputs, angles, strict=True)))
    state = Statevector(circuit)
    return np.array([state.expectation_value(observable).real for observable in program.observables])


ANGLES = np.array([0.3, 1.9, -2.4])
WEIGHTS = np.array([0.7, -1.1, 0.4, 2.2])


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("name", ["aer", "fake_manila", "fake_torino"])
def test_every_output_stays_its_own_on_the_device(name: str, routed: bool) -> None:
    spec = asymmetric_spec(routed)
    bound = dict(zip([*spec.inputs, *spec.weights], [*ANGLES, *WEIGHTS], strict=True))
    state = Statevector(spec.circuit.assign_parameters(bound))
    wanted = np.array([state.expectation_value(observable).real for observable in spec.observables])
    assert np.min(np.abs(wanted[:, None] - wanted[None])[~np.eye(6, dtype=bool)]) > 0.01

    backend = open_backend(name)
    transpiled = transpile(spec, backend)
    found = expectations(transpiled.local_program(spec, WEIGHTS, backend), ANGLES)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    if name == "fake_torino":
        assert transpiled.report["method"].startswith("preset") == routed
        assert list(transpiled.layout) != sorted(transpiled.layout) or transpiled.layout[0] > 3


def test_the_local_program_runs_on_the_used_qubits_with_their_errors() -> None:
    spec = build_spec("ry_rz_ladder", 4, 1)
    backend = open_backend("fake_torino")
    transpiled = transpile(spec, backend)
    program = transpiled.local_program(spec, np.zeros(8), backend)
    assert program.backend.physical_qubits == transpiled.layout
    assert program.circuit.num_qubits == 4
    for here, there in enumerate(transpiled.layout):
        assert program.backend.target["measure"][(here,)].error == backend.target["measure"][(there,)].error


@pytest.mark.parametrize(("qubits", "success", "preset"), [(4, 0.91, 0.89), (8, 0.77, 0.68), (12, 0.65, 0.43)])
def test_embeddings_beat_the_preset_on_torino(qubits: int, success: float, preset: float) -> None:
    report = transpile(benchmark_spec(qubits), open_backend("fake_torino")).report
    assert report["estimated_success"] >= success
    assert report["method"].startswith("embedding")
    of_preset = [row["estimated_success"] for row in report["candidates"] if row["method"].startswith("preset")]
    assert len(of_preset) == 4
    assert max(of_preset) < preset
    assert report["two_qubit_gates"] == 3 * (qubits - 1)


def test_a_circuit_without_embedding_is_routed() -> None:
    transpiled = transpile(asymmetric_spec(routed=True), open_backend("fake_torino"))
    assert transpiled.report["method"].startswith("preset")
    assert transpiled.report["two_qubit_gates"] > 5
    check_isa(transpiled.circuit, open_backend("fake_torino"))


def test_a_circuit_that_is_no_isa_circuit_is_refused_with_the_reason() -> None:
    backend = open_backend("fake_manila")
    abstract = QuantumCircuit(2)
    abstract.h(0)
    with pytest.raises(HardwareError, match=r"not an ISA circuit of `fake_manila`.*instruction h on qubits \(0,\)"):
        check_isa(abstract, backend)
    uncoupled = QuantumCircuit(5)
    uncoupled.cx(0, 4)
    with pytest.raises(HardwareError, match=r"instruction cx on qubits \(0, 4\)"):
        check_isa(uncoupled, backend)
    with pytest.raises(HardwareError, match="6 qubits"):
        check_isa(QuantumCircuit(6), backend)


def test_a_circuit_for_another_backend_is_refused() -> None:
    spec = build_spec("ry_rz_ladder", 3, 1)
    transpiled = transpile(spec, open_backend("fake_torino"))
    with pytest.raises(HardwareError, match="not an ISA circuit of `fake_manila`"):
        transpiled.local_program(spec, np.zeros(6), open_backend("fake_manila"))


def test_a_circuit_larger_than_the_device_is_refused() -> None:
    with pytest.raises(HardwareError, match="6 qubits and `fake_manila` 5"):
        transpile(build_spec("ry_rz_ladder", 6, 1), open_backend("fake_manila"))


def test_another_circuit_than_the_transpiled_one_is_refused() -> None:
    backend = open_backend("fake_manila")
    transpiled = transpile(build_spec("ry_rz_ladder", 3, 1), backend)
    with pytest.raises(HardwareError, match=r"another circuit.*`fake_manila`"):
        transpiled.program(build_spec("ry_rz_ladder", 3, 2), np.zeros(12), backend)


def test_a_transpiled_circuit_is_read_back_as_it_was(tmp_path: Path) -> None:
    spec = asymmetric_spec()
    backend = open_backend("fake_torino")
    transpiled = transpile(spec, backend)
    transpiled.save(tmp_path)
    again = Transpiled.load(tmp_path)
    assert (again.layout, again.report, again.spec_hash) == (transpiled.layout, transpiled.report, transpiled.spec_hash)
    before = expectations(transpiled.local_program(spec, WEIGHTS, backend), ANGLES)
    np.testing.assert_allclose(expectations(again.local_program(spec, WEIGHTS, backend), ANGLES), before)


def test_a_damaged_isa_file_is_refused(tmp_path: Path) -> None:
    transpile(build_spec("ry_rz_ladder", 3, 1), open_backend("fake_manila")).save(tmp_path)
    (tmp_path / "isa.qpy").write_bytes(b"no circuit")
    with pytest.raises(HardwareError, match=r"isa\.qpy"):
        Transpiled.load(tmp_path)


def test_waiting_counts_in_the_score() -> None:
    report = transpile(benchmark_spec(8), open_backend("fake_torino")).report
    assert report["score"] == max(row["score"] for row in report["candidates"])
    assert report["score"] == pytest.approx(report["estimated_success"] * report["idle_fidelity"])
    assert 0.9 < report["idle_fidelity"] < 0.999


def test_an_isa_circuit_is_found_again_until_the_next_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path))
    calls: list[str] = []
    monkeypatch.setattr(
        isa_cache, "transpile", lambda spec, backend: calls.append(spec.name) or transpile(spec, backend)
    )
    spec, backend = build_spec("ry_rz_ladder", 3, 1), open_backend("fake_manila")
    first, again = isa_cache.cached_transpile(spec, backend), isa_cache.cached_transpile(spec, backend)
    assert (len(calls), again.layout, again.report) == (1, first.layout, first.report)
    isa_cache.cached_transpile(build_spec("ry_rz_ladder", 3, 2), backend)
    monkeypatch.setattr(isa_cache, "calibration_date", lambda backend: "2031-01-01T00:00:00")
    isa_cache.cached_transpile(spec, backend)
    assert len(calls) == 3
    for file in tmp_path.rglob("isa.qpy"):
        file.write_bytes(b"damaged")
    assert isa_cache.cached_transpile(spec, backend).layout == first.layout
    assert len(calls) == 4


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path / "file"))
    isa_cache.cached_transpile(build_spec("ry_rz_ladder", 3, 1), open_backend("fake_manila"))


def test_fractional_gates_by_option() -> None:
    circuit = QuantumCircuit(2, name="rotations")
    (x,) = ParameterVector("x", 1)
    circuit.rx(x, 0)
    circuit.rzz(0.3, 0, 1)
    spec = CircuitSpec("rotations", circuit, (x,), (), (SparsePauliOp("IZ"),))
    gates = transpile(spec, open_backend("fake_fractional", fractional_gates=True)).report["gates"]
    assert gates["rzz"] == 1
    assert "cx" not in gates
    with pytest.raises(BackendError, match="`fake_torino` has no fractional gates"):
        open_backend("fake_torino", fractional_gates=True)


def test_places_that_qiskit_cannot_translate_are_left_out() -> None:
    # Its couplings have CX or ECR, in one direction each, and Qiskit turns none of them around.
    device = open_backend("fake_cairo")
    transpiled = transpile(benchmark_spec(3, 1), device)
    check_isa(transpiled.circuit, device)
    assert all(row["method"].startswith("embedding") for row in transpiled.report["candidates"])
    packed = pack(transpiled, benchmark_spec(3, 1), device, images=8, copies=2, floor=0.0, spacing=0)
    for copy in packed.copies:
        check_isa(copy.circuit, device)


def test_a_circuit_that_needs_routing_where_qiskit_cannot_is_refused_in_one_line() -> None:
    with pytest.raises(HardwareError, match=r"cannot translate `asymmetric` for `fake_cairo`.*another ansatz"):
        transpile(asymmetric_spec(routed=True), open_backend("fake_cairo"))


def test_a_circuit_in_gates_that_the_device_cannot_express_is_refused_in_one_line() -> None:
    device = open_backend("fake_manila")
    without = Target(num_qubits=5)
    for name in ("rz", "sx", "x", "measure"):
        without.add_instruction(device.target.operation_from_name(name), device.target[name], name=name)
    without.add_instruction(SwapGate(), {(0, 1): None, (1, 2): None}, name="swap")
    with pytest.raises(HardwareError, match=r"cannot be written in the device's gates \(rz, swap, sx, x\)"):
        transpile(benchmark_spec(2, 1), SavedBackend("no cx", without, None))


def test_a_device_of_the_same_name_and_date_with_another_error_is_another_device() -> None:
    spec, backend = build_spec("ry_rz_ladder", 3, 1), open_backend("fake_manila")
    key = isa_cache.cache_key(spec, backend)
    assert isa_cache.cache_key(spec, open_backend("fake_manila")) == key
    properties = backend.target["cx"][0, 1]
    backend.target.update_instruction_properties(
        "cx", (0, 1), InstructionProperties(duration=properties.duration, error=0.5)
    )
    assert isa_cache.cache_key(spec, backend) != key
