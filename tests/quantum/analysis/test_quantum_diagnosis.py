import json

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

import qhybrid.quantum
from qhybrid.errors import CircuitError
from qhybrid.quantum.analysis.diagnosis import diagnose
from qhybrid.quantum.circuits.ansatz import benchmark_spec, build_spec, published_spec, z_observables
from qhybrid.quantum.circuits.feasibility import require_feasible
from qhybrid.quantum.circuits.spec import CircuitSpec


@pytest.mark.parametrize("qubits", [1, 2, 5])
@pytest.mark.parametrize("ansatz", ["ry_rz_ladder", "real_amplitudes", "reuploading"])
def test_ansatze_have_no_dead_parameters(ansatz: str, qubits: int) -> None:
    found = diagnose(build_spec(ansatz, qubits, 3), draws=8)
    assert found.dead == found.dead_inputs == found.proven == ()
    assert min(found.gradient_variance.values()) > 1e-4


def test_every_weight_of_the_published_circuit_is_dead_by_structure() -> None:
    spec = published_spec()
    found = diagnose(spec, draws=2)
    assert found.dead == found.proven == tuple(weight.name for weight in spec.weights)
    assert found.dead_inputs == ()
    assert all(found.gradient_variance[name] == 0 for name in found.dead)


def test_last_rz_before_the_ladder_is_dead() -> None:
    """Why the ansatz puts RZ before RY."""
    found = diagnose(benchmark_spec(3, 2), draws=4)
    assert found.dead == ("w[9]", "w[10]", "w[11]")


def test_dead_only_numerically_is_found() -> None:
    """RX(a) RX(-a) cancels: each rotation matters, their common parameter does not."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(a, 0)
    circuit.rx(-a, 0)
    circuit.ry(b, 0)
    found = diagnose(CircuitSpec("cancel", circuit, (), (a, b), z_observables(1)), draws=4)
    assert found.dead == ("a",)
    assert found.proven == ()


def test_small_gradients_are_not_dead() -> None:
    a = Parameter("a")
    circuit = QuantumCircuit(1)
    circuit.ry(1e-6 * a, 0)
    assert diagnose(CircuitSpec("small", circuit, (), (a,), z_observables(1)), draws=4).dead == ()


def test_light_cones() -> None:
    a, b, c = Parameter("a"), Parameter("b"), Parameter("c")
    circuit = QuantumCircuit(3)
    circuit.ry(a, 0)
    circuit.ry(b, 1)
    circuit.ry(c, 2)
    circuit.cx(0, 1)
    observables = tuple(SparsePauliOp(label) for label in ("IIZ", "IZI", "ZII"))
    cones = diagnose(CircuitSpec("cones", circuit, (a, b, c), (), observables), draws=2).light_cones
    assert [cone.qubits for cone in cones] == [(0,), (0, 1), (2,)]
    assert [cone.parameters for cone in cones] == [("a",), ("a", "b"), ("c",)]


def test_diagnosis_is_json() -> None:
    text = json.dumps(diagnose(build_spec("real_amplitudes", 2, 1), draws=2).to_dict())
    assert json.loads(text)["gradient_variance"]["x[0]"] > 0


def test_package_root_gives_the_function() -> None:
    assert qhybrid.quantum.diagnose is diagnose


def test_forty_qubits_are_refused_with_the_memory_they_would_take() -> None:
    with pytest.raises(CircuitError, match=r"40 qubits would take 512 TiB.*GiB available.*at most \d+ qubits"):
        require_feasible(40, 64)
    with pytest.raises(CircuitError, match="at least 1"):
        require_feasible(0, 64)
    require_feasible(build_spec("ry_rz_ladder", 12, 1), 64)
