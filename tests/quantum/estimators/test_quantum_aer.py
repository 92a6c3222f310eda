import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import XGate
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import Pauli, SparsePauliOp, Statevector
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

from qhybrid.config import DeviceNoiseConfig, QuantumConfig
from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec, z_observables
from qhybrid.quantum.devices.snapshots import crop, snapshot
from qhybrid.quantum.engine.compiler.angle_expansion import STANDARD_GATES
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.estimators.from_config import build_estimator


def asymmetric_readout() -> NoiseModel:
    """P(1 read | 0) = 0.02, P(0 read | 1) = 0.3 on qubit 0; 0.1 and 0.05 on qubit 1."""
    model = NoiseModel()
    model.add_readout_error(ReadoutError([[0.98, 0.02], [0.3, 0.7]]), [0])
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.05, 0.95]]), [1])
    return model


def rotated(angle: float) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    circuit.ry(0.4, 1)
    return circuit


@pytest.mark.parametrize("ansatz", ["ry_rz_ladder", "real_amplitudes", "reuploading"])
def test_without_noise_equals_compiled(ansatz: str) -> None:
    spec = build_spec(ansatz, 3, 2)
    values = np.random.default_rng(0).normal(size=(4, spec.circuit.num_parameters))
    pub = (spec.circuit, [[observable] for observable in spec.observables], values)
    aer, compiled = AerEstimator().run([pub]).result()[0], CompiledEstimator(double=True).run([pub]).result()[0]
    np.testing.assert_allclose(aer.data.evs, compiled.data.evs, atol=1e-10)


def test_pubs_broadcast_as_in_qiskit_in_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    a = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.cx(0, 1)
    pubs = [
        (
            circuit,
            [SparsePauliOp(["ZI", "XX", "YY"], [1.0, 0.5, 2.0]), "II", "ZZ"],
            np.linspace(0, 1, 3)[:, None, None],
        ),
        (rotated(0.3), [["ZX"], ["YI"]]),
        (rotated(0.3), "II"),
        (circuit, "IZ", 0.3),
    ]
    jobs = []
    estimator = AerEstimator()
    run = estimator._backend.run
    monkeypatch.setattr(estimator._backend, "run", lambda *args, **kw: jobs.append(args) or run(*args, **kw))
    ours, theirs = estimator.run(pubs).result(), StatevectorEstimator().run(pubs).result()
    assert len(jobs) == 1
    for mine, other in zip(ours, theirs, strict=True):
        assert np.shape(mine.data.evs) == np.shape(other.data.evs)
        np.testing.assert_allclose(mine.data.evs, other.data.evs, atol=1e-12)


def test_readout_error_has_the_right_sign() -> None:
    estimator = AerEstimator(asymmetric_readout())
    for flipped, expected in ((False, [1 - 2 * 0.02, 1 - 2 * 0.1]), (True, [-1 + 2 * 0.3, -1 + 2 * 0.05])):
        circuit = QuantumCircuit(2)
        if flipped:
            circuit.x([0, 1])
        values = estimator.run([(circuit, list(z_observables(2)))]).result()[0].data.evs
        np.testing.assert_allclose(values, expected, atol=1e-12)
    clean = AerEstimator(asymmetric_readout(), readout_error=False).run([(circuit, "ZZ")]).result()[0].data.evs
    assert clean == pytest.approx(1.0)


@pytest.mark.parametrize("label", ["ZZ", "IZ", "XZ", "YX"])
def test_exact_noise_agrees_with_sampled_counts(label: str) -> None:
    model = asymmetric_readout()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 1), ["ry", "sx"])
    pub = (rotated(1.1), label)
    exact = AerEstimator(model).run([pub]).result()[0].data.evs
    sampled = AerEstimator(model, shots=40_000, seed=3).run([pub]).result()[0].data
    noiseless = StatevectorEstimator().run([pub]).result()[0].data.evs
    assert abs(exact - sampled.evs) < 4 * sampled.stds
    assert 0 < sampled.stds < 0.006
    if abs(noiseless) > 0.1:
        assert abs(exact - noiseless) > 10 * sampled.stds


def test_bell_state_on_a_device_shows_its_readout_error() -> None:
    device = crop(snapshot("fake_torino"), [0, 1])
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    exact = AerEstimator(device=device).run([(bell, "ZZ")]).result()[0].data.evs
    perfect_readout = AerEstimator(device=device, readout_error=False).run([(bell, "ZZ")]).result()[0].data.evs
    measured = bell.copy()
    measured.measure_all()
    simulator = AerSimulator.from_backend(device)
    from qiskit import transpile

    native = transpile(measured, device, initial_layout=[0, 1], optimization_level=1, seed_transpiler=0)
    counts = simulator.run(native, shots=40_000, seed_simulator=5).result().get_counts()
    mean = sum(n * (1 if key in ("00", "11") else -1) for key, n in counts.items()) / 40_000
    assert abs(exact - mean) < 4 * np.sqrt((1 - mean**2) / 40_000)
    assert exact < perfect_readout - 0.05
    assert perfect_readout > 0.95


def test_gates_outside_the_noise_model_are_transpiled_into_it() -> None:
    """With noise on SX only, Aer would run RY without any."""
    model = NoiseModel(basis_gates=["sx", "rz", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 1), ["sx"])
    circuit = QuantumCircuit(1)
    circuit.ry(0.1, 0)
    assert AerEstimator(model).run([(circuit, "Z")]).result()[0].data.evs < 0.9


def test_qubit_order_on_a_device() -> None:
    device = crop(snapshot("fake_torino"), [3, 2, 1])
    circuit = QuantumCircuit(3)
    circuit.append(XGate(), [2])
    values = AerEstimator(device=device).run([(circuit, list(z_observables(3)))]).result()[0].data.evs
    np.testing.assert_array_equal(np.sign(values), [1, 1, -1])


def test_shots_are_seeded_and_follow_the_values() -> None:
    a = Parameter("a")
    circuit = QuantumCircuit(1)
    circuit.ry(a, 0)

    def sample(seed: int, angle: float) -> float:
        return float(AerEstimator(shots=100, seed=seed).run([(circuit, "Z", angle)]).result()[0].data.evs)

    assert sample(1, 1.5) == sample(1, 1.5)
    assert len({sample(seed, 1.5) for seed in range(6)}) > 1
    assert len({sample(1, 1.5 + 1e-9 * k) for k in range(6)}) > 1
    result = AerEstimator(seed=1).run([(circuit, "Z", 1.5)], precision=0.1).result()
    assert result.metadata["shots"] == 100
    assert result[0].data.stds == pytest.approx(0.1, rel=0.1)


def test_large_circuits_under_noise_and_two_noises_are_refused() -> None:
    with pytest.raises(CircuitError, match="13 qubits under noise"):
        AerEstimator(asymmetric_readout()).run([(QuantumCircuit(13), "Z" * 13)]).result()
    with pytest.raises(CircuitError, match="not both"):
        AerEstimator(asymmetric_readout(), device=crop(snapshot("fake_manila"), [0]))
    model = NoiseModel()
    model.add_readout_error(ReadoutError(np.full((4, 4), 0.25)), [0, 1])
    with pytest.raises(CircuitError, match="correlated"):
        AerEstimator(model).run([(QuantumCircuit(2), "ZZ")]).result()


def test_estimator_of_a_configuration() -> None:
    spec = build_spec("ry_rz_ladder", 3, 1)
    assert isinstance(build_estimator(spec, QuantumConfig(), 0), CompiledEstimator)
    sampled = build_estimator(spec, QuantumConfig(simulator="aer", shots=50), 7)
    assert (sampled.shots, sampled.seed, sampled.noise_model) == (50, 7, None)
    noise = DeviceNoiseConfig(device="fake_manila", readout_error=False)
    noisy = build_estimator(spec, QuantumConfig(simulator="aer", noise=noise), 0)
    assert noisy.device.num_qubits == 3
    assert noisy.noise_model._local_readout_errors == {}
    with pytest.raises(CircuitError, match="fake_nowhere"):
        build_estimator(spec, QuantumConfig(simulator="aer", noise=DeviceNoiseConfig(device="fake_nowhere")), 0)


@pytest.mark.parametrize(
    "name",
    sorted(name for name, gate in STANDARD_GATES.items() if gate.params and name not in ("delay", "global_phase")),
)
def test_free_angles_of_every_gate_reach_aer(name: str) -> None:
    """Controlled gates among them, whose angles Aer's own binding forgets."""
    template = STANDARD_GATES[name]
    size, count = template.num_qubits, len(template.params)
    angles = ParameterVector("p", count)
    circuit = QuantumCircuit(size)
    for qubit in range(size):
        circuit.ry(0.3 + 0.4 * qubit, qubit)
    circuit.append(type(template)(*angles), range(size)[::-1])
    circuit.rx(0.5, range(size))
    pub = (circuit, [["Z" * size], ["X" + "I" * (size - 1)]], np.linspace(0.2, 1.4, 2 * count).reshape(2, count))
    expected = StatevectorEstimator().run([pub]).result()[0].data.evs
    np.testing.assert_allclose(AerEstimator().run([pub]).result()[0].data.evs, expected, atol=1e-9)


def test_gate_with_errors_that_the_density_matrix_cannot_run_is_refused() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cry"])
    circuit = QuantumCircuit(2)
    circuit.cry(Parameter("a"), 0, 1)
    with pytest.raises(CircuitError, match=r"`cry`.*CompiledEstimator"):
        AerEstimator(model).run([(circuit, "ZZ", [0.3])]).result()
    # With a number for its angle it is a matrix, which Aer runs, with the errors of the gate.
    circuit = QuantumCircuit(2)
    circuit.ry(0.5, 0)
    circuit.cry(0.3, 0, 1)
    value = AerEstimator(model).run([(circuit, "ZI")]).result()[0].data.evs
    assert value == pytest.approx(0.9 * Statevector(circuit).expectation_value(Pauli("ZI")).real, abs=1e-6)
