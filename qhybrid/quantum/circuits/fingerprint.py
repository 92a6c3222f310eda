"""A fingerprint of circuits that tells apart everything that can change a result.

Caches of compiled and transpiled circuits go by it, so two circuits may share a fingerprint only if every estimator
and every transpiler treats them alike. A circuit is written down as nested tuples of texts and numbers, whose `repr` is
exact and unambiguous, and that text is hashed. Names of circuits and registers, metadata and the identity of parameters
stay out: they change no number, and some of them do not survive a round trip through QPY.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from numbers import Complex, Real
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    ClassicalRegister,
    Clbit,
    ControlledGate,
    Gate,
    Instruction,
    Parameter,
    ParameterExpression,
)
from qiskit.circuit.classical import expr
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import Clifford

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.definitions import definition_of, standard_name

Token = tuple[Any, ...]

_EXPRESSION_PARTS = ("op", "value", "operand", "left", "right", "target", "index")


def circuit_fingerprint(circuit: QuantumCircuit) -> str:
    """SHA-256 (hex) of what a circuit does and of all that decides how it is run.

    Covers the order of qubits and classical bits, gates with their parameters (floats exactly), labels, control states,
    matrices and definitions at every depth, durations with their units, conditions and blocks of control flow, the
    global phase, and the layout of an ISA circuit. Equal after a round trip through QPY.
    """
    return hashlib.sha256(repr(_circuit_token(circuit)).encode()).hexdigest()


def expression_key(expression: ParameterExpression) -> Token:
    """A key that two expressions share only if they are the same function of the same parameters.

    Neither the text of an expression will do (`a*b` may be one parameter's name), nor `==`, which forgives small
    differences between numbers.
    """
    present = sorted(expression.parameters, key=lambda parameter: parameter.name)
    # Names of our own make the text unambiguous; numbers in it are exact.
    renamed = expression.subs({parameter: Parameter(f"p{index}") for index, parameter in enumerate(present)})
    return ("expression", str(renamed), *(parameter.name for parameter in present))


def _circuit_token(circuit: QuantumCircuit) -> Token:
    qubits = {bit: index for index, bit in enumerate(circuit.qubits)}
    clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
    return (
        "circuit",
        circuit.num_qubits,
        circuit.num_clbits,
        _value_token(circuit.global_phase, circuit),
        _layout_token(circuit),
        tuple(
            (
                _operation_token(instruction.operation, circuit),
                tuple(qubits[bit] for bit in instruction.qubits),
                tuple(clbits[bit] for bit in instruction.clbits),
            )
            for instruction in circuit.data
        ),
    )


def _layout_token(circuit: QuantumCircuit) -> Token | None:
    layout = circuit.layout
    if layout is None:
        return None
    return tuple(
        tuple(indices) for indices in (layout.initial_index_layout(filter_ancillas=True), layout.final_index_layout())
    )


def _operation_token(operation: Any, circuit: QuantumCircuit) -> Token:
    if isinstance(operation, AnnotatedOperation):
        modifiers = tuple(repr(modifier) for modifier in operation.modifiers)
        return ("annotated", _operation_token(operation.base_op, circuit), modifiers)
    if isinstance(operation, Clifford):
        return ("clifford", _array_token(operation.tableau))
    kinds = (ControlledGate, Gate, Instruction)
    return (
        next((kind.__name__ for kind in kinds if isinstance(operation, kind)), "Operation"),
        operation.name,
        getattr(operation, "label", None),
        tuple(_value_token(value, circuit) for value in getattr(operation, "params", ())),
        # A standard gate is known by its name; a gate of the user's may bear the same name.
        standard_name(operation),
        *_controls(operation, circuit),
        *_classical_parts(operation, circuit),
        _content_token(operation),
    )


def _controls(operation: Any, circuit: QuantumCircuit) -> Token:
    if not isinstance(operation, ControlledGate):
        return ()
    state = (operation.num_ctrl_qubits, operation.ctrl_state)
    return state if standard_name(operation) else (*state, _operation_token(operation.base_gate, circuit))


def _classical_parts(operation: Any, circuit: QuantumCircuit) -> Token:
    """Units of durations, conditions and cases: what an instruction holds besides its parameters."""
    parts = []
    for name in ("unit", "duration", "condition", "target"):
        value = getattr(operation, name, None)
        if value is not None and not callable(value):
            parts.append((name, _value_token(value, circuit)))
    if hasattr(operation, "cases_specifier"):
        parts.append(("cases", tuple(_value_token(labels, circuit) for labels, _ in operation.cases_specifier())))
    return tuple(parts)


def _content_token(operation: Any) -> Token | None:
    """What the instruction is made of, where name and parameters do not say it."""
    if standard_name(operation) is not None or isinstance(operation, UnitaryGate) or hasattr(operation, "blocks"):
        return None
    try:
        definition = definition_of(operation)
    except CircuitError:
        # Made from parameters that have no values yet: the parameters, which are part of the key, say it all.
        return None
    if definition is not None:
        return _circuit_token(definition)
    return _array_token(operation.__array__()) if hasattr(operation, "__array__") else None


def _value_token(value: Any, circuit: QuantumCircuit) -> Any:
    """A parameter, condition or duration as texts and numbers.

    Args:
        value: Whatever an instruction holds.
        circuit: The circuit that the instruction stands in, which numbers the classical bits.
    """
    if isinstance(value, ParameterExpression):
        return expression_key(value) if value.parameters else _value_token(value.numeric(), circuit)
    if isinstance(value, np.ndarray) and value.ndim:
        return _array_token(value)
    if isinstance(value, Real | np.bool_):
        # 1 and 1.0 are the same angle, and QPY turns one into the other; large integers stay exact.
        number = float(value)
        return number if number == value else str(value)
    if isinstance(value, Complex):
        return complex(value)
    if isinstance(value, QuantumCircuit):
        return _circuit_token(value)
    if isinstance(value, Clbit):
        return ("bit", circuit.find_bit(value).index)
    if isinstance(value, ClassicalRegister):
        return ("register", *(circuit.find_bit(bit).index for bit in value))
    if isinstance(value, expr.Expr):
        return _expression_token(value, circuit)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_value_token(item, circuit) for item in value)
    return value if value is None or isinstance(value, str) else (type(value).__name__, repr(value))


def _expression_token(value: expr.Expr, circuit: QuantumCircuit) -> Token:
    """A classical expression of a condition, part by part."""
    parts: list[Any] = [type(value).__name__, repr(value.type)]
    if isinstance(value, expr.Var):
        # A standalone variable holds a UUID, which says nothing; its name does.
        parts.append(value.name if value.standalone else _value_token(value.var, circuit))
    for name in _EXPRESSION_PARTS:
        part = getattr(value, name, None)
        if part is not None:
            parts.append((name, _value_token(part, circuit)))
    return tuple(parts)


def _array_token(array: Any) -> Token:
    values = np.ascontiguousarray(array)
    if values.dtype == object:
        return ("array", values.shape, tuple(repr(value) for value in values.ravel()))
    return ("array", values.dtype.str, values.shape, values.tobytes())
