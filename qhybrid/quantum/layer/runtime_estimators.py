"""Estimators of Qiskit Runtime: what they do not run is said before a job is made of it.

Runtime's Estimator takes a circuit in the gates and couplings of its device, on the device's qubits. Handed another it
fails deep inside a simulator, or at the service, and a device's local copy is simulated whole.
"""

from __future__ import annotations

from typing import Any

from qiskit import QuantumCircuit

from qhybrid.errors import CircuitError

# Aer takes 16 bytes for each amplitude: 16 GiB.
LARGEST_SIMULATION = 30
_REMEDY = "`hardware.device_estimator(spec, backend)`"


def require_runnable(estimator: Any, circuit: QuantumCircuit) -> None:
    """Refuse a circuit that an estimator of Qiskit Runtime cannot run; any other estimator takes what it takes.

    Args:
        estimator: Estimator of any kind, a `BaseEstimatorV2`.
        circuit: Circuit as it will be handed to the estimator.

    Raises:
        CircuitError: The circuit is not in the gates of the estimator's device, is larger than the device, or covers
            more qubits of a device's local copy than can be simulated.
    """
    if not type(estimator).__module__.startswith("qiskit_ibm_runtime."):
        return
    backend = estimator.backend()
    foreign = _foreign_instruction(circuit, backend.target)
    if foreign is not None:
        raise CircuitError(
            f"the circuit is not made of what `{backend.name}` executes ({foreign}), and an estimator of Qiskit "
            f"Runtime does not translate it: use {_REMEDY}, which places it, or transpile it for the device"
        )
    # The deprecated estimator leaves idle qubits out.
    whole = ".executor_estimator." in type(estimator).__module__
    if whole and circuit.num_qubits > LARGEST_SIMULATION and not _is_remote(backend):
        raise CircuitError(
            f"the circuit covers all {circuit.num_qubits} qubits of `{backend.name}`, which would be simulated: use "
            f"{_REMEDY}, which simulates the qubits that the circuit uses"
        )


def _foreign_instruction(circuit: QuantumCircuit, target: Any) -> str | None:
    """The first instruction that a target does not have, in words; `None` if it has all."""
    if target.num_qubits is not None and circuit.num_qubits > target.num_qubits:
        return f"{circuit.num_qubits} qubits on a device of {target.num_qubits}"
    for item in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in item.qubits)
        if not getattr(item.operation, "_directive", False) and not target.instruction_supported(item.name, qubits):
            return f"`{item.name}` on qubits {list(qubits)}"
    return None


def _is_remote(backend: Any) -> bool:
    """Whether a backend of Runtime's client runs jobs elsewhere."""
    from qiskit_ibm_runtime import IBMBackend

    return isinstance(backend, IBMBackend)
