import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec, published_spec
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.engine.kernels.vectors import LANES
from qhybrid.quantum.engine.statevector.circuit import CompiledCircuit
from qhybrid.quantum.estimators.compiled import CompiledEstimator

ANSATZE = ("ry_rz_ladder", "real_amplitudes", "reuploading")


def compile_spec(spec: CircuitSpec, *, double: bool = False, threads: int | None = None) -> CompiledCircuit:
    estimator = CompiledEstimator(double=double, threads=threads)
    return estimator.compile(spec.circuit, spec.observables, [*spec.inputs, *spec.weights])


def draw(spec: CircuitSpec, batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (batch, len(spec.inputs) + len(spec.weights)))


def reference(spec: CircuitSpec, values: np.ndarray) -> np.ndarray:
    """Aer's statevector, sample by sample."""
    from qiskit_aer import AerSimulator

    order = [*spec.inputs, *spec.weights]
    circuits = []
    for row in values:
        circuit = spec.circuit.assign_parameters(dict(zip(order, row, strict=True)))
        for index, observable in enumerate(spec.observables):
            circuit.save_expectation_value(observable, range(spec.num_qubits), label=str(index))
        circuits.append(circuit)
    result = AerSimulator(method="statevector").run(circuits).result()
    return np.array([[result.data(k)[str(m)] for m in range(spec.num_outputs)] for k in range(len(values))])


@pytest.mark.parametrize("qubits", range(1, 9))
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_agrees_with_aer(ansatz: str, qubits: int) -> None:
    spec = build_spec(ansatz, qubits, 3)
    values = draw(spec, 3)
    np.testing.assert_allclose(compile_spec(spec).expectations(values), reference(spec, values), atol=1e-5)


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_gradient_agrees_with_central_differences(ansatz: str) -> None:
    spec = build_spec(ansatz, 4, 2)
    compiled, values = compile_spec(spec, double=True), draw(spec, 3)
    grad_output = np.random.default_rng(1).normal(size=(3, 4))
    gradient = compiled.vjp(values, grad_output)
    for column in range(values.shape[1]):
        step = np.zeros(values.shape[1])
        step[column] = 1e-5
        difference = (compiled.expectations(values + step) - compiled.expectations(values - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, column], (difference * grad_output).sum(axis=1), atol=1e-8)


def test_single_precision_gradient_agrees_with_double() -> None:
    spec = build_spec("ry_rz_ladder", 10, 6)
    values, grad_output = draw(spec, 2), np.random.default_rng(1).normal(size=(2, 10))
    single, double = (
        compile_spec(spec).vjp(values, grad_output),
        compile_spec(spec, double=True).vjp(values, grad_output),
    )
    np.testing.assert_allclose(single, double, atol=2e-5)
    assert np.abs(double).max() > 0.1


def test_batch_equals_loop_bit_by_bit_whatever_the_threads() -> None:
    spec = build_spec("ry_rz_ladder", 9, 2)
    values, grad_output = draw(spec, 37), np.random.default_rng(1).normal(size=(37, 9))
    weights = len(spec.weights)
    values[:, -weights:] = values[0, -weights:]
    one, two = compile_spec(spec, threads=1), compile_spec(spec, threads=2)
    out, states = two.forward(values)
    np.testing.assert_array_equal(out, one.expectations(values))
    np.testing.assert_array_equal(out, one.expectations(values, shared=weights))
    np.testing.assert_array_equal(out, np.concatenate([one.expectations(row[None]) for row in values]))
    gradient = two.vjp(values, grad_output, states=states)
    np.testing.assert_array_equal(gradient, one.vjp(values, grad_output, shared=weights))
    rows = [one.vjp(values[k : k + 1], grad_output[k : k + 1]) for k in range(37)]
    np.testing.assert_array_equal(gradient, np.concatenate(rows))


def test_published_circuit_ignores_its_weights() -> None:
    """The known fault of the published circuit: no output moves with any weight."""
    spec = published_spec(6, 3)
    compiled, values = compile_spec(spec, double=True), draw(spec, 4)
    other = values.copy()
    other[:, 6:] = draw(spec, 4, seed=1)[:, 6:]
    np.testing.assert_array_equal(compiled.expectations(values), compiled.expectations(other))
    np.testing.assert_allclose(reference(spec, values), reference(spec, other), atol=1e-12)
    gradient = compiled.vjp(values, np.ones((4, 6)))
    assert not gradient[:, 6:].any()
    assert gradient[:, :6].any()
    assert compiled.influential == frozenset(range(6))


def test_bit_order() -> None:
    a = Parameter("a")
    circuit = QuantumCircuit(3)
    circuit.ry(a, 2)
    circuit.cx(2, 0)
    circuit.x(1)
    observables = [SparsePauliOp(label) for label in ("IIZ", "IZI", "ZII", "ZIZ", "XIX", "YIY")]
    values = CompiledEstimator().compile(circuit, observables, [a]).expectations(np.array([[0.3]]))
    expected = [np.cos(0.3), -1, np.cos(0.3), 1, np.sin(0.3), -np.sin(0.3)]
    np.testing.assert_allclose(values[0], expected, atol=1e-6)


def test_pubs_broadcast_as_in_qiskit() -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.ry(b, 0)
    circuit.crx(a, 0, 1)
    circuit.metadata = {"origin": "test"}
    values = np.random.default_rng(0).normal(size=(3, 1, 2))
    observables = [SparsePauliOp(["ZI", "XY"], [1.0, 0.5]), "0+", SparsePauliOp("II"), {"1Z": 2.0}]
    # Projectors, which ObservablesArray takes and StatevectorEstimator does not.
    written_out = [
        observables[0],
        SparsePauliOp(["II", "ZI", "IX", "ZX"], [0.25] * 4),
        observables[2],
        SparsePauliOp(["IZ", "ZZ"], [1.0, -1.0]),
    ]
    bound = QuantumCircuit(2)
    bound.h(0)
    projectors = CompiledEstimator(double=True).run([(circuit, observables, values)]).result()[0].data.evs
    plain = CompiledEstimator(double=True).run([(circuit, written_out, values)]).result()[0].data.evs
    np.testing.assert_allclose(projectors, plain, atol=1e-14)
    pubs = [
        (circuit, written_out, values),
        (circuit, written_out, values[:, 0].repeat(4, axis=0)[:4]),
        (circuit, "ZZ", values[0, 0]),
        (circuit, "ZZ", {("b", "a"): [0.1, 0.2]}),
        (bound, ["IX", "XI"]),
        (bound, "IX"),
    ]
    ours = CompiledEstimator(double=True).run(pubs, precision=0.1).result()
    theirs = StatevectorEstimator().run(pubs).result()
    for mine, other in zip(ours, theirs, strict=True):
        assert np.shape(mine.data.evs) == np.shape(other.data.evs)
        np.testing.assert_allclose(mine.data.evs, other.data.evs, atol=1e-12)
        assert np.shape(mine.data.stds) == np.shape(other.data.stds)
        assert mine.metadata["circuit_metadata"] == other.metadata["circuit_metadata"]
    assert ours[0].metadata["target_precision"] == 0.1


def test_compiles_a_circuit_once_and_sees_changes_of_it() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(0.4, 0)
    estimator = CompiledEstimator(double=True)
    for _ in range(2):
        assert estimator.run([(circuit, "Z")]).result()[0].data.evs == pytest.approx(np.cos(0.4))
    assert len(estimator._compiled) == 1
    circuit.rx(0.4, 0)
    assert estimator.run([(circuit, "Z")]).result()[0].data.evs == pytest.approx(np.cos(0.8))


def test_states_beyond_the_budget_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = build_spec("ry_rz_ladder", 5, 2)
    compiled, values = compile_spec(spec), draw(spec, 20)
    grad_output = np.ones((20, 5))
    _, kept = compiled.forward(values)
    monkeypatch.setattr("qhybrid.quantum.engine.statevector.circuit.STATE_BUDGET", 0)
    _, none = compiled.forward(values)
    assert len(kept) == 3 * 2 * LANES * 2**5
    assert len(none) == 0
    np.testing.assert_array_equal(
        compiled.vjp(values, grad_output, states=kept), compiled.vjp(values, grad_output, states=none)
    )


def test_idle_qubits_cost_nothing() -> None:
    a = Parameter("a")
    circuit = QuantumCircuit(133)
    circuit.ry(a, 77)
    circuit.cx(77, 78)
    labels = [[("Z", [77], 1)], [("ZZ", [78, 5], 1)], [("X", [5], 1)], [("Z", [5], 1)]]
    observables = [SparsePauliOp.from_sparse_list(label, num_qubits=133) for label in labels]
    compiled = CompiledEstimator(double=True).compile(circuit, observables, [a])
    np.testing.assert_allclose(compiled.expectations(np.array([[0.3]]))[0], [np.cos(0.3), np.cos(0.3), 0, 1])


@pytest.mark.parametrize("name", ["measure", "reset", "if_else", "initialize"])
def test_instructions_that_are_not_unitary_are_named(name: str) -> None:
    circuit = QuantumCircuit(1, 1)
    if name == "measure":
        circuit.measure(0, 0)
    elif name == "reset":
        circuit.reset(0)
    elif name == "initialize":
        circuit.initialize([0, 1])
    else:
        with circuit.if_test((circuit.clbits[0], True)):
            circuit.x(0)
    with pytest.raises(CircuitError, match=name):
        CompiledEstimator().compile(circuit, [SparsePauliOp("Z")], [])


def test_wrong_shapes_and_complex_coefficients_are_refused() -> None:
    spec = build_spec("ry_rz_ladder", 2, 1)
    compiled = compile_spec(spec)
    with pytest.raises(CircuitError, match=r"\(batch, 6\)"):
        compiled.expectations(np.zeros((1, 5)))
    with pytest.raises(CircuitError, match=r"\(1, 2\)"):
        compiled.vjp(np.zeros((1, 6)), np.zeros((1, 3)))
    with pytest.raises(CircuitError, match="coefficient"):
        CompiledEstimator().compile(QuantumCircuit(1), [SparsePauliOp("Z", 1j)], [])
