"""Waiting qubits and what they lose."""

import math

import pytest
from qiskit import QuantumCircuit

from qhybrid.quantum.devices.idling import idle_fidelity, idle_times
from qhybrid.quantum.devices.snapshots import crop, snapshot


def test_a_qubit_waits_from_its_first_gate_to_the_measurement() -> None:
    device = crop(snapshot("fake_manila"), [0, 1, 2])
    target = device.target
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    waits = idle_times(circuit, target)
    # Qubit 0 is done before the second CX; qubit 2 is in its ground state during the first.
    assert waits[0] == pytest.approx(target["cx"][(1, 2)].duration)
    assert waits[1] == pytest.approx(0, abs=1e-15)
    assert waits[2] == pytest.approx(0, abs=1e-15)
    qubit = target.qubit_properties[0]
    t = waits[0]
    expected = (3 + math.exp(-t / qubit.t1) + 2 * math.exp(-t / min(qubit.t2, 2 * qubit.t1))) / 6
    assert idle_fidelity(circuit, target) == pytest.approx(expected)
    assert expected < 0.999


def test_a_barrier_makes_the_early_qubit_wait() -> None:
    device = crop(snapshot("fake_manila"), [0, 1, 2])
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.barrier()
    circuit.cx(1, 2)
    assert idle_times(circuit, device.target)[0] == pytest.approx(device.target["cx"][(1, 2)].duration)


def test_without_durations_nothing_decays() -> None:
    from qiskit_aer import AerSimulator

    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    assert idle_fidelity(circuit, AerSimulator().target) == 1.0
