import json
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, random_unitary
from qiskit_aer.noise import (
    LocalNoisePass,
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    pauli_error,
    thermal_relaxation_error,
)

from qhybrid.errors import CircuitError
from qhybrid.quantum.devices.snapshots import crop, noise_model, snapshot
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.noise.files import load_noise_model, save_noise_model


def every_kind() -> NoiseModel:
    model = NoiseModel(basis_gates=["rx", "sx", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cx", "cz"])
    model.add_quantum_error(amplitude_damping_error(0.2).compose(pauli_error([("X", 0.1), ("I", 0.9)])), ["sx"], [1])
    model.add_quantum_error(coherent_unitary_error(random_unitary(4, seed=1)), ["cx"], [1, 0])
    model.add_all_qubit_quantum_error(thermal_relaxation_error(50.0, 30.0, 5.0), ["sx", "id"])
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]), [1])
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.1, 0.9]]))
    return model


@pytest.mark.parametrize("kind", ["own", "device"])
def test_round_trip(tmp_path: Path, kind: str) -> None:
    model = every_kind() if kind == "own" else noise_model(crop(snapshot("fake_torino"), [0, 1]))
    save_noise_model(model, tmp_path / "noise.json")
    json.loads((tmp_path / "noise.json").read_text())
    loaded = load_noise_model(tmp_path / "noise.json")
    assert loaded.basis_gates == model.basis_gates
    assert loaded._local_quantum_errors == model._local_quantum_errors
    assert loaded._default_quantum_errors == model._default_quantum_errors
    assert loaded._local_readout_errors == model._local_readout_errors
    assert loaded._default_readout_error == model._default_readout_error
    circuit = QuantumCircuit(2)
    circuit.sx([0, 1])
    circuit.delay(1000, 0, unit="ns")
    (circuit.cx if kind == "own" else circuit.cz)(1, 0)
    circuit.sx(1)
    values = [
        CompiledEstimator(item, double=True)
        .compile(circuit, [SparsePauliOp(label) for label in ("ZI", "IZ", "XY")], [])
        .expectations(np.zeros((1, 0)))
        for item in (model, loaded)
    ]
    np.testing.assert_array_equal(*values)


def test_what_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    model = every_kind()
    model._custom_noise_passes.append(LocalNoisePass(lambda op, qubits: None))
    with pytest.raises(CircuitError, match="LocalNoisePass"):
        save_noise_model(model, tmp_path / "noise.json")
    with pytest.raises(CircuitError, match="cannot be read"):
        load_noise_model(tmp_path / "noise.json")
    (tmp_path / "noise.json").write_text("{}")
    with pytest.raises(CircuitError, match="no noise model"):
        load_noise_model(tmp_path / "noise.json")
    save_noise_model(every_kind(), tmp_path / "noise.json")
    content = json.loads((tmp_path / "noise.json").read_text())
    del content["quantum_errors"][0]["terms"][0]["circuit"]
    (tmp_path / "noise.json").write_text(json.dumps(content))
    with pytest.raises(CircuitError, match="damaged"):
        load_noise_model(tmp_path / "noise.json")
