"""Random circuits over the gate set: compiled values and gradients against Qiskit's reference."""

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import (
    PauliEvolutionGate,
    RGate,
    UnitaryGate,
    XXPlusYYGate,
    get_standard_gate_name_mapping,
)
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp, random_unitary

from qhybrid.quantum.engine.compiler.angle_expansion import STANDARD_GATES, expand
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.parameter_shift import RULES

_NOT_UNITARY = {"measure", "reset", "delay", "global_phase"}
GATES = {name: gate for name, gate in get_standard_gate_name_mapping().items() if name not in _NOT_UNITARY}
PARAMETERS = ParameterVector("p", 4)


def reference(circuit: QuantumCircuit, observables: object, values: np.ndarray) -> np.ndarray:
    # Qiskit's Statevector exponentiates an evolution gate exactly; devices, and we, run its product formula.
    circuit = circuit.decompose("PauliEvolution")
    pub = (circuit, observables, values) if values.shape[-1] else (circuit, observables)
    return np.asarray(StatevectorEstimator().run([pub]).result()[0].data.evs)


@st.composite
def circuits(draw: st.DrawFn, max_qubits: int = 7) -> QuantumCircuit:
    n = draw(st.integers(1, max_qubits))
    circuit = QuantumCircuit(n)
    expressions = st.sampled_from(
        [
            PARAMETERS[0],
            PARAMETERS[1],
            -0.7 * PARAMETERS[2] + 0.1,
            PARAMETERS[0] * PARAMETERS[3],
            PARAMETERS[1].sin() + PARAMETERS[2] / 2,
            0.8,
        ]
    )
    for _ in range(draw(st.integers(1, 14))):
        kind = draw(st.integers(0, 9))
        if kind == 0:
            size = draw(st.integers(1, min(n, 3)))
            gate = UnitaryGate(random_unitary(2**size, seed=draw(st.integers(0, 99))))
        elif kind == 1 and n > 1:
            operator = SparsePauliOp(["XY", "ZZ"], [0.5, -1.0])
            gate = PauliEvolutionGate(operator, time=draw(expressions))
        elif kind == 2 and n > 1:
            gate = XXPlusYYGate(draw(expressions), draw(expressions))
        else:
            fitting = sorted(name for name, gate in GATES.items() if gate.num_qubits <= n)
            template = GATES[draw(st.sampled_from(fitting))]
            gate = type(template)(*(draw(expressions) for _ in template.params)) if template.params else template
        order = draw(st.permutations(range(n)))
        circuit.append(gate, order[: gate.num_qubits])
        if draw(st.integers(0, 9)) == 0:
            circuit.barrier()
    return circuit


@st.composite
def observables(draw: st.DrawFn, num_qubits: int) -> list[SparsePauliOp]:
    labels = st.text("IXYZ", min_size=num_qubits, max_size=num_qubits)
    # Terms that cancel would leave an empty observable, which Qiskit's pubs refuse.
    term = st.tuples(labels, st.sampled_from([1.0, -0.5, 2.0]))
    terms = st.lists(term, min_size=1, max_size=3, unique_by=lambda pair: pair[0])
    return [SparsePauliOp.from_list(draw(terms)) for _ in range(draw(st.integers(1, 3)))]


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_values_and_gradients(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    observed = data.draw(observables(circuit.num_qubits))
    note(str(circuit.draw(fold=-1)))
    parameters = list(circuit.parameters)
    rng = np.random.default_rng(0)
    values = rng.uniform(-3, 3, (2, len(parameters)))
    compiled = CompiledEstimator(double=True).compile(circuit, observed, parameters)
    expected = reference(circuit, [[o] for o in observed], values).T
    np.testing.assert_allclose(compiled.expectations(values), np.broadcast_to(expected, (2, len(observed))), atol=1e-11)
    grad_output = rng.normal(size=(2, len(observed)))
    gradient = compiled.vjp(values, grad_output)
    in_tensors = CompiledEstimator(double=True, engine="torch").compile(circuit, observed, parameters)
    np.testing.assert_allclose(in_tensors.expectations(values), compiled.expectations(values), atol=1e-11)
    np.testing.assert_allclose(in_tensors.vjp(values, grad_output), gradient, atol=1e-10)
    for column in range(len(parameters)):
        step = np.zeros(len(parameters))
        step[column] = 1e-5
        difference = (compiled.expectations(values + step) - compiled.expectations(values - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, column], (difference * grad_output).sum(axis=1), atol=1e-6)
        if column not in compiled.influential:
            assert not gradient[:, column].any()


@pytest.mark.parametrize("keep", [(), RULES, STANDARD_GATES], ids=["rotations", "shifts", "whole"])
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_expanded_circuit_is_the_same_circuit(keep: Collection[str], data: st.DataObject) -> None:
    """One angle per argument, decomposed into rotations or not: the values are the original's."""
    circuit = data.draw(circuits(max_qubits=3))
    parameters = list(circuit.parameters)
    values = np.random.default_rng(0).uniform(-3, 3, (1, len(parameters)))
    expansion = expand(circuit, Features(parameters), keep)
    assert all(isinstance(p, Parameter) for p in expansion.circuit.parameters)
    angles = expansion.angle_values(values)
    label = "Y" + "X" * (circuit.num_qubits - 1)
    before, after = reference(circuit, label, values[0]), reference(expansion.circuit, label, angles[0])
    np.testing.assert_allclose(after, before, atol=1e-11)


def test_gate_set_is_complete() -> None:
    """The gates that random circuits draw from cover the standard library up to four qubits."""
    assert {"u", "cu", "ecr", "iswap", "rccx", "cswap", "csdg", "sxdg", "rzx", "c3sx"} <= set(GATES)
    assert RGate(0.1, 0.2).name in GATES
