"""Noise mode against Aer's density matrix, counts, and central differences."""

import functools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import SparsePauliOp, random_unitary
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    kraus_error,
    mixed_unitary_error,
    pauli_error,
    phase_damping_error,
    reset_error,
    thermal_relaxation_error,
)

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.devices.snapshots import crop, noise_model, snapshot
from qhybrid.quantum.engine.density import circuit as density
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn
from qhybrid.quantum.noise.gate_noise import NoiselessGateWarning

PARAMETERS = ParameterVector("p", 3)
ONE_QUBIT = {
    "depolarizing": lambda p: depolarizing_error(p, 1),
    "amplitude damping": lambda p: amplitude_damping_error(p, 0.1),
    "phase damping": phase_damping_error,
    "relaxation": lambda p: thermal_relaxation_error(50.0, 70.0, 20.0 * p),
    "short t2": lambda p: thermal_relaxation_error(50.0, 30.0, 20.0 * p, 0.2),
    "coherent": lambda p: coherent_unitary_error(random_unitary(2, seed=int(1000 * p))),
    "kraus": lambda p: kraus_error([np.sqrt(1 - p) * np.eye(2), np.sqrt(p) * np.array([[0, 1], [1j, 0]])]),
    "mixed": lambda p: mixed_unitary_error(
        [(np.eye(2), 1 - p), (np.array([[0, 1], [1, 0]]), p / 2), (np.diag([1, 1j]), p / 2)]
    ),
    "pauli": lambda p: pauli_error([("X", p), ("Y", p / 3), ("I", 1 - 4 * p / 3)]),
    "reset": lambda p: reset_error(p / 2, p / 4),
}
GATES = ("rx", "ry", "rz", "sx", "h", "id", "u", "cx", "cz", "ecr", "rzz", "cp", "swap", "ccx", "unitary")
SIZES = {"cx": 2, "cz": 2, "ecr": 2, "rzz": 2, "cp": 2, "swap": 2, "ccx": 3}
ANGLES = {"rx": 1, "ry": 1, "rz": 1, "u": 3, "rzz": 1, "cp": 1}


def two_qubit_error(name: str, p: float) -> object:
    if name == "depolarizing":
        return depolarizing_error(p, 2)
    if name == "coherent":
        return coherent_unitary_error(random_unitary(4, seed=int(1000 * p)))
    return ONE_QUBIT[name](p).tensor(ONE_QUBIT["relaxation"](p)).compose(depolarizing_error(p / 2, 2))


@st.composite
def noise_models(draw: st.DrawFn, num_qubits: int) -> NoiseModel:
    model = NoiseModel(basis_gates=list(GATES))
    rates = st.floats(0.01, 0.4)
    for gate in draw(st.lists(st.sampled_from(GATES[:-1]), min_size=3, max_size=8, unique=True)):
        size = SIZES.get(gate, 1)
        if size == 3 or size > num_qubits:
            continue
        make = functools.partial(two_qubit_error if size == 2 else lambda name, p: ONE_QUBIT[name](p))
        kinds = st.sampled_from(sorted(ONE_QUBIT))
        model.add_all_qubit_quantum_error(make(draw(kinds), draw(rates)), [gate])
        if draw(st.booleans()):
            model.add_quantum_error(make(draw(kinds), draw(rates)), [gate], list(range(size)), warnings=False)
    if draw(st.booleans()):
        for qubit in range(num_qubits):
            a, b = draw(rates), draw(rates)
            model.add_readout_error(ReadoutError([[1 - a, a], [b, 1 - b]]), [qubit])
    return model


@st.composite
def circuits(draw: st.DrawFn) -> QuantumCircuit:
    n = draw(st.integers(1, 4))
    circuit = QuantumCircuit(n)
    expressions = st.sampled_from([*PARAMETERS, 0.5 * PARAMETERS[0] + 0.2, PARAMETERS[1] * PARAMETERS[2], 0.7])
    for _ in range(draw(st.integers(2, 14))):
        gate = draw(st.sampled_from([name for name in GATES if SIZES.get(name, 1) <= n]))
        qubits = draw(st.permutations(range(n)))[: SIZES.get(gate, 1)]
        if gate == "unitary":
            size = draw(st.integers(1, min(n, 2)))
            matrix = random_unitary(2**size, seed=draw(st.integers(0, 99)))
            circuit.append(UnitaryGate(matrix), draw(st.permutations(range(n)))[:size])
        else:
            getattr(circuit, gate)(*[draw(expressions) for _ in range(ANGLES.get(gate, 0))], *qubits)
    return circuit


def expected(circuit: QuantumCircuit, model: NoiseModel, observables: list[SparsePauliOp], row: dict) -> list[float]:
    """Aer's density matrix of the bound circuit; observables are taken from it without measuring."""
    bound = circuit.assign_parameters({p: row[p] for p in circuit.parameters})
    bound.save_density_matrix()
    simulator = AerSimulator(method="density_matrix", noise_model=model)
    state = simulator.run(bound).result().data()["density_matrix"]
    return [float(np.real(state.expectation_value(observable))) for observable in observables]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_random_noise_models_agree_with_aer(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    n = circuit.num_qubits
    model = data.draw(noise_models(n))
    note(str(circuit))
    letters = data.draw(st.lists(st.text("IZ", min_size=n, max_size=n), min_size=1, max_size=3, unique=True))
    observables = [SparsePauliOp(letters, np.linspace(0.5, 1.5, len(letters))), SparsePauliOp("Z" * n)]
    values = np.random.default_rng(data.draw(st.integers(0, 99))).uniform(-3, 3, (3, 3))
    rows = [dict(zip(PARAMETERS, row, strict=True)) for row in values]
    want = np.array([expected(circuit, model, observables, row) for row in rows])
    for double, tolerance in ((True, 1e-9), (False, 1e-5)):
        estimator = CompiledEstimator(model, readout_error=False, double=double)
        compiled = estimator.compile(circuit, observables, list(PARAMETERS))
        np.testing.assert_allclose(compiled.expectations(values), want, atol=tolerance)
    compiled = CompiledEstimator(model, double=True).compile(circuit, observables, list(PARAMETERS))
    weights = np.random.default_rng(1).normal(size=want.shape)
    gradient = compiled.vjp(values, weights)
    for column in range(3):
        step = np.zeros(3)
        step[column] = 1e-5
        slope = (compiled.expectations(values + step) - compiled.expectations(values - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, column], (slope * weights).sum(axis=1), atol=1e-8)
    single = CompiledEstimator(model).compile(circuit, observables, list(PARAMETERS)).vjp(values, weights)
    np.testing.assert_allclose(single, gradient, atol=5e-5)


def test_mixed_bases_agree_with_aer_estimator() -> None:
    """X and Y are measured after a change of basis that is itself noisy."""
    model = NoiseModel()
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.1), ["sx"])
    model.add_quantum_error(depolarizing_error(0.2, 1), ["sx"], [1])
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), ["cx"])
    model.add_readout_error(ReadoutError([[0.98, 0.02], [0.3, 0.7]]), [0])
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.rz(0.4, 0)
    circuit.cx(0, 1)
    circuit.sx(1)
    pub = (circuit, ["XX", "YZ", "ZY", "XI", SparsePauliOp(["ZZ", "XY", "II"], [0.3, 1.0, 2.0])])
    for readout in (True, False):
        ours = CompiledEstimator(model, readout_error=readout, double=True).run([pub]).result()[0].data.evs
        aers = AerEstimator(model, readout_error=readout).run([pub]).result()[0].data.evs
        np.testing.assert_allclose(ours, aers, atol=1e-10)


def test_readout_and_noise_agree_with_sampled_counts() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.1), ["ry"])
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.05), ("I", 0.95)]), ["measure"])
    model.add_all_qubit_quantum_error(two_qubit_error("short t2", 0.2), ["cx"])
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.2, 0.8]]))
    circuit = QuantumCircuit(3)
    for qubit in range(3):
        circuit.ry(0.5 + qubit, qubit)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    labels = ["IIZ", "IZI", "ZII", "ZIZ", "ZZZ"]
    ours = CompiledEstimator(model).run([(circuit, labels)]).result()[0].data.evs
    circuit.measure_all()
    counts = AerSimulator(noise_model=model).run(circuit, shots=40_000, seed_simulator=1).result().get_counts()
    for label, value in zip(labels, ours, strict=True):
        used = [k for k, letter in enumerate(label) if letter == "Z"]
        mean = sum(n * (-1) ** sum(key[k] == "1" for k in used) for key, n in counts.items()) / 40_000
        assert abs(value - mean) < 4 * np.sqrt((1 - mean**2) / 40_000)


@pytest.mark.parametrize("readout", [True, False])
def test_bell_state_under_device_noise(readout: bool) -> None:
    device = crop(snapshot("fake_torino"), [0, 1])
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    estimator = CompiledEstimator(device=device, readout_error=readout, double=True)
    value = estimator.run([(bell, "ZZ")]).result()[0].data.evs
    aer = AerEstimator(device=device, readout_error=readout).run([(bell, "ZZ")]).result()[0].data.evs
    assert value == pytest.approx(float(aer), abs=1e-9)
    assert (value < 0.9) if readout else (value > 0.97)


def test_relaxation_of_idle_qubits_follows_the_delays() -> None:
    device = crop(snapshot("fake_torino"), [0, 1])
    from qhybrid.quantum.devices.snapshots import noise_model

    model = noise_model(device)
    values = []
    for microseconds in (0, 100):
        circuit = QuantumCircuit(1)
        circuit.x(0)
        circuit.delay(microseconds, 0, unit="us")
        observables = [SparsePauliOp("Z")]
        value = CompiledEstimator(model, readout_error=False).run([(circuit, "Z")]).result()[0].data.evs
        assert value == pytest.approx(expected(circuit, model, observables, {})[0], abs=1e-6)
        values.append(float(value))
    assert values[1] > values[0] + 0.1


def test_isa_circuit_simulates_only_the_qubits_in_use() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cz"])
    model.add_quantum_error(depolarizing_error(0.5, 1), ["sx"], [77])
    a = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.cx(0, 1)
    circuit.ry(a, 1)
    isa = transpile(circuit, snapshot("fake_torino"), initial_layout=[78, 77], seed_transpiler=0)
    estimator = CompiledEstimator(model)
    virtual = estimator.compile(isa, [SparsePauliOp("ZI"), SparsePauliOp("IZ")], [a])
    laid_out = [SparsePauliOp(label).apply_layout(isa.layout) for label in ("ZI", "IZ")]
    physical = estimator.compile(isa, laid_out, [a])
    values = np.array([[0.4]])
    np.testing.assert_array_equal(virtual.expectations(values), physical.expectations(values))
    assert virtual.program.num_qubits == 2
    assert abs(virtual.expectations(values)[0, 0]) < 0.5 < virtual.expectations(values)[0, 1]


@pytest.mark.parametrize("name", ["ry_rz_ladder", "reuploading"])
def test_layer_agrees_with_the_layer_over_aer(name: str) -> None:
    spec = build_spec(name, 3, 2)
    for options in ({"noise_model": mild_model()}, {"device": crop(snapshot("fake_manila"), [0, 1, 2])}):
        ours = QuantumLayer(build_qnn(spec, CompiledEstimator(**options, double=True)), seed=3).double()
        aers = QuantumLayer(build_qnn(spec, AerEstimator(**options)), seed=3).double()
        x = torch.linspace(-1, 2, 6, dtype=torch.double).reshape(2, 3)
        results = []
        for layer in (ours, aers):
            inputs = x.clone().requires_grad_()
            out = layer(inputs)
            (out * torch.linspace(-1, 1, 6, dtype=torch.double).reshape(2, 3)).sum().backward()
            results.append((out.detach(), inputs.grad, layer.weight.grad))
        for mine, other in zip(*results, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-8, rtol=0)


def test_gradcheck() -> None:
    spec = build_spec("ry_rz_ladder", 2, 1)
    layer = QuantumLayer(build_qnn(spec, CompiledEstimator(mild_model(), double=True)), seed=1).double()
    x = torch.randn(3, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(layer, {"weight": w}, (x,)), (x, layer.weight)
    )


def test_segments_and_kept_states_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = build_spec("reuploading", 3, 3)
    parameters = [*spec.inputs, *spec.weights]
    values = np.random.default_rng(0).normal(size=(20, len(parameters)))
    weights = len(spec.weights)
    values[:, -weights:] = values[0, -weights:]
    grad_output = np.random.default_rng(1).normal(size=(20, 3))
    whole = CompiledEstimator(mild_model(), threads=1).compile(spec.circuit, spec.observables, parameters)
    out, kept = whole.forward(values)
    assert len(kept)
    gradient = whole.vjp(values, grad_output, states=kept)
    np.testing.assert_array_equal(gradient, whole.vjp(values, grad_output, shared=weights))
    monkeypatch.setattr(density, "SLICE_BUDGET", 0)
    monkeypatch.setattr(density, "_WORK_PER_THREAD", 1)
    parts = CompiledEstimator(mild_model(), threads=2).compile(spec.circuit, spec.observables, parameters)
    assert len(parts._bounds) > 3
    np.testing.assert_array_equal(parts.expectations(values, shared=weights), out)
    np.testing.assert_array_equal(parts.vjp(values, grad_output), gradient)
    rows = [parts.vjp(values[k : k + 1], grad_output[k : k + 1]) for k in range(20)]
    np.testing.assert_array_equal(np.concatenate(rows), gradient)


def test_an_ideal_model_is_the_exact_mode_bit_for_bit() -> None:
    spec = build_spec("ry_rz_ladder", 3, 2)
    values = np.random.default_rng(0).normal(size=(4, spec.circuit.num_parameters))
    pub = (spec.circuit, [[observable] for observable in spec.observables], values)
    plain = CompiledEstimator().run([pub]).result()[0].data.evs
    for model in (None, NoiseModel()):
        np.testing.assert_array_equal(CompiledEstimator(model).run([pub]).result()[0].data.evs, plain)


def test_gates_without_noise_are_reported_once_by_name() -> None:
    model = NoiseModel(basis_gates=["sx", "rz", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 1), ["sx"])
    circuit = QuantumCircuit(2)
    circuit.ry(0.3, 0)
    circuit.rz(0.2, 0)
    circuit.swap(0, 1)
    circuit.ry(0.3, 1)
    estimator = CompiledEstimator(model)
    with pytest.warns(NoiselessGateWarning, match="`ry`, `swap`") as caught:
        estimator.run([(circuit, "ZZ")]).result()
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.compile(circuit, [SparsePauliOp("IZ")], [])
        CompiledEstimator(model).compile(transpile(circuit, basis_gates=["sx", "rz", "cx"]), [SparsePauliOp("IZ")], [])


def test_the_noise_model_of_another_device_is_reported() -> None:
    # Both devices have CX; on the line 0-1-2-3 of the one there is no coupling of 1 and 3, as on the other.
    line, star = (crop(snapshot(name), range(4)) for name in ("fake_manila", "fake_lima"))
    circuit = QuantumCircuit(4)
    circuit.sx(1)
    circuit.cx(1, 3)
    with pytest.warns(NoiselessGateWarning, match=r"cx \(1, 3\).*another device"):
        CompiledEstimator(noise_model(line)).run([(circuit, "ZIII")]).result()
    CompiledEstimator(noise_model(star)).run([(circuit, "ZIII")]).result()


def test_errors_follow_labels_and_parts_of_composite_gates() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.5, 1), ["loud"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cx"])
    circuit = QuantumCircuit(2)
    circuit.append(UnitaryGate(random_unitary(2, seed=1), label="loud"), [0])
    part = QuantumCircuit(2, name="part")
    part.cx(0, 1)
    want = circuit.copy()
    want.cx(0, 1)
    circuit.append(part.to_gate(), [0, 1])
    observables = [SparsePauliOp("ZI"), SparsePauliOp("IZ")]
    ours = CompiledEstimator(model, double=True).compile(circuit, observables, []).expectations(np.zeros((1, 0)))
    np.testing.assert_allclose(ours[0], expected(want, model, observables, {}), atol=1e-9)


def test_large_and_unsuitable_circuits_are_refused() -> None:
    model = mild_model()
    circuit = QuantumCircuit(9)
    for _ in range(2):
        circuit.ry(0.1, range(9))
        for qubit in range(8):
            circuit.cx(qubit, qubit + 1)
    label = "Z" + "I" * 8
    with pytest.raises(CircuitError, match=r"9 qubits.*MiB.*trajectories.*simulator: aer"):
        CompiledEstimator(model).run([(circuit, label)]).result()
    with pytest.raises(CircuitError, match="not both"):
        CompiledEstimator(model, device=crop(snapshot("fake_manila"), [0]))
    measured = QuantumCircuit(1, 1)
    measured.measure(0, 0)
    with pytest.raises(CircuitError, match="measure"):
        CompiledEstimator(model).compile(measured, [SparsePauliOp("Z")], [])
    correlated = NoiseModel()
    correlated.add_readout_error(ReadoutError(np.full((4, 4), 0.25)), [0, 1])
    with pytest.raises(CircuitError, match="correlated"):
        CompiledEstimator(correlated).run([(QuantumCircuit(2), "ZZ")]).result()


def mild_model() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.05), ["ry"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.03, 1), ["rz"])
    model.add_all_qubit_quantum_error(two_qubit_error("relaxation", 0.1), ["cx"])
    model.add_all_qubit_quantum_error(two_qubit_error("coherent", 0.1), ["cz"])
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.1, 0.9]]))
    return model


def test_noise_on_gates_with_several_angles_agrees_with_aer_estimator() -> None:
    """`u` and `cp` keep their names, and so their errors, although gradients see them as rotations."""
    model = NoiseModel(basis_gates=["u", "cp"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 1), ["u"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 2), ["cp"])
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.u(a, 0.1, 0.2 * a, 0)
    circuit.cp(a * b, 0, 1)
    circuit.u(b, 0.3, a.sin(), 1)
    pub = (circuit, [["IZ"], ["ZI"]], [[0.3, 0.4], [1.2, -0.7]])
    ours = CompiledEstimator(model, double=True).run([pub]).result()[0].data.evs
    np.testing.assert_allclose(ours, AerEstimator(model).run([pub]).result()[0].data.evs, atol=1e-10)
    assert np.abs(ours).max() < 0.8


def test_aer_follows_trajectories_where_a_density_matrix_is_too_large() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 1), ["sx"])
    circuit = QuantumCircuit(13)
    circuit.sx(range(13))
    circuit.sx(range(13))
    data = AerEstimator(model, shots=300, seed=1).run([(circuit, "I" * 12 + "Z")]).result()[0].data
    assert abs(data.evs + 0.64) < 4 * data.stds
    with pytest.raises(CircuitError, match=r"13 qubits.*trajectories"):
        AerEstimator(model).run([(circuit, "Z" * 13)]).result()
