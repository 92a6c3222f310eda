"""Measures of states, gradients and signal loss against cases whose answer is known."""

import functools
import json

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import C3SXGate
from qiskit.quantum_info import SparsePauliOp, Statevector, random_statevector, random_unitary
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

from qhybrid.errors import CircuitError
from qhybrid.quantum.analysis.expressibility import (
    BINS,
    divergence_from_haar,
    fidelities,
    measure_capability,
    meyer_wallach,
)
from qhybrid.quantum.analysis.gradient_scaling import gradient_scaling
from qhybrid.quantum.analysis.signal_loss import device_shrinkage, measure_shrinkage
from qhybrid.quantum.circuits.ansatz import build_spec, published_spec, z_observables
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.engine.statevector.states import simulate
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator


def haar(count: int, num_qubits: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([random_statevector(2**num_qubits, rng).data for _ in range(count)])


def product_spec(num_qubits: int, num_layers: int = 1, label: str | None = None) -> CircuitSpec:
    """RY rotations only; the observable `label` or every <Z_i>."""
    weights = ParameterVector("w", num_qubits * num_layers)
    circuit = QuantumCircuit(num_qubits)
    for index, weight in enumerate(weights):
        circuit.ry(weight, index % num_qubits)
    observables = z_observables(num_qubits) if label is None else (SparsePauliOp(label * num_qubits),)
    return CircuitSpec("product", circuit, (), tuple(weights), observables)


def test_states_are_those_of_qiskit() -> None:
    p = ParameterVector("p", 3)
    circuit = QuantumCircuit(4)
    circuit.h(0)
    circuit.ryy(p[0], 2, 0)
    circuit.rzx(p[1] * p[2], 3, 1)
    circuit.u(p[0], 0.3, p[2], 2)
    circuit.cry(p[1], 3, 0)
    circuit.append(C3SXGate(), [2, 0, 3, 1])
    circuit.unitary(random_unitary(8, seed=0), [3, 0, 2])
    circuit.rzz(p[2], 1, 3)
    circuit.rx(0.2, 1)
    values = np.random.default_rng(0).uniform(-3, 3, (5, 3))
    expected = np.array([Statevector(circuit.assign_parameters(row)).data for row in values])
    np.testing.assert_allclose(fidelities(simulate(circuit, list(p), values), expected), 1.0, atol=1e-12)


def test_large_batches_are_cut_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = build_spec("reuploading", 3, 1)
    parameters = [*spec.inputs, *spec.weights]
    values = np.random.default_rng(0).uniform(-3, 3, (7, len(parameters)))
    whole = simulate(spec.circuit, parameters, values)
    monkeypatch.setattr("qhybrid.quantum.engine.statevector.states._CHUNK", 16)
    np.testing.assert_array_equal(simulate(spec.circuit, parameters, values), whole)


@pytest.mark.parametrize("num_qubits", [1, 2, 4, 8])
def test_haar_states_diverge_from_haar_by_the_bias_only(num_qubits: int) -> None:
    states = haar(4000, num_qubits, seed=num_qubits)
    divergence = divergence_from_haar(fidelities(states[::2], states[1::2]), num_qubits)
    assert 0 <= divergence < 1.5 * BINS / (2 * 2000)


@pytest.mark.parametrize("num_qubits", [1, 3, 10])
def test_an_idle_circuit_has_the_largest_divergence(num_qubits: int) -> None:
    found = measure_capability(
        CircuitSpec("idle", QuantumCircuit(num_qubits), (), (), z_observables(num_qubits)), pairs=50
    )
    # Sim et al., table I: 4.30 for one qubit and 75 bins.
    assert found.expressibility == pytest.approx((2**num_qubits - 1) * np.log(BINS))
    assert found.idle == pytest.approx(found.expressibility)
    assert found.entanglement == 0


def test_states_on_a_circle_of_the_bloch_sphere() -> None:
    """H then RZ: F = cos^2(difference / 2) follows the arcsine law, while Haar's is uniform for one qubit."""
    w = ParameterVector("w", 1)
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.rz(w[0], 0)
    found = measure_capability(CircuitSpec("circle", circuit, (), tuple(w), z_observables(1)), pairs=20_000)
    masses = np.diff(2 / np.pi * np.arcsin(np.sqrt(np.linspace(0, 1, BINS + 1))))
    assert found.expressibility == pytest.approx(np.sum(masses * np.log(masses * BINS)), abs=0.01)


def test_meyer_wallach_of_known_states() -> None:
    ghz = np.zeros(8)
    ghz[[0, 7]] = 0.5**0.5
    w_state = np.zeros(8)
    w_state[[1, 2, 4]] = 3**-0.5
    bell_and_one = np.kron([0.5**0.5, 0, 0, 0.5**0.5], [0.6, 0.8])
    product = np.kron(np.kron([0.6, 0.8j], [1, 0]), [0.8, -0.6])
    found = meyer_wallach(np.array([ghz, w_state, bell_and_one, product], dtype=complex))
    np.testing.assert_allclose(found, [1, 8 / 9, 2 / 3, 0], atol=1e-12)


def test_entangling_capability() -> None:
    product = measure_capability(product_spec(3), pairs=20)
    assert product.entanglement == pytest.approx(0, abs=1e-12)
    random = meyer_wallach(haar(2000, 3, seed=0)).mean()
    found = measure_capability(build_spec("reuploading", 3, 6), pairs=1000)
    assert found.haar_entanglement == pytest.approx(random, abs=0.01)
    assert found.entanglement == pytest.approx(random, abs=0.05)
    assert found.expressibility < product.expressibility / 10
    assert json.loads(json.dumps(found.to_dict()))["pairs"] == 1000


def test_capability_is_reproducible_and_its_floor_is_that_of_haar_states() -> None:
    spec = build_spec("ry_rz_ladder", 4, 3)
    found = measure_capability(spec, pairs=500, seed=3)
    assert found == measure_capability(spec, pairs=500, seed=3)
    assert found.expressibility != measure_capability(spec, pairs=500, seed=4).expressibility
    divergences = []
    for seed in range(10):
        states = haar(1000, 4, seed)
        divergences.append(divergence_from_haar(fidelities(states[:500], states[500:]), 4))
    assert found.haar_floor == pytest.approx(np.mean(divergences), rel=0.3)
    with pytest.raises(CircuitError, match="at least 1"):
        measure_capability(spec, pairs=0)


def test_a_global_observable_on_a_product_state_has_a_barren_plateau_of_exponent_one() -> None:
    """Var of d/dw_k prod_i cos(w_i) is 2^-n."""
    found = gradient_scaling(lambda n, layers: product_spec(n, layers, "Z"), [1, 2, 4, 6], [1], draws=4000)
    np.testing.assert_allclose(np.ravel(found.variance), 2.0 ** -np.array([1, 2, 4, 6]), rtol=0.15)
    assert found.qubit_exponents[0] == pytest.approx(1, abs=0.05)
    assert found.layer_exponents == (None,) * 4


def test_local_observables_on_a_product_state_have_none() -> None:
    found = gradient_scaling(product_spec, [1, 2, 4, 8], [1, 2], draws=1000)
    np.testing.assert_allclose(found.variance, 0.5, rtol=0.1)
    assert np.abs(found.qubit_exponents).max() < 0.05
    assert np.abs(found.layer_exponents).max() < 0.15


def test_gradient_scaling_of_the_ansatz_and_of_the_published_circuit() -> None:
    found = gradient_scaling(functools.partial(build_spec, "ry_rz_ladder"), [2, 4, 6], [1, 3])
    assert np.all(np.diff(found.variance, axis=0) < 0)
    assert all(0.2 < exponent < 1.2 for exponent in found.qubit_exponents)
    dead = gradient_scaling(published_spec, [2, 4], [1, 2], draws=4)
    assert dead.variance == ((0.0, 0.0), (0.0, 0.0))
    assert dead.qubit_exponents == (None, None)
    json.dumps(dead.to_dict())
    with pytest.raises(CircuitError, match="give each once"):
        gradient_scaling(published_spec, [2, 2], [1])


def test_shrinkage_by_depolarizing_and_readout_is_their_product() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), ["ry"])
    model.add_readout_error(ReadoutError([[0.98, 0.02], [0.06, 0.94]]), [1])
    found = measure_shrinkage(product_spec(2), AerEstimator(model), draws=8)
    np.testing.assert_allclose(found.slope, [0.9, 0.9 * 0.92], atol=1e-6)
    np.testing.assert_allclose(found.offset, [0, 0.04], atol=1e-6)
    np.testing.assert_allclose(found.residual, 0, atol=1e-6)


def test_nothing_shrinks_without_noise_and_a_constant_has_no_slope() -> None:
    spec = product_spec(2)
    constant = CircuitSpec("c", spec.circuit, (), spec.weights, (*spec.observables, SparsePauliOp("II", [0.5])))
    found = measure_shrinkage(constant, CompiledEstimator(double=True), draws=5)
    assert found.slope[2] is None
    np.testing.assert_allclose(found.slope[:2], 1, atol=1e-6)
    np.testing.assert_allclose(found.offset, [0, 0, 0.5], atol=1e-6)
    with pytest.raises(CircuitError, match="at least 3"):
        measure_shrinkage(spec, CompiledEstimator(), draws=2)


def test_shrinkage_on_a_device() -> None:
    spec = build_spec("ry_rz_ladder", 3, 2)
    found = device_shrinkage(spec, "fake_manila", draws=8)
    assert found.device == "fake_manila"
    assert len(set(found.qubits)) == 3
    for gates, total in zip(found.gates.slope, found.total.slope, strict=True):
        assert 0.7 < total < gates - 0.01
        assert gates < 0.999
    assert max(found.total.residual) < 0.02
    json.dumps(found.to_dict())
