"""All places of a circuit on a device, and their scores."""

import itertools
import math

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Instruction, ParameterVector
from qiskit.transpiler import Target

from qhybrid.errors import CircuitError
from qhybrid.quantum.devices.calibration import SavedBackend
from qhybrid.quantum.devices.embedding import best_embedding, embeddings, estimated_success
from qhybrid.quantum.devices.snapshots import snapshot


def ladder(num_qubits: int, num_layers: int = 3) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    x = ParameterVector("x", num_qubits)
    w = iter(ParameterVector("w", 2 * num_qubits * num_layers))
    for qubit in range(num_qubits):
        circuit.ry(x[qubit], qubit)
    for _ in range(num_layers):
        for qubit in range(num_qubits):
            circuit.ry(next(w), qubit)
            circuit.rz(next(w), qubit)
        for qubit in range(num_qubits - 1):
            circuit.cx(qubit, qubit + 1)
    return circuit


@pytest.mark.parametrize(("num_qubits", "count", "success"), [(4, 518, 0.91), (8, 1580, 0.77), (12, 4856, 0.65)])
def test_the_best_embedding_on_torino(num_qubits: int, count: int, success: float) -> None:
    device = snapshot("fake_torino")
    found = embeddings(ladder(num_qubits), device)
    assert len(found) == count
    assert found[0].success >= success

    isa = transpile(
        ladder(num_qubits), device, initial_layout=list(found[0].qubits), optimization_level=3, seed_transpiler=0
    )
    measured = isa.layout.final_index_layout()
    assert measured == list(found[0].qubits)
    assert estimated_success(isa, device.target, measured) == pytest.approx(found[0].success, rel=1e-9)


def test_all_embeddings_are_found_and_the_best_is_first() -> None:
    device = snapshot("fake_manila")
    circuit = ladder(3)
    edges = {frozenset(edge) for edge in device.coupling_map.get_edges()}
    expected = {
        place for place in itertools.permutations(range(5), 3) if {frozenset(place[:2]), frozenset(place[1:])} <= edges
    }
    found = embeddings(circuit, device)
    assert {item.qubits for item in found} == expected

    def success(place: tuple[int, ...]) -> float:
        isa = transpile(circuit, device, initial_layout=list(place), optimization_level=1, seed_transpiler=0)
        return estimated_success(isa, device.target, list(place))

    assert success(found[0].qubits) == pytest.approx(max(success(place) for place in expected), rel=2e-3)
    assert [item.success for item in found] == sorted((item.success for item in found), reverse=True)


def test_success_is_the_product_of_gate_and_readout_fidelities() -> None:
    device = snapshot("fake_torino")
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    a, b = best_embedding(circuit, device)
    target = device.target
    errors = [target["cz"][(a, b)].error, target["measure"][(a,)].error, target["measure"][(b,)].error]
    assert embeddings(circuit, device)[0].success == pytest.approx(math.prod(1 - error for error in errors))


def test_qubits_without_two_qubit_gates_take_the_best_that_are_left() -> None:
    device = snapshot("fake_torino")
    circuit = QuantumCircuit(3)
    readout = np.array([device.target["measure"][(q,)].error for q in range(device.num_qubits)])
    place = embeddings(circuit, device)[0].qubits
    assert len(set(place)) == 3
    assert sorted(readout[list(place)]) == pytest.approx(sorted(readout)[:3])

    circuit.cx(0, 2)
    assert all(len(set(item.qubits)) == 3 for item in embeddings(circuit, device))


def test_a_circuit_that_fits_nowhere_has_no_embedding() -> None:
    triangle = QuantumCircuit(3)
    triangle.cx(0, 1)
    triangle.cx(1, 2)
    triangle.cx(2, 0)
    assert embeddings(triangle, snapshot("fake_torino")) == []
    with pytest.raises(CircuitError, match="fit nowhere"):
        best_embedding(triangle, snapshot("fake_torino"))


def test_a_circuit_larger_than_the_device_is_refused() -> None:
    with pytest.raises(CircuitError, match="6 qubits and `fake_manila` 5"):
        embeddings(ladder(6), snapshot("fake_manila"))


def test_enumeration_is_bounded() -> None:
    assert len(embeddings(ladder(4), snapshot("fake_torino"), limit=10)) == 10


def test_instructions_of_a_device_that_are_no_gates_change_nothing() -> None:
    device = snapshot("fake_kingston")
    assert "measure_2" in device.target.operation_names
    # Names that nobody has seen, with and without bits, and one that looks like a gate's.
    for name, bits in (("measure_and_forget", 1), ("reset_hard", 0), ("cz_2", 0)):
        operation = Instruction(name, 1, bits, [])
        device.target.add_instruction(operation, {(q,): None for q in range(device.num_qubits)}, name=name)
    plain = Target(num_qubits=device.num_qubits, dt=device.target.dt)
    for name in ("cz", "id", "rz", "sx", "x", "measure"):
        plain.add_instruction(device.target.operation_from_name(name), device.target[name], name=name)
    expected = embeddings(ladder(3), SavedBackend("plain", plain, None), limit=500)
    assert embeddings(ladder(3), device, limit=500) == expected

    circuit = QuantumCircuit(device.num_qubits, 1)
    a, b = expected[0].qubits[:2]
    circuit.cz(a, b)
    circuit.append(device.target.operation_from_name("measure_2"), [a], [0])
    assert estimated_success(circuit, device.target, []) == pytest.approx(1 - device.target["cz"][(a, b)].error)
