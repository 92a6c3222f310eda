"""Both estimators against Qiskit's StatevectorEstimator on random circuits, placed and observed in random ways."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import CXGate, HGate, RXGate, RYGate, RZZGate, SGate
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator

PARAMETERS = 3


@st.composite
def cases(draw: st.DrawFn) -> tuple[QuantumCircuit, list[list[SparsePauliOp]], np.ndarray]:
    """A circuit on some qubits of a larger register, observables `(1, 2)` over the register, and values `(3, 1, P)`."""
    used = draw(st.integers(1, 3))
    angles = ParameterVector("a", PARAMETERS)
    core = QuantumCircuit(used)
    for _ in range(draw(st.integers(3, 8))):
        label = draw(st.sampled_from([None, "enc"]))
        angle = draw(st.sampled_from([*angles, 0.3, -2 * angles[0] + 0.1]))
        gates = [HGate(label=label), SGate(label=label), RXGate(angle, label=label), RYGate(angle, label=label)]
        if used > 1:
            gates += [CXGate(label=label), RZZGate(angle, label=label)]
        gate = draw(st.sampled_from(gates))
        core.append(gate, draw(st.permutations(range(used)))[: gate.num_qubits])
    for angle in angles:  # each takes part, so that all have a value
        core.rx(angle, draw(st.integers(0, used - 1)))
    size = used + draw(st.integers(0, 2))
    places = draw(st.permutations(range(size)))
    pauli = st.text("IXYZ", min_size=used, max_size=used)
    observables = [
        SparsePauliOp(draw(st.lists(pauli, min_size=1, max_size=3, unique=True))).apply_layout(places[:used], size)
        for _ in range(2)
    ]
    if size > 1 and draw(st.booleans()):
        pairs = [[i, j] for i in range(size) for j in range(size) if i != j]
        circuit = transpile(core, initial_layout=places[:used], coupling_map=pairs, optimization_level=0)
    else:
        circuit = QuantumCircuit(size)
        circuit.compose(core, places[:used], inplace=True)
    values = np.array(draw(st.lists(st.floats(-4, 4), min_size=3 * PARAMETERS, max_size=3 * PARAMETERS)))
    return circuit, [observables], values.reshape(3, 1, PARAMETERS)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases())
def test_any_placed_circuit_has_the_values_of_the_statevector(
    case: tuple[QuantumCircuit, list[list[SparsePauliOp]], np.ndarray],
) -> None:
    expected = StatevectorEstimator().run([case]).result()[0].data.evs
    assert expected.shape == (3, 2)
    for estimator in (CompiledEstimator(), AerEstimator()):
        found = estimator.run([case]).result()[0].data.evs
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=type(estimator).__name__)
