"""A circuit without its entangling gates: the control that tells whether entanglement matters."""

from __future__ import annotations

from qiskit import QuantumCircuit

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.definitions import definition_of, standard_name
from qhybrid.quantum.circuits.spec import CircuitSpec


def product_spec(spec: CircuitSpec) -> CircuitSpec:
    """The same circuit with every gate on two or more qubits left out, and the weights that stood only in those.

    Args:
        spec: The circuit; gates that are defined by circuits are taken apart first.

    Raises:
        CircuitError: An input stands in entangling gates alone, so that nothing would depend on it.
    """
    circuit = QuantumCircuit(spec.num_qubits, name=f"{spec.name}_product", global_phase=spec.circuit.global_phase)
    _add_local_gates(circuit, spec.circuit, list(range(spec.num_qubits)))
    kept = set(circuit.parameters)
    lost = [parameter.name for parameter in spec.inputs if parameter not in kept]
    if lost:
        raise CircuitError(
            f"circuit `{spec.name}`: without its entangling gates nothing depends on the inputs {', '.join(lost)}: "
            "choose another core than `quantum_product`"
        )
    weights = tuple(parameter for parameter in spec.weights if parameter in kept)
    return CircuitSpec(circuit.name, circuit, spec.inputs, weights, spec.observables)


def _add_local_gates(target: QuantumCircuit, source: QuantumCircuit, qubits: list[int]) -> None:
    for instruction in source.data:
        places = [qubits[source.find_bit(qubit).index] for qubit in instruction.qubits]
        operation = instruction.operation
        if len(places) == 1:
            target.append(operation, places)
        elif standard_name(operation) is None:
            definition = definition_of(operation)
            if definition is not None:
                _add_local_gates(target, definition, places)
