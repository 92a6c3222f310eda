"""Fingerprints tell apart everything that can change a result: pairs of circuits that differ in one thing."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit, qpy, transpile
from qiskit.circuit import (
    AnnotatedOperation,
    ControlModifier,
    Delay,
    Gate,
    InverseModifier,
    Parameter,
    PowerModifier,
)
from qiskit.circuit.classical import expr
from qiskit.circuit.library import CXGate, Initialize, PauliEvolutionGate, UnitaryGate, XGate, ZGate
from qiskit.quantum_info import Clifford, Operator, SparsePauliOp
from qiskit.transpiler import CouplingMap

from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint, expression_key
from qhybrid.quantum.estimators.compiled import CompiledEstimator


def one(operation: object, qubits: int = 1) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.append(operation, range(operation.num_qubits))
    return circuit


def built(function: Callable[[QuantumCircuit], object], qubits: int = 2, clbits: int = 2) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits, clbits)
    function(circuit)
    return circuit


class MatrixGate(Gate):
    """A gate that is known by its matrix alone."""

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__("mine", 1, [])
        self._matrix = matrix

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self._matrix


def custom(angle: float) -> Gate:
    inner = QuantumCircuit(1, name="same")
    inner.rx(angle, 0)
    return inner.to_gate()


def nested(angle: float) -> Gate:
    inner = QuantumCircuit(1, name="outer")
    inner.append(custom(angle), [0])
    return inner.to_gate()


def phased(phase: float) -> Gate:
    inner = QuantumCircuit(1, name="phased", global_phase=phase)
    inner.x(0)
    return inner.to_gate().control(1)


def conditioned(bit: int, value: int) -> QuantumCircuit:
    circuit = QuantumCircuit(1, 2)
    with circuit.if_test((circuit.clbits[bit], value)):
        circuit.x(0)
    return circuit


def on_register(value: int) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    register = ClassicalRegister(2, "c")
    circuit.add_register(register)
    with circuit.if_test(expr.less(register, value)):
        circuit.x(0)
    return circuit


def routed(layout: list[int]) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    return transpile(circuit, coupling_map=CouplingMap.from_line(3), initial_layout=layout, optimization_level=0)


A, B, AB = Parameter("a"), Parameter("b"), Parameter("a*b")
HALF = Operator(XGate()).power(0.5)
PAIRS: dict[str, tuple[QuantumCircuit, QuantumCircuit]] = {
    "separators between parameters": (
        built(lambda c: c.u(2, 1, 12, 0)),
        built(lambda c: c.u(2, 1.01, 2, 0)),
    ),
    "last bit of a float": (
        built(lambda c: c.rx(1.0, 0)),
        built(lambda c: c.rx(math.nextafter(1.0, 2), 0)),
    ),
    "qubits": (built(lambda c: c.cx(0, 1)), built(lambda c: c.cx(1, 0))),
    "order of gates": (
        built(lambda c: (c.x(0), c.h(0))),
        built(lambda c: (c.h(0), c.x(0))),
    ),
    "number of qubits": (QuantumCircuit(1), QuantumCircuit(2)),
    "label": (one(XGate()), one(XGate(label="err"))),
    "labels": (one(XGate(label="a")), one(XGate(label="b"))),
    "unit of a delay": (built(lambda c: c.delay(100, 0, "ns")), built(lambda c: c.delay(100, 0, "us"))),
    "length of a delay": (one(Delay(100)), one(Delay(101))),
    "control state": (one(CXGate(ctrl_state=0), 2), one(CXGate(), 2)),
    "control state of a custom gate": (
        one(custom(0.1).control(2, ctrl_state=1), 3),
        one(custom(0.1).control(2, ctrl_state=2), 3),
    ),
    "matrix": (one(UnitaryGate(HALF)), one(UnitaryGate(HALF.adjoint()))),
    "matrix without definition": (one(MatrixGate(HALF.data)), one(MatrixGate(HALF.adjoint().data))),
    "label of a matrix": (one(UnitaryGate(HALF)), one(UnitaryGate(HALF, label="noisy"))),
    "inner circuit": (one(custom(0.1)), one(custom(0.2))),
    "inner circuit of an inner circuit": (one(nested(0.1)), one(nested(0.2))),
    "phase of an inner circuit": (one(phased(0.0), 2), one(phased(0.5), 2)),
    "global phase": (QuantumCircuit(1), QuantumCircuit(1, global_phase=0.5)),
    "a custom gate under a standard name": (one(XGate()), one(Gate("x", 1, []))),
    "modifier": (
        one(AnnotatedOperation(ZGate(), ControlModifier(1)), 2),
        one(AnnotatedOperation(ZGate(), ControlModifier(1, 0)), 2),
    ),
    "power": (
        one(AnnotatedOperation(XGate(), PowerModifier(0.5))),
        one(AnnotatedOperation(XGate(), [PowerModifier(0.5), InverseModifier()])),
    ),
    "base of a modified gate": (
        one(AnnotatedOperation(custom(0.1), ControlModifier(1)), 2),
        one(AnnotatedOperation(custom(0.2), ControlModifier(1)), 2),
    ),
    "clifford": (one(Clifford(XGate())), one(Clifford(ZGate()))),
    "evolution": (
        one(PauliEvolutionGate(SparsePauliOp(["X"], [1.0]), 0.1)),
        one(PauliEvolutionGate(SparsePauliOp(["X"], [2.0]), 0.1)),
    ),
    "amplitudes": (one(Initialize([0.6, 0.8])), one(Initialize([0.6, 0.8j]))),
    "expression": (built(lambda c: c.rx(A * B, 0)), built(lambda c: c.rx(A + B, 0))),
    "coefficient": (
        built(lambda c: c.rx(1.2345678901234567 * A, 0)),
        built(lambda c: c.rx(math.nextafter(1.2345678901234567, 2) * A, 0)),
    ),
    "a name that looks like an expression": (
        built(lambda c: (c.rx(A * B, 0), c.rx(AB, 1))),
        built(lambda c: (c.rx(AB, 0), c.rx(A * B, 1))),
    ),
    "parameter": (built(lambda c: c.rx(A, 0)), built(lambda c: c.rx(B, 0))),
    "parameters exchanged": (
        built(lambda c: (c.rx(A, 0), c.rx(B, 1))),
        built(lambda c: (c.rx(B, 0), c.rx(A, 1))),
    ),
    "measured bit": (built(lambda c: c.measure(0, 0)), built(lambda c: c.measure(0, 1))),
    "condition's bit": (conditioned(0, 1), conditioned(1, 1)),
    "condition's value": (conditioned(0, 1), conditioned(0, 0)),
    "condition's expression": (on_register(1), on_register(2)),
    "layout": (routed([0, 1]), routed([0, 2])),
    "layout or none": (routed([0, 1]), built(lambda c: c.h(0), 3, 0)),
}
# QPY stores no matrix of a gate that is not Qiskit's own, and (qiskit 2.6) no unit of a delay.
OPAQUE = {"matrix without definition", "a custom gate under a standard name", "unit of a delay"}


@pytest.mark.parametrize("name", PAIRS)
def test_circuits_that_differ_in_one_thing_are_told_apart(name: str) -> None:
    first, second = PAIRS[name]
    assert circuit_fingerprint(first) != circuit_fingerprint(second)
    for circuit in (first, second):
        assert circuit_fingerprint(circuit) == circuit_fingerprint(circuit.copy())


@pytest.mark.parametrize("name", sorted(set(PAIRS) - OPAQUE))
def test_fingerprint_survives_qpy(name: str, tmp_path: Path) -> None:
    for circuit in PAIRS[name]:
        with (tmp_path / "circuit.qpy").open("wb") as file:
            qpy.dump(circuit, file)
        with (tmp_path / "circuit.qpy").open("rb") as file:
            assert circuit_fingerprint(qpy.load(file)[0]) == circuit_fingerprint(circuit)


def test_names_of_circuits_and_equal_numbers_of_other_classes_change_nothing() -> None:
    first, second = QuantumCircuit(1, name="a", metadata={"k": 1}), QuantumCircuit(1, name="b")
    first.rx(1.0, 0)
    second.rx(np.float64(1.0), 0)
    assert circuit_fingerprint(first) == circuit_fingerprint(second)


def test_expression_keys_are_not_names() -> None:
    assert expression_key((A * B).sin()) != expression_key(AB.sin())
    assert expression_key((A * B).sin() + AB) != expression_key(AB.sin() + A * B)
    assert expression_key((A * B).sin()) == expression_key((Parameter("a") * Parameter("b")).sin())


def test_features_go_by_functions_not_by_their_text() -> None:
    """Two expressions of one text in one circuit: `a*b` as a product and as a name."""
    circuit = QuantumCircuit(2)
    circuit.ry((A * B).sin(), 0)
    circuit.ry(AB.sin(), 1)
    values = CompiledEstimator(double=True).run([(circuit, ["IZ", "ZI"], {A: 0.3, B: 0.5, AB: 0.9})]).result()[0]
    np.testing.assert_allclose(values.data.evs, np.cos(np.sin([0.15, 0.9])), atol=1e-12)


angles = st.sampled_from([1, 2, 12, 112, 1.0, 1.01, 1.1, 0.1, 0.01, 10, 0.0, -1, 2.1]) | st.floats(-4, 4)


@st.composite
def near_pairs(draw: st.DrawFn) -> tuple[QuantumCircuit, QuantumCircuit]:
    """Two circuits of the same gates that differ in one argument, one qubit or one label."""
    instructions = draw(
        st.lists(
            st.tuples(st.sampled_from(["u", "cx", "ry", "x"]), st.permutations([0, 1, 2]), st.tuples(*[angles] * 3)),
            min_size=1,
            max_size=5,
        )
    )
    index = draw(st.integers(0, len(instructions) - 1))
    name, qubits, arguments = instructions[index]
    changed = draw(st.tuples(*[angles] * 3)) if name in ("u", "ry") else arguments
    places = qubits if name in ("u", "ry") else draw(st.permutations([0, 1, 2]))
    size = {"u": 1, "ry": 1, "x": 1, "cx": 2}[name]
    used = {"u": 3, "ry": 1}.get(name, 0)
    assume((places[:size], changed[:used]) != (qubits[:size], arguments[:used]))
    others = [*instructions]
    others[index] = (name, places, changed)
    return _circuit(instructions), _circuit(others)


def _circuit(instructions: list[tuple[str, list[int], tuple[float, ...]]]) -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    for name, qubits, arguments in instructions:
        if name == "u":
            circuit.u(*arguments, qubits[0])
        elif name == "ry":
            circuit.ry(arguments[0], qubits[0])
        elif name == "cx":
            circuit.cx(*qubits[:2])
        else:
            circuit.x(qubits[0])
    return circuit


@settings(max_examples=200, deadline=None)
@given(near_pairs())
def test_no_two_near_circuits_share_a_fingerprint(pair: tuple[QuantumCircuit, QuantumCircuit]) -> None:
    assert circuit_fingerprint(pair[0]) != circuit_fingerprint(pair[1])
