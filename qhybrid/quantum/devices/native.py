"""Circuits in the gates of a device, and where their qubits went."""

from __future__ import annotations

from typing import Any

from qiskit import QuantumCircuit, transpile
from qiskit.providers import BackendV2

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.compiler.paulis import Pauli


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


def require_width(qubits: int, circuit: QuantumCircuit) -> None:
    """Check that an observable acts on as many qubits as a circuit has.

    Args:
        qubits: Number of qubits of the observable.
        circuit: Circuit that the observable is to be measured on.

    Raises:
        CircuitError: It does not.
    """
    known = int(circuit.num_qubits)
    if qubits == known:
        return
    layout = circuit.layout
    also = "" if layout is None else f" ({len(layout.final_index_layout())} before its transpilation)"
    lost = (
        "; a transpiled circuit that was composed into another one has lost its layout: apply it to the observable"
        if layout is None and qubits < known
        else ""
    )
    raise CircuitError(f"an observable acts on {qubits} qubits and the circuit has {known}{also}{lost}")


def laid_out(observable: Any, circuit: QuantumCircuit) -> Any:
    """An observable over a circuit's qubits; one over those before transpilation follows the layout.

    Raises:
        CircuitError: It acts on another number of qubits.
    """
    layout = circuit.layout
    fewer = layout is not None and observable.num_qubits < circuit.num_qubits
    if fewer and observable.num_qubits == len(layout.final_index_layout()):
        return observable.apply_layout(layout)
    require_width(int(observable.num_qubits), circuit)
    return observable
