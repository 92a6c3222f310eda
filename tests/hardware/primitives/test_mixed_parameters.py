"""Gates of free and fixed angles on their way to the client."""

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator

from hardware.primitives.mixed_parameters import with_expressions


def test_mixed_gates_get_constant_expressions_of_the_same_value() -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2, global_phase=0.4)
    circuit.u(a, 0.0, np.pi, 0)
    circuit.u(0.1, 0.2, 0.3, 1)
    circuit.cu(0.5, a + b, -0.2, 0.7, 0, 1)
    circuit.u(2 * b, 1.5, a, 1)
    circuit.rz(b, 0)
    changed = with_expressions(circuit)
    assert changed.parameters == circuit.parameters
    # Each gate is free altogether or fixed altogether, which is what the client asks for.
    kinds = [{hasattr(value, "parameters") for value in item.operation.params} for item in changed.data]
    assert all(len(kind) == 1 for kind in kinds)
    values = {a: 0.83, b: -1.9}
    bound, expected = changed.assign_parameters(values), circuit.assign_parameters(values)
    np.testing.assert_allclose(Operator(bound).data, Operator(expected).data, atol=1e-12)


def test_a_circuit_without_such_gates_stays_the_same_object() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    circuit.u(0.1, 0.2, 0.3, 0)
    assert with_expressions(circuit) is circuit
