"""What waiting costs: the decay of qubits between their gates, from a device's T1, T2 and durations."""

from __future__ import annotations

import math

from qiskit import QuantumCircuit
from qiskit.transpiler import Target


def idle_times(circuit: QuantumCircuit, target: Target) -> dict[int, float]:
    """How long each qubit of an ISA circuit waits between its first gate and the common measurement at the end.

    Gates run as late as possible, as on the devices; a qubit before its first gate is in its ground state and loses
    nothing.

    Args:
        circuit: Circuit on the device's qubits and in its basis, without measurements.
        target: Description of the device with the durations of its gates; an unknown one counts as 0.

    Returns:
        Waiting time in seconds, for each qubit that the circuit acts on.
    """
    # Time runs backwards from the measurement: `free[q]` is how long before it qubit q is needed.
    free: dict[int, float] = {}
    busy: dict[int, float] = {}
    for instruction in reversed(circuit.data):
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        begin = max((free.get(qubit, 0.0) for qubit in qubits), default=0.0)
        if instruction.operation.name == "barrier":
            free |= dict.fromkeys(qubits, begin)
            continue
        duration = _duration(target, instruction.operation.name, tuple(qubits))
        for qubit in qubits:
            busy[qubit] = busy.get(qubit, 0.0) + duration
            free[qubit] = begin + duration
    return {qubit: free[qubit] - busy[qubit] for qubit in busy}


def idle_fidelity(circuit: QuantumCircuit, target: Target) -> float:
    """Estimated probability, 0 to 1, that no qubit decays while it waits.

    The product over qubits of the average fidelity of relaxation for a time t,
    (3 + exp(-t / T1) + 2 exp(-t / T2)) / 6, as the gate errors of the calibration are average infidelities.

    Args:
        circuit: Circuit on the device's qubits and in its basis, without measurements.
        target: Description of the device with T1 and T2 of its qubits; a qubit without them does not decay.
    """
    product = 1.0
    for qubit, seconds in idle_times(circuit, target).items():
        product *= _relaxation_fidelity(target, qubit, seconds)
    return product


def _relaxation_fidelity(target: Target, qubit: int, seconds: float) -> float:
    properties = target.qubit_properties[qubit] if target.qubit_properties else None
    t1 = getattr(properties, "t1", None) or math.inf
    # Calibrations state a T2 above its physical limit of 2 T1 now and then.
    t2 = min(getattr(properties, "t2", None) or math.inf, 2 * t1)
    return (3 + math.exp(-seconds / t1) + 2 * math.exp(-seconds / t2)) / 6


def _duration(target: Target, name: str, qubits: tuple[int, ...]) -> float:
    entries = target.get(name, None)
    properties = entries.get(qubits) if entries else None
    return properties.duration if properties is not None and properties.duration is not None else 0.0
