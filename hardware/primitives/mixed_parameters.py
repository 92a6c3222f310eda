"""Gates that mix free and fixed angles, written in the one way that the client's twirling accepts.

Runtime's client hands every circuit to samplomatic, whose `append_remapped_gate` (0.21) takes each parameter of a gate
with a free one for an expression, and fails on a fixed number: `u3(x, 0, pi)` of the devices with u1, u2 and u3 ends in
an AttributeError. An expression that is constant, 0 x + pi, passes and has the same value.
"""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.circuit import ParameterExpression


def with_expressions(circuit: QuantumCircuit) -> QuantumCircuit:
    """Replace the fixed angles of gates that have free ones as well by constant expressions of those.

    Args:
        circuit: Circuit with any gates; it is not changed.

    Returns:
        The circuit itself where no gate mixes both, else a copy with the same parameters and the same unitary.
    """
    places = [number for number, item in enumerate(circuit.data) if _is_mixed(item.operation.params)]
    if not places:
        return circuit
    whole = circuit.copy()
    for number in places:
        item = whole.data[number]
        operation = item.operation.to_mutable()
        free = next(value for value in operation.params if isinstance(value, ParameterExpression))
        operation.params = [
            value if isinstance(value, ParameterExpression) else 0 * free + float(value) for value in operation.params
        ]
        whole.data[number] = item.replace(operation=operation)
    return whole


def _is_mixed(values: list[object]) -> bool:
    free = sum(isinstance(value, ParameterExpression) for value in values)
    return 0 < free < len(values)
