"""The cores themselves: spectrum, product circuit, contract of another package's core."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

from qhybrid.config import Section, build_config
from qhybrid.errors import CircuitError, ConfigError
from qhybrid.models.build import build_model, check_trainable
from qhybrid.models.cores import QuantumCore
from qhybrid.quantum import build_spec
from qhybrid.quantum.analysis.spectrum import draw_frequencies, encoding_rotations
from qhybrid.quantum.circuits.product import product_spec
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.registry import BOTTLENECK_CORES


def expectation(spec, inputs, weights):
    """Qiskit's own value of every observable."""
    values = dict(zip([*spec.inputs, *spec.weights], [*inputs, *weights], strict=True))
    state = Statevector(spec.circuit.assign_parameters(values))
    return np.array([state.expectation_value(observable).real for observable in spec.observables])


@pytest.mark.parametrize("ansatz", ["ry_rz_ladder", "reuploading"])
def test_frequencies_are_some_that_the_circuit_has(ansatz):
    """Against the Fourier transform of Qiskit's expectation values on a grid of inputs."""
    spec = build_spec(ansatz, 2, 2)
    highest = 1 if ansatz == "ry_rz_ladder" else 2
    points = 2 * highest + 1
    grid = 2 * np.pi * np.arange(points) / points
    weights = np.random.default_rng(3).uniform(-3, 3, len(spec.weights))
    values = np.array([[expectation(spec, (a, b), weights) for b in grid] for a in grid])
    transform = np.abs(np.fft.fft2(values, axes=(0, 1))) / points**2
    drawn = draw_frequencies(spec, 4000, seed=0)
    for output in range(2):
        present = {
            (round(u), round(v))
            for u in range(-highest, highest + 1)
            for v in range(-highest, highest + 1)
            if transform[u % points, v % points, output] > 1e-9 and (u, v) != (0, 0)
        }
        found = {(round(a), round(b)) for a, b in drawn[output]}
        assert found >= present
        # Only for the circuit's own qubits and gates; a Fourier series of higher degree could do more than the circuit.
        assert np.abs(drawn[output]).max() <= highest


def test_inputs_outside_the_light_cone_bring_no_frequency():
    """In one layer of the ladder the first qubit is a control alone, so the second cannot act on <Z_0>."""
    drawn = draw_frequencies(build_spec("ry_rz_ladder", 2, 1), 100, seed=0)
    assert not drawn[0][:, 1].any()
    assert drawn[1].any(axis=0).all()


def test_factors_of_the_angles_are_factors_of_the_frequencies():
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(1)
    circuit.ry(2 * x, 0)
    circuit.rx(w - 3 * x, 0)
    spec = CircuitSpec("scaled", circuit, (x,), (w,), (SparsePauliOp("Z"),))
    assert [rotations.tolist() for rotations in encoding_rotations(spec)] == [[[2.0], [-3.0]]]
    assert set(np.abs(draw_frequencies(spec, 100, seed=1)).ravel()) == {1.0, 2.0, 3.0, 5.0}


def test_an_encoding_that_is_not_linear_has_no_such_spectrum():
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(1)
    circuit.ry(x * x, 0)
    circuit.rx(w, 0)
    spec = CircuitSpec("square", circuit, (x,), (w,), (SparsePauliOp("Z"),))
    with pytest.raises(CircuitError, match=r"`square`.*no linear function.*another core than `fourier`"):
        draw_frequencies(spec, 2, seed=0)


def test_the_fourier_core_is_the_series_that_it_says():
    config = build_config({"model": {"bottleneck": {"core": "fourier"}}, "quantum": {"qubits": 3}})
    core = build_model(config, 1).bottleneck.core
    frequencies, amplitudes = core.frequencies.numpy(), core.amplitudes.detach().numpy()
    terms = frequencies.shape[1]
    assert (frequencies == frequencies.round()).all()
    angles = np.random.default_rng(0).uniform(-3, 3, (5, 3))
    wanted = np.zeros((5, 3))
    for row, output in np.ndindex(5, 3):
        for k in range(terms):
            phase = frequencies[output, k] @ angles[row]
            wanted[row, output] += amplitudes[output, k] * np.cos(phase) + amplitudes[output, terms + k] * np.sin(phase)
    np.testing.assert_allclose(core(torch.from_numpy(angles).float()).detach().numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("ansatz", ["ry_rz_ladder", "real_amplitudes", "reuploading"])
def test_each_output_of_the_product_circuit_depends_on_its_own_qubit_alone(ansatz):
    spec = build_spec(ansatz, 3, 2)
    product = product_spec(spec)
    assert product.circuit.num_nonlocal_gates() == 0
    assert (product.inputs, product.weights) == (spec.inputs, spec.weights)
    random = np.random.default_rng(0)
    inputs, weights = random.uniform(-3, 3, 3), random.uniform(-3, 3, len(spec.weights))
    before = expectation(product, inputs, weights)
    inputs[1] += 1.0
    changed = np.abs(expectation(product, inputs, weights) - before)
    assert changed[1] > 1e-3
    assert changed[[0, 2]].max() < 1e-12
    assert np.abs(expectation(spec, inputs, weights) - before).max() > 1e-3


def test_gates_that_hide_entanglers_are_taken_apart():
    x = ParameterVector("x", 2)
    inner = QuantumCircuit(2, name="block")
    inner.ry(x[0], 0)
    inner.cx(0, 1)
    inner.ry(x[1], 1)
    circuit = QuantumCircuit(2)
    circuit.append(inner.to_gate(), [1, 0])
    circuit.barrier()
    spec = CircuitSpec("nested", circuit, tuple(x), (), (SparsePauliOp("IZ"), SparsePauliOp("ZI")))
    product = product_spec(spec)
    assert product.circuit.num_nonlocal_gates() == 0
    # The block's first qubit is the circuit's qubit 1.
    np.testing.assert_allclose(expectation(product, (0.4, 1.1), ()), [np.cos(1.1), np.cos(0.4)], atol=1e-12)


def test_an_input_that_stands_in_entangling_gates_alone_is_named():
    x = ParameterVector("x", 2)
    circuit = QuantumCircuit(2)
    circuit.rx(x[0], 0)
    circuit.rzz(x[1], 0, 1)
    spec = CircuitSpec("entangled", circuit, tuple(x), (), (SparsePauliOp("IZ"),))
    with pytest.raises(CircuitError, match=r"nothing depends on the inputs x\[1\]"):
        product_spec(spec)


class Slope(Section):
    """Options of the core below."""

    slope: float = 1.0


class Scaled(torch.nn.Module):
    """A core of another package."""

    def __init__(self, n_out, slope):
        super().__init__()
        self.n_out, self.slope = n_out, slope

    def forward(self, inputs):
        return self.slope * inputs.sum(1, keepdim=True).expand(-1, self.n_out)


@pytest.fixture
def foreign(monkeypatch):
    """Register a core as another package would, for one test."""
    BOTTLENECK_CORES.packages()
    monkeypatch.setattr(BOTTLENECK_CORES, "_entries", dict(BOTTLENECK_CORES._entries))

    def add(name, builder):
        BOTTLENECK_CORES.register(name, section=Slope)(builder)

    return add


def test_another_packages_core_is_built_with_its_options(foreign):
    foreign("scaled", lambda options, request: Scaled(request.n_out, options.slope))
    values = {"model": {"bottleneck": {"core": {"name": "scaled", "slope": 2.5}}}, "quantum": {"qubits": 3}}
    config = build_config(values)
    core = build_model(config, 1).bottleneck.core
    assert core(torch.ones(2, 3)).tolist() == [[7.5] * 3] * 2
    assert build_config(config.model_dump()) == config
    with pytest.raises(ConfigError, match=r"slopes"):
        build_config({"model": {"bottleneck": {"core": {"name": "scaled", "slopes": 2.5}}}})


def test_a_core_that_breaks_its_contract_is_named(foreign):
    foreign("narrow", lambda options, request: Scaled(1, 1.0))
    foreign("nothing", lambda options, request: None)
    for name, line in (
        ("narrow", r"`narrow`.*makes \(2, 1\) of \(2, 3\).*must make \(2, 3\)"),
        ("nothing", "NoneType"),
    ):
        config = build_config({"model": {"bottleneck": {"core": name}}, "quantum": {"qubits": 3}})
        with pytest.raises(ConfigError, match=line):
            build_model(config, 1)


def circuit_core(name, **quantum):
    return build_config({"model": {"bottleneck": {"core": name}}, "quantum": {"qubits": 3} | quantum})


def test_the_circuit_of_another_packages_core_is_judged_as_ours(foreign):
    """Dead weights, too much memory, and what a builder itself refuses, before anything is made."""

    def deaf(options, request):
        """The published circuit's idea: RZ before a measurement of Z teaches nothing."""
        x, w = ParameterVector("x", 3), ParameterVector("w", 3)
        circuit = QuantumCircuit(3)
        for qubit in range(3):
            circuit.ry(x[qubit], qubit)
            circuit.rz(w[qubit], qubit)
        spec = CircuitSpec("deaf", circuit, tuple(x), tuple(w), request.spec.observables)
        return QuantumCore(replace(request, spec=spec))

    def frozen(options, request):
        return deaf(options, request).requires_grad_(False)

    def refusing(options, request):
        raise ConfigError(f"core `refusing` takes at most 2 qubits, not {request.n_in}")

    foreign("plain_circuit", lambda options, request: QuantumCore(request))
    for builder in (deaf, frozen, refusing):
        foreign(builder.__name__, builder)
    check_trainable(circuit_core("plain_circuit"))
    check_trainable(circuit_core("frozen"))
    check_trainable(circuit_core("deaf", allow_dead_parameters=True))
    with pytest.raises(ConfigError, match=r"`deaf`: 3 of 3 weights can never learn.*allow_dead_parameters"):
        check_trainable(circuit_core("deaf"))
    with pytest.raises(ConfigError, match="at most 2 qubits, not 3"):
        check_trainable(circuit_core("refusing"))
    for refused in (check_trainable, lambda config: build_model(config, 1)):
        with pytest.raises(CircuitError, match=r"40 qubits would take .* TiB"):
            refused(circuit_core("plain_circuit", qubits=40))


def test_a_core_that_nobody_registers_is_not_built_as_another():
    with pytest.raises(ConfigError, match=r"`squeeze` is unknown.*quantum, quantum_frozen"):
        build_config({"model": {"bottleneck": {"core": "squeeze"}}})
