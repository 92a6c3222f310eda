"""`AerEstimator` on circuits with idle qubits, labels and matrices: right qubits, right errors.

References are Aer's counts, its density matrix, and closed forms.
"""

import itertools
import warnings

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.circuit.library import CXGate, RXGate, UnitaryGate, XGate
from qiskit.primitives import StatevectorEstimator
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.quantum_info import DensityMatrix, Operator, Pauli, SparsePauliOp, random_unitary
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, coherent_unitary_error, depolarizing_error

from qhybrid.errors import CircuitError
from qhybrid.quantum.devices.snapshots import crop, noise_model, snapshot
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.noise.gate_noise import NoiselessGateWarning

ESTIMATORS = (CompiledEstimator, AerEstimator)


def value(estimator: BaseEstimatorV2, circuit: QuantumCircuit, observable: object) -> float:
    return float(estimator.run([(circuit, observable)]).result()[0].data.evs)


def density_matrix(circuit: QuantumCircuit, model: NoiseModel | None = None) -> DensityMatrix:
    """Aer run directly."""
    saved = circuit.copy()
    saved.save_density_matrix()
    simulator = AerSimulator(method="density_matrix", noise_model=model, enable_truncation=False)
    return DensityMatrix(simulator.run(saved).result().data()["density_matrix"])


def ghz(used: tuple[int, ...], qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(used[0])
    for pair in itertools.pairwise(used):
        circuit.cx(*pair)
    circuit.ry(0.7, used[-1])
    return circuit


SUBSETS = [used for size in (1, 2, 3, 4) for used in itertools.combinations(range(5), size)]


@pytest.mark.parametrize("used", SUBSETS, ids=lambda used: "".join(map(str, used)))
def test_idle_qubits_below_used_ones(used: tuple[int, ...]) -> None:
    circuit = ghz(used, 5)
    labels = ["".join(letters) for letters in itertools.product("IZ", repeat=5)] + ["XIIII", "IYIXI", "IIXXZ", "YIIIY"]
    expected = StatevectorEstimator().run([(circuit, labels)]).result()[0].data.evs
    np.testing.assert_allclose(AerEstimator().run([(circuit, labels)]).result()[0].data.evs, expected, atol=1e-9)


def test_a_ghz_state_around_an_idle_qubit() -> None:
    circuit = QuantumCircuit(5)
    circuit.h(0)
    for pair in ((0, 1), (1, 3), (3, 4)):
        circuit.cx(*pair)
    assert value(AerEstimator(), circuit, "ZIIII") == pytest.approx(0, abs=1e-9)


def test_a_barrier_over_idle_qubits_changes_nothing() -> None:
    circuit = ghz((1, 3), 5)
    circuit.barrier()
    labels = ["ZIIII", "IZIII", "IIIZI", "IZIZI", "IXIXZ"]
    expected = StatevectorEstimator().run([(circuit, labels)]).result()[0].data.evs
    np.testing.assert_allclose(AerEstimator().run([(circuit, labels)]).result()[0].data.evs, expected, atol=1e-9)


@pytest.mark.parametrize("used", [(0, 1, 3, 4), (3, 4), (2, 4), (4,), (1, 3)], ids=str)
def test_idle_qubits_under_noise(used: tuple[int, ...]) -> None:
    model = NoiseModel(basis_gates=["h", "ry", "cx"])
    for qubit in range(5):
        model.add_quantum_error(depolarizing_error(0.05 * (qubit + 1), 1), ["h", "ry"], [qubit])
        for other in range(5):
            if other != qubit:
                model.add_quantum_error(depolarizing_error(0.02 * (qubit + 2 * other), 2), ["cx"], [qubit, other])
    circuit = ghz(used, 5)
    state = density_matrix(circuit, model)
    labels = ["".join(letters) for letters in itertools.product("IZ", repeat=5)]
    expected = [state.expectation_value(Pauli(label)).real for label in labels]
    np.testing.assert_allclose(AerEstimator(model).run([(circuit, labels)]).result()[0].data.evs, expected, atol=1e-6)
    np.testing.assert_allclose(
        CompiledEstimator(model).run([(circuit, labels)]).result()[0].data.evs, expected, atol=1e-5
    )


@pytest.mark.parametrize("layout", [[3, 2], [4, 3], [1, 0], [2, 1]], ids=str)
def test_an_isa_circuit_away_from_qubit_0(layout: list[int]) -> None:
    device = snapshot("fake_manila")
    circuit = QuantumCircuit(2)
    circuit.ry(0.9, 0)
    circuit.cx(0, 1)
    isa = transpile(circuit, device, initial_layout=layout, optimization_level=1, seed_transpiler=0)
    observable = SparsePauliOp("ZI").apply_layout(isa.layout)
    model = noise_model(device)
    measured = isa.copy()
    measured.measure_all()
    counts = AerSimulator(noise_model=model).run(measured, shots=40_000, seed_simulator=1).result().get_counts()
    mean = sum(n * (1 - 2 * int(key[4 - layout[1]])) for key, n in counts.items()) / 40_000
    assert value(AerEstimator(model), isa, observable) == pytest.approx(mean, abs=5 / 200)
    exact = value(AerEstimator(model, readout_error=False), isa, observable)
    assert exact == pytest.approx(density_matrix(isa, model).expectation_value(observable).real, abs=1e-6)


def test_idle_qubits_cost_no_shots_and_no_memory() -> None:
    """Two qubits of a circuit of 70: more than an integer has bits, and than any simulator has qubits."""
    circuit = ghz((40, 66), 70)
    labels = [
        SparsePauliOp.from_sparse_list([(letters, where, 1)], 70) for letters, where in (("Z", [66]), ("ZZ", [40, 66]))
    ]
    model = NoiseModel(basis_gates=["h", "ry", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cx"])
    expected = [0, np.cos(0.7)]
    np.testing.assert_allclose(AerEstimator().run([(circuit, labels)]).result()[0].data.evs, expected, atol=1e-9)
    noisy = AerEstimator(model).run([(circuit, labels)]).result()[0].data.evs
    np.testing.assert_allclose(noisy, [0, 0.9 * np.cos(0.7)], atol=1e-6)
    sampled = AerEstimator(model, shots=20_000, seed=1).run([(circuit, labels)]).result()[0].data.evs
    np.testing.assert_allclose(sampled, noisy, atol=5 / np.sqrt(20_000))


def coherent(name: str, angle: float = 0.3) -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(coherent_unitary_error(RXGate(angle)), name)
    return model


def test_errors_of_labelled_matrices_act() -> None:
    model = coherent("half")
    circuit = QuantumCircuit(1)
    circuit.rx(0.2, 0)
    circuit.append(UnitaryGate(RXGate(np.pi / 2), label="half"), [0])
    circuit.append(UnitaryGate(RXGate(np.pi / 2)), [0])
    expected = np.cos(0.2 + np.pi + 0.3)
    assert density_matrix(circuit, model).expectation_value(Pauli("Z")).real == pytest.approx(expected, abs=1e-6)
    assert value(AerEstimator(model), circuit, "Z") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_basis_of_matrices_and_one_rotation(kind: type[BaseEstimatorV2]) -> None:
    model = NoiseModel(basis_gates=["unitary", "rx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 1), "half")
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), "rx")
    circuit = QuantumCircuit(2)
    circuit.append(UnitaryGate(RXGate(0.4), label="half"), [0])
    circuit.rx(0.3, 0)
    circuit.append(UnitaryGate(random_unitary(4, seed=3)), [0, 1])
    state = density_matrix(circuit, model)
    for label in ("IZ", "ZI", "ZZ"):
        expected = state.expectation_value(Pauli(label)).real
        assert value(kind(model), circuit, label) == pytest.approx(expected, abs=1e-5)
    # The basis holds no way to turn X into Z, so the model does not say how noisy that is.
    assert value(kind(model), circuit, "XY") == pytest.approx(state.expectation_value(Pauli("XY")).real, abs=1e-5)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_gates_that_the_model_cannot_express_run_without_noise_and_are_named(kind: type[BaseEstimatorV2]) -> None:
    model = NoiseModel(basis_gates=["unitary", "rx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), "rx")
    circuit = QuantumCircuit(2)
    circuit.rx(0.3, 0)
    circuit.ry(0.5, 1)
    circuit.cx(0, 1)
    with pytest.warns(NoiselessGateWarning, match="`cx`, `ry`"):
        found = value(kind(model), circuit, "ZZ")
    assert found == pytest.approx(density_matrix(circuit, model).expectation_value(Pauli("ZZ")).real, abs=1e-5)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("operation", ["x", "rx", "cx", "custom", "free", "nested"])
def test_labels_with_errors_of_their_own_beside_gates_that_are_translated(
    kind: type[BaseEstimatorV2], operation: str
) -> None:
    inner = QuantumCircuit(2, name="block")
    inner.append(CXGate(label="err"), [0, 1])
    custom = QuantumCircuit(2, name="err")
    custom.cx(0, 1)
    theta = Parameter("theta")
    model = NoiseModel(basis_gates=["rz", "sx", "cx"])
    size = 1 if operation in ("x", "rx", "free") else 2
    model.add_all_qubit_quantum_error(depolarizing_error(0.3, size), "err")
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    gates = {
        "x": XGate(label="err"),
        "rx": RXGate(1.1, label="err"),
        "free": RXGate(theta, label="err"),
        "cx": CXGate(label="err"),
        "custom": custom.to_gate(),
        "nested": inner.to_gate(),
    }
    circuit.append(gates[operation], range(size))
    circuit.cx(0, 1)
    # Translating it, as AerEstimator does, or not, as CompiledEstimator does, is the same: no other gate has errors.
    circuit.ry(0.6, 1)
    values = [1.1] if operation == "free" else []
    # Errors follow the labelled gate, so in the Schroedinger picture they shrink what it leaves.
    state = DensityMatrix.from_label("00").evolve(Operator(RXGate(np.pi / 2)), [0])
    plain = {"x": XGate(), "rx": RXGate(1.1), "free": RXGate(1.1)}.get(operation, CXGate())
    state = state.evolve(Operator(plain), list(range(size)))
    state = state.evolve(depolarizing_error(0.3, size).to_quantumchannel(), list(range(size)))
    state = state.evolve(Operator(CXGate()), [0, 1])
    rest = QuantumCircuit(1)
    rest.ry(0.6, 0)
    state = state.evolve(Operator(rest), [1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoiselessGateWarning)
        found = kind(model).run([(circuit, ["IZ", "ZI", "ZZ"], values)]).result()[0].data.evs
    np.testing.assert_allclose(
        found, [state.expectation_value(Pauli(label)).real for label in ("IZ", "ZI", "ZZ")], atol=1e-5
    )


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("how", ["device", "model", "isa"])
@pytest.mark.parametrize("label", ["enc", "CX", "x", "a label, with spaces"])
def test_a_label_for_the_drawing_leaves_the_noise_on(kind: type[BaseEstimatorV2], how: str, label: str) -> None:
    if (how, label) == ("model", "x"):
        pytest.skip("a model of the user's may mean the label `x`, as Aer does")
    device = crop(snapshot("fake_manila"), [0, 1])
    labelled, plain = QuantumCircuit(2), QuantumCircuit(2)
    for circuit, gate in ((labelled, CXGate(label=label)), (plain, CXGate())):
        circuit.sx(0)
        circuit.append(gate, [0, 1])
    if how == "isa":
        labelled, plain = (transpile(c, device, initial_layout=[0, 1], optimization_level=0) for c in (labelled, plain))
    model = noise_model(device)
    noise = {"noise_model": model} if how == "model" else {"device": device}
    # Both gates are the device's own, so Aer runs the plain circuit as it is.
    expected = density_matrix(plain, model).expectation_value(Pauli("ZZ")).real
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert value(kind(**noise, readout_error=False), labelled, "ZZ") == pytest.approx(expected, abs=1e-6)
        assert value(kind(**noise), labelled, "ZZ") == value(kind(**noise), plain, "ZZ")
    assert abs(expected) < 0.999


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_label_cannot_hide_a_gate_without_noise(kind: type[BaseEstimatorV2]) -> None:
    """A gate that no basis gate of the model can express, under a label that the model does not know either."""
    model = NoiseModel(basis_gates=["rx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), "rx")
    circuit = QuantumCircuit(2)
    circuit.rx(0.3, 0)
    circuit.append(CXGate(label="enc"), [0, 1])
    with pytest.warns(NoiselessGateWarning, match="`cx`"):
        assert value(kind(model), circuit, "ZZ") == pytest.approx(1.0, abs=1e-6)


def test_readout_error_of_idle_qubits_is_seen() -> None:
    model = NoiseModel(basis_gates=["h", "ry", "cx"])
    for qubit in range(5):
        model.add_readout_error(ReadoutError([[1 - 0.02 * qubit, 0.02 * qubit], [0.1, 0.9]]), [qubit])
    circuit = ghz((1, 3), 5)
    for qubit in (0, 2, 4):
        label = "".join("Z" if q == qubit else "I" for q in reversed(range(5)))
        assert value(AerEstimator(model), circuit, label) == pytest.approx(1 - 0.04 * qubit, abs=1e-9)


def test_what_aer_cannot_run_is_refused_by_name() -> None:
    model = NoiseModel(basis_gates=["rz", "sx", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), "mine")
    inner = QuantumCircuit(1, name="mine")
    inner.rx(Parameter("a"), 0)
    circuit = QuantumCircuit(1)
    circuit.append(inner.to_gate(), [0])
    with pytest.raises(CircuitError, match="`mine`"):
        AerEstimator(model).run([(circuit, "Z", [0.1])]).result()
