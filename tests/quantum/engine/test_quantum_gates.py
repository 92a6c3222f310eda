"""Every gate that Qiskit's library names, alone and in every way it can be written, against Qiskit's reference."""

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, transpile
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import (
    CRXGate,
    MCPhaseGate,
    PauliGate,
    PermutationGate,
    QFTGate,
    RXGate,
    UCRYGate,
    UnitaryGate,
    XXMinusYYGate,
    get_standard_gate_name_mapping,
    real_amplitudes,
    zz_feature_map,
)
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp, random_clifford, random_unitary

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint
from qhybrid.quantum.devices.snapshots import crop, snapshot
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.parameter_shift import ShiftedCircuit

GATES = {
    name: gate
    for name, gate in get_standard_gate_name_mapping().items()
    if name not in {"measure", "reset", "delay", "global_phase"}
}
P = ParameterVector("p", 4)
EXPRESSIONS = (P[0], 0.1 - 0.7 * P[1], P[2] * P[0], P[3].sin() + P[1] / 2)


def prepared(num_qubits: int) -> QuantumCircuit:
    """A product state without symmetry, so that a wrong sign or order shows."""
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.3 + 0.4 * qubit, qubit)
        circuit.rz(0.2 + 0.3 * qubit, qubit)
    return circuit


def check(circuit: QuantumCircuit, *, shifts: bool = True) -> None:
    """Values against Qiskit, gradients against central differences; tensors and shifts against the kernels."""
    n = circuit.num_qubits
    observables = [SparsePauliOp(letter * n) for letter in "XYZ"]
    observables += [SparsePauliOp("I" * (n - 1) + letter) for letter in "XZ"]
    parameters = list(circuit.parameters)
    values = np.random.default_rng(0).uniform(0.2, 0.9, (2, len(parameters)))
    pub = (circuit, [[o] for o in observables], *([values] if parameters else []))
    expected = np.asarray(StatevectorEstimator().run([pub]).result()[0].data.evs).T
    compiled = CompiledEstimator(double=True).compile(circuit, observables, parameters)
    found = compiled.expectations(values)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-11)
    grad_output = np.random.default_rng(1).normal(size=found.shape)
    gradient = compiled.vjp(values, grad_output)
    for column, step in enumerate(1e-5 * np.eye(len(parameters))):
        difference = (compiled.expectations(values + step) - compiled.expectations(values - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, column], (difference * grad_output).sum(axis=1), atol=1e-6)
    in_tensors = CompiledEstimator(double=True, engine="torch").compile(circuit, observables, parameters)
    np.testing.assert_allclose(in_tensors.expectations(values), found, atol=1e-11)
    np.testing.assert_allclose(in_tensors.vjp(values, grad_output), gradient, atol=1e-10)
    if shifts:
        shifted = ShiftedCircuit(circuit, observables, parameters)
        same, jacobian = shifted.evaluate(StatevectorEstimator(), values, frozenset(range(len(parameters))), 0.0)
        np.testing.assert_allclose(same, found, atol=1e-10)
        np.testing.assert_allclose(shifted.pull_back(values, grad_output, jacobian), gradient, atol=1e-9)


def surrounded(gate: object) -> QuantumCircuit:
    circuit = prepared(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits)[::-1])
    circuit.barrier()
    circuit.rx(0.5, range(gate.num_qubits))
    return circuit


def with_parameters(name: str, count: int | None = None) -> object:
    """The gate with expressions in its last `count` arguments and numbers before them."""
    template = GATES[name]
    total = len(template.params)
    first = total - (total if count is None else count)
    if not total:
        return template
    return type(template)(*(EXPRESSIONS[k] if k >= first else 0.4 + 0.1 * k for k in range(total)))


@pytest.mark.parametrize("name", sorted(GATES))
def test_standard_gate(name: str) -> None:
    check(surrounded(with_parameters(name)))
    if GATES[name].params:
        check(surrounded(with_parameters(name, 0)))
    if len(GATES[name].params) > 1:
        check(surrounded(with_parameters(name, 1)))


@pytest.mark.parametrize("name", sorted(name for name, gate in GATES.items() if gate.num_qubits <= 2))
def test_modified_gate(name: str) -> None:
    """Controlled (by 0, and as an annotation) and inverted."""
    gate = with_parameters(name)
    check(surrounded(gate.control(1, ctrl_state=0, annotated=False)), shifts=False)
    check(surrounded(gate.control(1, annotated=True)), shifts=False)
    check(surrounded(gate.inverse()), shifts=False)


@pytest.mark.parametrize(
    "gate",
    [
        random_clifford(2, seed=1),
        random_clifford(4, seed=1),
        PermutationGate([2, 0, 1, 4, 3]),
        QFTGate(4),
        PauliGate("XYZXI"),
        UCRYGate([0.1, 0.2, 0.3, 0.4]),
        MCPhaseGate(P[0], 3),
        UnitaryGate(random_unitary(16, seed=0)),
        real_amplitudes(3, reps=1).to_gate(),
        zz_feature_map(3, reps=1).to_instruction(),
        CRXGate(P[0] * P[1]).control(1, annotated=True).inverse(annotated=True),
        XXMinusYYGate(P[0], P[1]).control(1),
    ],
    ids=lambda gate: f"{gate.name}-{gate.num_qubits}",
)
def test_composite_gate(gate: object) -> None:
    check(surrounded(gate))


@pytest.mark.parametrize(
    "expression",
    [
        P[0].sin(),
        P[0].cos() * P[1].tan(),
        P[0].arcsin() + P[1].arccos() + P[2].arctan(),
        P[0].exp() - P[1].log(),
        abs(P[0] - 0.5),
        (P[0] * P[1]).conjugate(),
        P[0] ** 2 + P[0] ** P[1],
        P[0] / P[1] + 1 / P[2],
        P[0] * P[1] / P[1],
        0 * P[0] + P[1],
    ],
    ids=str,
)
def test_expression(expression: object) -> None:
    circuit = prepared(2)
    circuit.rx(expression, 0)
    circuit.cry(expression, 0, 1)
    circuit.ry(P[0], 1)
    check(circuit)


def test_an_expression_without_a_derivative_is_refused() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(P[0].sign(), 0)
    with pytest.raises(CircuitError, match=r"sign\(p\[0\]\).*cannot be differentiated"):
        CompiledEstimator().compile(circuit, [SparsePauliOp("Z")], [P[0]])


def test_a_large_unitary_is_decomposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qhybrid.quantum.engine.compiler.lowering._MAX_UNITARY_QUBITS", 3)
    check(surrounded(UnitaryGate(random_unitary(16, seed=1))))


def test_nested_definitions_and_global_phases() -> None:
    inner = QuantumCircuit(2, global_phase=P[0])
    inner.rx(2 * P[1], 0)
    inner.cx(0, 1)
    middle = QuantumCircuit(3)
    middle.append(inner.to_gate(), [2, 0])
    middle.append(inner.to_gate().control(1), [0, 1, 2])
    circuit = prepared(4)
    circuit.append(middle.to_instruction(), [3, 0, 2])
    circuit.delay(100, 1)
    circuit.id(2)
    circuit.global_phase = P[2]
    circuit.rx(P[0], 1)
    check(circuit)


def test_a_name_does_not_make_a_standard_gate() -> None:
    for name in ("rx", "barrier", "unitary"):
        own = QuantumCircuit(1, name=name)
        own.ry(P[0], 0)
        own.ry(0.4, 0)
        circuit = prepared(2)
        circuit.append(own.to_gate(), [1])
        circuit.append(own.assign_parameters([0.3]).to_gate(), [0])
        check(circuit)


def test_a_constant_circuit_has_no_gradient_but_values() -> None:
    check(prepared(2))


def test_fingerprints_tell_apart_what_only_synthesis_defines() -> None:
    prints = set()
    for gate in (
        random_clifford(2, seed=1),
        random_clifford(2, seed=2),
        RXGate(0.1).control(1, annotated=True),
        RXGate(0.2).control(1, annotated=True),
    ):
        circuit = QuantumCircuit(2)
        circuit.append(gate, [0, 1])
        prints.add(circuit_fingerprint(circuit))
    assert len(prints) == 4


@pytest.mark.parametrize("level", [0, 3])
def test_isa_circuit_with_layout(level: int) -> None:
    """Observables get the layout, as for a device; qubits that the circuit does not use cost nothing."""
    spec = build_spec("reuploading", 3, 1)
    device = snapshot("fake_torino")
    isa = transpile(spec.circuit, device, optimization_level=level, seed_transpiler=0)
    assert isa.num_qubits == 133
    observables = [observable.apply_layout(isa.layout) for observable in spec.observables]
    parameters = [*spec.inputs, *spec.weights]
    values = np.random.default_rng(0).uniform(-3, 3, (3, len(parameters)))
    weights = np.random.default_rng(1).normal(size=(3, 3))
    plain = CompiledEstimator(double=True).compile(spec.circuit, spec.observables, parameters)
    compiled = CompiledEstimator(double=True).compile(isa, observables, parameters)
    np.testing.assert_allclose(compiled.expectations(values), plain.expectations(values), atol=1e-11)
    np.testing.assert_allclose(compiled.vjp(values, weights), plain.vjp(values, weights), atol=1e-10)


def test_a_routed_circuit_keeps_its_meaning() -> None:
    """Swaps of the router permute the qubits; the final layout undoes it."""
    circuit = prepared(4)
    for pair in [(0, 3), (1, 3), (0, 2), (1, 2)]:
        circuit.rzz(P[0], *pair)
        circuit.rx(P[1], pair[0])
    observables = [SparsePauliOp(label) for label in ("IIIZ", "ZXIY", "IYXI")]
    device = crop(snapshot("fake_manila"), [0, 1, 2, 3])
    isa = transpile(circuit, device, optimization_level=1, seed_transpiler=0)
    assert isa.layout.routing_permutation() != [0, 1, 2, 3]
    values = np.array([[0.4, 0.9]])
    expected = CompiledEstimator(double=True).compile(circuit, observables, list(P[:2])).expectations(values)
    placed = [observable.apply_layout(isa.layout) for observable in observables]
    found = CompiledEstimator(double=True).compile(isa, placed, list(P[:2])).expectations(values)
    np.testing.assert_allclose(found, expected, atol=1e-11)


def not_unitary(name: str) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.add_register(ClassicalRegister(1, "c"))
    circuit.h(0)
    if name == "measure":
        circuit.measure(0, 0)
    elif name == "reset":
        circuit.reset(0)
    elif name == "initialize":
        circuit.initialize([0, 1], 0)
    elif name == "if_else":
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(1)
    elif name == "for_loop":
        with circuit.for_loop(range(2)):
            circuit.x(1)
    elif name == "while_loop":
        with circuit.while_loop((circuit.clbits[0], 1)):
            circuit.x(1)
    return circuit


@pytest.mark.parametrize("name", ["measure", "reset", "initialize", "if_else", "for_loop", "while_loop"])
@pytest.mark.parametrize("nested", [False, True])
def test_instructions_that_no_unitary_describes_name_the_estimator_to_use(name: str, nested: bool) -> None:
    circuit = not_unitary(name)
    # Qiskit makes no instruction of control flow.
    if nested and not hasattr(circuit.data[-1].operation, "blocks"):
        inner, circuit = circuit, QuantumCircuit(2, 1)
        circuit.append(inner.to_instruction(), [0, 1], [0])
    observable = SparsePauliOp("ZZ")
    with pytest.raises(CircuitError, match=rf"`{name}` on qubits .*qiskit_aer\.primitives\.EstimatorV2"):
        CompiledEstimator().compile(circuit, [observable], [])
    with pytest.raises(CircuitError, match="parameter shifts"):
        ShiftedCircuit(circuit, [observable], [])


def test_a_delay_that_is_a_parameter_is_not_differentiated() -> None:
    circuit = QuantumCircuit(1)
    duration = Parameter("t")
    circuit.delay(duration, 0)
    circuit.rx(P[0], 0)
    exact = CompiledEstimator(double=True).compile(circuit, [SparsePauliOp("Z")], [P[0], duration])
    np.testing.assert_allclose(exact.expectations(np.array([[0.3, 5.0]])), [[np.cos(0.3)]])
    with pytest.raises(CircuitError, match="duration"):
        ShiftedCircuit(circuit, [SparsePauliOp("Z")], [P[0], duration])
