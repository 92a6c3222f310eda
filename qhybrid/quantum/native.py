"""Circuits in the gates of a device, and where their qubits went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterExpression, ParameterVector
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.providers import BackendV2

from qhybrid.quantum.angles import Angle, Features
from qhybrid.quantum.definitions import definition_of, standard_name
from qhybrid.quantum.heisenberg import Pauli
from qhybrid.quantum.lowering import Expansion, expand


def on_device(circuit: QuantumCircuit, device: BackendV2) -> tuple[QuantumCircuit, list[int]]:
    """The circuit in a device's gates, qubit i on device qubit i; a circuit with a layout is taken as it is.

    Returns:
        The circuit, and for each qubit of the original one its place (another one if it had to be swapped).
    """
    places = list(range(circuit.num_qubits))
    if circuit.layout is not None:
        return circuit, places
    native = transpile(circuit, device, initial_layout=places, optimization_level=1, seed_transpiler=0)
    if native.layout is not None:
        places = list(native.layout.final_index_layout(filter_ancillas=True))
    return native, places


def place(pauli: Pauli, places: list[int]) -> Pauli:
    """A Pauli string on the places of its qubits."""
    x, z = (sum((mask >> k & 1) << where for k, where in enumerate(places)) for mask in pauli)
    return x, z


def laid_out(observable: Any, circuit: QuantumCircuit) -> Any:
    """An observable over a circuit's qubits: one over fewer qubits, as before transpilation, follows the layout."""
    if circuit.layout is not None and observable.num_qubits < circuit.num_qubits:
        return observable.apply_layout(circuit.layout)
    return observable


def with_own_parameters(circuit: QuantumCircuit, features: Features) -> Expansion:
    """Give each angle of each gate a parameter of its own; gates stay what they are, so errors still find them.

    Raises:
        CircuitError: As `lowering.lower`.
    """
    expand(circuit, Features(features.parameters))  # refuses what is not unitary, by name
    steps = list(_steps(circuit, range(circuit.num_qubits)))
    free = [p for operation, _ in steps for p in operation.params if _is_free(p)]
    fresh = iter(ParameterVector("angle", len(free)))
    # A copy without gates keeps name, registers and layout, so an ISA circuit stays one.
    own = circuit.copy_empty_like()
    own.global_phase = 0.0
    for operation, qubits in steps:
        step = operation
        if any(_is_free(p) for p in operation.params):
            params = [next(fresh) if _is_free(p) else p for p in operation.params]
            step = type(get_standard_gate_name_mapping()[operation.name])(*params, label=operation.label)
        own.append(step, qubits, copy=False)
    angles: tuple[Angle, ...] = tuple(features.angle(p) for p in free)
    return Expansion(own, angles, features)


def _steps(circuit: QuantumCircuit, qubits: Sequence[int]) -> Iterator[tuple[Any, list[int]]]:
    place_of = {bit: qubits[index] for index, bit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        operation, where = instruction.operation, [place_of[q] for q in instruction.qubits]
        free = any(_is_free(p) for p in getattr(operation, "params", ()))
        definition = definition_of(operation) if free and standard_name(operation) is None else None
        if definition is not None:
            yield from _steps(definition, where)
        else:
            yield operation, where


def _is_free(parameter: Any) -> bool:
    return isinstance(parameter, ParameterExpression) and bool(parameter.parameters)
