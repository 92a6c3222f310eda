from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import benchmark_spec, build_spec, published_spec, z_observables
from qhybrid.quantum.circuits.spec import CircuitSpec

ANSATZE = ("ry_rz_ladder", "real_amplitudes", "reuploading")


@pytest.mark.parametrize("name", ANSATZE)
def test_spec_survives_qpy(name: str, tmp_path: Path) -> None:
    spec = build_spec(name, 3, 2)
    spec.save(tmp_path / "circuit.qpy")
    loaded = CircuitSpec.load(tmp_path / "circuit.qpy")
    assert loaded == spec
    assert loaded.content_hash() == spec.content_hash()
    assert [p.name for p in loaded.weights] == [p.name for p in spec.weights]


def test_content_hash_sees_gates_roles_and_observables() -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.rx(b, 1)
    spec = CircuitSpec("s", circuit, (a,), (b,), z_observables(2))
    other_gate = circuit.copy()
    other_gate.x(0)
    variants = [
        CircuitSpec("s", other_gate, (a,), (b,), z_observables(2)),
        CircuitSpec("s", circuit, (b,), (a,), z_observables(2)),
        CircuitSpec("s", circuit, (a,), (b,), (SparsePauliOp("ZX"),)),
    ]
    assert len({spec.content_hash(), *(variant.content_hash() for variant in variants)}) == 4


def test_custom_gates_of_one_name_are_told_apart() -> None:
    hashes = set()
    for angle in (0.1, 0.2):
        inner = QuantumCircuit(1)
        inner.rx(angle, 0)
        outer = QuantumCircuit(1)
        gate = inner.to_gate()
        gate.name = "same"
        outer.append(gate, [0])
        hashes.add(CircuitSpec("s", outer, (), (), z_observables(1)).content_hash())
    assert len(hashes) == 2


def test_observable_i_is_z_on_qubit_i() -> None:
    circuit = QuantumCircuit(3)
    circuit.x(1)
    values = StatevectorEstimator().run([(circuit, list(z_observables(3)))]).result()[0].data.evs
    np.testing.assert_allclose(values, [1, -1, 1])


def test_roles_must_cover_the_parameters() -> None:
    a = Parameter("a")
    circuit = QuantumCircuit(1)
    circuit.ry(a, 0)
    with pytest.raises(CircuitError, match="'a'"):
        CircuitSpec("s", circuit, (), (), z_observables(1))
    with pytest.raises(CircuitError, match="twice"):
        CircuitSpec("s", circuit, (a,), (a,), z_observables(1))
    with pytest.raises(CircuitError, match="2 qubits"):
        CircuitSpec("s", circuit, (a,), (), z_observables(2))


@pytest.mark.parametrize(("qubits", "layers"), [(0, 1), (1, 0)])
def test_empty_circuits_are_refused(qubits: int, layers: int) -> None:
    with pytest.raises(CircuitError, match="at least 1"):
        build_spec("ry_rz_ladder", qubits, layers)


def test_unknown_ansatz_lists_the_known() -> None:
    with pytest.raises(CircuitError, match="real_amplitudes"):
        build_spec("ghz", 2, 1)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.qpy").write_text("not a circuit")
    with (tmp_path / "bare.qpy").open("wb") as file:
        qpy.dump(QuantumCircuit(1), file)
    with pytest.raises(CircuitError, match="not a readable QPY"):
        CircuitSpec.load(tmp_path / "text.qpy")
    with pytest.raises(CircuitError, match="without inputs"):
        CircuitSpec.load(tmp_path / "bare.qpy")
    with pytest.raises(CircuitError, match="cannot be read"):
        CircuitSpec.load(tmp_path / "absent.qpy")


def test_sizes() -> None:
    assert len(build_spec("ry_rz_ladder", 4, 3).weights) == 24
    assert len(build_spec("real_amplitudes", 4, 3).weights) == 16
    assert len(published_spec().weights) == 48
    assert published_spec().num_qubits == published_spec().num_outputs == 16
    assert len(benchmark_spec(4).weights) == 24
