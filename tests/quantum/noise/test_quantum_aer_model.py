"""What this project reads inside Aer's noise models is where it was: fails when a new version of Aer moves it."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Delay
from qiskit.quantum_info import SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    LocalNoisePass,
    NoiseModel,
    ReadoutError,
    RelaxationNoisePass,
    depolarizing_error,
    thermal_relaxation_error,
)

from qhybrid.quantum.noise import aer_model


def test_quantum_errors_are_found_as_aer_finds_them() -> None:
    model = NoiseModel(basis_gates=["x"])
    everywhere, here = depolarizing_error(0.2, 1), depolarizing_error(0.6, 1)
    model.add_all_qubit_quantum_error(everywhere, "x")
    model.add_quantum_error(here, "x", [1], warnings=False)
    errors = aer_model.quantum_errors(model)
    for qubit, shrunk in ((0, 0.8), (1, 0.4)):
        circuit = QuantumCircuit(2)
        circuit.x(qubit)
        circuit.save_expectation_value(np.diag([1, -1]), [qubit], label="z")
        simulator = AerSimulator(method="density_matrix", noise_model=model, enable_truncation=False)
        assert simulator.run(circuit).result().data()["z"] == pytest.approx(-shrunk)
        assert SuperOp(errors.find("x", (qubit,))) == SuperOp(here if qubit else everywhere)
    assert errors.find("y", (0,)) is None


def test_readout_errors_are_found_and_removed() -> None:
    model = NoiseModel()
    default, local = ReadoutError([[0.9, 0.1], [0.2, 0.8]]), ReadoutError([[0.7, 0.3], [0.4, 0.6]])
    model.add_all_qubit_readout_error(default)
    model.add_readout_error(local, [1])
    model.add_all_qubit_quantum_error(depolarizing_error(0.5, 1), "measure")
    errors = aer_model.readout_errors(model)
    assert (errors.default, dict(errors.local)) == (default, {(1,): local})
    circuit = QuantumCircuit(2)
    circuit.measure_all()
    clean = aer_model.without_readout(model)
    counts = AerSimulator(noise_model=clean).run(circuit, shots=500, seed_simulator=1).result().get_counts()
    assert counts == {"00": 500}
    noisy = AerSimulator(noise_model=model).run(circuit, shots=500, seed_simulator=1).result().get_counts()
    assert len(noisy) == 4


def test_passes_are_found_called_and_added() -> None:
    relaxation = RelaxationNoisePass([1e-4, np.inf], [5e-5, np.inf], dt=1e-9, op_types=Delay)
    model = NoiseModel()
    aer_model.add_noise_pass(model, relaxation)
    assert aer_model.noise_passes(model) == [relaxation]
    assert aer_model.is_local_and_behind(relaxation)
    assert not aer_model.is_local_and_behind(LocalNoisePass(lambda op, qubits: None, method="prepend"))
    error = aer_model.error_of_pass(relaxation, Delay(1000, "dt"), (0,))
    assert SuperOp(error) == SuperOp(thermal_relaxation_error(1e-4, 5e-5, 1e-6))
    assert aer_model.error_of_pass(relaxation, Delay(1000, "dt"), (1,)) is None
    values = aer_model.relaxation_values(relaxation)
    np.testing.assert_array_equal(values["t1s"], [1e-4, np.inf])
    np.testing.assert_array_equal(values["t2s"], [5e-5, np.inf])
    np.testing.assert_array_equal(values["excited_state_populations"], [0, 0])
    assert values["dt"] == 1e-9
    assert aer_model.relaxation_values(LocalNoisePass(lambda op, qubits: None)) is None
    # And Aer itself acts on the pass that was added.
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.delay(100, 0, "us")
    circuit.save_expectation_value(np.diag([1, -1]), [0], label="z")
    value = AerSimulator(method="density_matrix", noise_model=model).run(circuit).result().data()["z"]
    assert value == pytest.approx(1 - 2 * np.exp(-1))
