"""Circuits as sequences of fixed gates and Pauli rotations.

Every parameterized standard gate is a product of fixed gates and rotations exp(-i angle/2 P) with P a Pauli string
(a controlled rotation is two of them, at half the angle), up to a global phase, which no expectation value sees. That
form serves the compiled simulator, whose adjoint method needs <lambda| P |psi> only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import AnnotatedOperation, Gate, ParameterExpression
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Clifford, Operator

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.definitions import definition_of, standard_name, stated_definition
from qhybrid.quantum.engine.compiler.angles import Angle, Features

ROTATIONS = {
    "rx": "X",
    "ry": "Y",
    "rz": "Z",
    "p": "Z",
    "u1": "Z",
    "rxx": "XX",
    "ryy": "YY",
    "rzz": "ZZ",
    "rzx": "ZX",
}
"""Gates exp(-i angle/2 P), up to a global phase; letter i of P acts on the gate's qubit i."""

_HALF_PI = math.pi / 2
_Part = tuple[str, Any, tuple[int, ...]]
_DECOMPOSITIONS: dict[str, Callable[..., list[_Part]]] = {
    "r": lambda theta, phi: [("rz", -phi, (0,)), ("rx", theta, (0,)), ("rz", phi, (0,))],
    "u2": lambda phi, lam: [("rz", lam, (0,)), ("ry", _HALF_PI, (0,)), ("rz", phi, (0,))],
    "u": lambda theta, phi, lam: [("rz", lam, (0,)), ("ry", theta, (0,)), ("rz", phi, (0,))],
    "u3": lambda theta, phi, lam: [("rz", lam, (0,)), ("ry", theta, (0,)), ("rz", phi, (0,))],
    "crz": lambda theta: [("rz", theta / 2, (1,)), ("rzz", -theta / 2, (0, 1))],
    "crx": lambda theta: [("rx", theta / 2, (1,)), ("rzx", -theta / 2, (0, 1))],
    "cry": lambda theta: [
        ("ry", theta / 2, (1,)),
        ("sdg", None, (1,)),
        ("rzx", -theta / 2, (0, 1)),
        ("s", None, (1,)),
    ],
    "cp": lambda theta: [("rz", theta / 2, (0,)), ("rz", theta / 2, (1,)), ("rzz", -theta / 2, (0, 1))],
    "cu1": lambda theta: [("rz", theta / 2, (0,)), ("rz", theta / 2, (1,)), ("rzz", -theta / 2, (0, 1))],
}
_PASSIVE = frozenset({"barrier", "delay", "id"})
_NOT_UNITARY = frozenset({"initialize", "measure", "reset"})
_MAX_MATRIX_QUBITS = 3
_MAX_UNITARY_QUBITS = 6
_GATES = get_standard_gate_name_mapping()


@dataclass(frozen=True)
class Rotation:
    """The rotation exp(-i angle/2 P) about a Pauli string P.

    Attributes:
        qubits: Qubits that the string acts on.
        pauli: Letters X, Y, Z of the string; letter i acts on `qubits[i]`.
        angle: Angle of the rotation as a function of the features.
    """

    qubits: tuple[int, ...]
    pauli: str
    angle: Angle


@dataclass(frozen=True, eq=False)
class Fixed:
    """A constant unitary in Qiskit's order.

    Attributes:
        qubits: The k qubits that it acts on; `qubits[0]` is the least significant bit of the matrix index.
        matrix: Unitary matrix, complex128 (2^k, 2^k).
    """

    qubits: tuple[int, ...]
    matrix: NDArray[np.complex128]


Op = Rotation | Fixed


def lower(circuit: QuantumCircuit, features: Features) -> list[Op]:
    """The circuit as fixed unitaries and rotations; barriers, delays and identities do nothing here.

    Raises:
        CircuitError: A measurement, reset, control flow or an instruction without a definition, by name.
    """
    ops: list[Op] = []
    for step in walk(circuit, range(circuit.num_qubits)):
        if step.angle is not None:
            ops.append(Rotation(step.qubits, ROTATIONS[step.name], features.angle(step.angle)))
        elif step.name not in _PASSIVE:
            ops.extend(_fixed(step.operation, step.qubits))
    return ops


@dataclass(frozen=True, eq=False)
class Step:
    """One gate of a flattened circuit: an operation, or a rotation that was part of one.

    Attributes:
        name: Name of the gate.
        qubits: Qubits that the gate acts on.
        operation: Qiskit's operation; `None` for a rotation that was part of one.
        angle: Angle of such a rotation in radians, a number or an expression of parameters; else `None`.
    """

    name: str
    qubits: tuple[int, ...]
    operation: Any = None
    angle: Any = None


def walk(circuit: QuantumCircuit, qubits: Sequence[int], keep: Collection[str] = ()) -> Iterator[Step]:
    """The circuit without nesting, in which gates with free parameters have become rotations.

    Args:
        circuit: Circuit with any gates, nested ones included.
        qubits: Numbers that stand for the circuit's qubits in the steps.
        keep: Standard gates that stay whole.

    Raises:
        CircuitError: As `lower`.
    """
    place = {bit: qubits[index] for index, bit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        operation, where = instruction.operation, tuple(place[qubit] for qubit in instruction.qubits)
        composite = not isinstance(operation, Gate) and stated_definition(operation) is not None
        if operation.name in _NOT_UNITARY or hasattr(operation, "blocks") or (instruction.clbits and not composite):
            raise CircuitError(
                f"instruction `{operation.name}` on qubits {list(where)}: only unitary circuits can be compiled or "
                "differentiated by parameter shifts; remove it, or evaluate the circuit with "
                'qiskit_aer.primitives.EstimatorV2, in a QuantumLayer with gradient="spsa"'
            )
        if composite:
            # An instruction that is no gate may hold measurements; its parts tell.
            yield from walk(operation.definition, where, keep)
        else:
            yield from _steps_of(operation, where, keep)


def _steps_of(operation: Any, where: tuple[int, ...], keep: Collection[str]) -> Iterator[Step]:
    name = standard_name(operation) or ""
    if name in _PASSIVE or name in keep or not is_free(operation):
        yield Step(name, where, operation=operation)
    elif name in ROTATIONS:
        yield Step(name, where, angle=operation.params[0])
    elif name in _DECOMPOSITIONS:
        for part, angle, local in _DECOMPOSITIONS[name](*operation.params):
            qubits = tuple(where[index] for index in local)
            if isinstance(angle, ParameterExpression) and angle.parameters:
                yield Step(part, qubits, angle=angle)
            else:
                gate = _GATES[part] if angle is None else type(_GATES[part])(float(angle))
                yield Step(part, qubits, operation=gate)
    else:
        definition = definition_of(operation)
        if definition is None:
            raise CircuitError(
                f"gate `{operation.name}` has parameters but no definition, so it cannot be differentiated"
            )
        yield from walk(definition, where, keep)


def is_free(operation: Any) -> bool:
    """Whether the instruction holds a parameter without a value; annotated ones hide it in what they modify."""
    if isinstance(operation, AnnotatedOperation):
        return is_free(operation.base_op)
    return any(isinstance(p, ParameterExpression) and p.parameters for p in getattr(operation, "params", ()))


def _fixed(operation: Any, where: tuple[int, ...]) -> Iterator[Op]:
    name, size = operation.name, len(where)
    if size == 0:
        return
    exact = isinstance(operation, UnitaryGate | AnnotatedOperation | Clifford) or standard_name(operation) is not None
    limit = _MAX_UNITARY_QUBITS if isinstance(operation, UnitaryGate) else _MAX_MATRIX_QUBITS
    # Devices run a composite gate's definition; its matrix may be another one (a Trotter formula's exact limit).
    definition = None if exact and size <= limit else definition_of(operation)
    if definition is not None:
        for step in walk(definition, where):
            if step.name not in _PASSIVE:
                yield from _fixed(step.operation, step.qubits)
    elif size <= limit:
        try:
            yield Fixed(where, np.asarray(Operator(operation).data, dtype=np.complex128))
        except QiskitError:
            raise CircuitError(f"instruction `{name}` is not unitary: exact simulation cannot evaluate it") from None
    else:
        raise CircuitError(f"instruction `{name}` on {size} qubits has neither a small matrix nor a definition")
