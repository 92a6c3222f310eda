"""Whether exact simulation fits this machine, asked before anything is allocated."""

from __future__ import annotations

from qhybrid.config.quantum import MAX_NOISY_QUBITS
from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.spec import CircuitSpec

LANES = 8
"""Samples that lie side by side: 256 bits of float32, the widest vector that every x86-64 core with AVX2 has."""
_MAX_QUBITS = 30


def require_feasible(spec_or_qubits: CircuitSpec | int, batch_size: int) -> None:
    """Refuse a circuit whose states do not fit the memory that is available now.

    Args:
        spec_or_qubits: The circuit, or its number of qubits.
        batch_size: Samples per step.

    Raises:
        CircuitError: No qubits, or more memory than there is; says how much and how many qubits would fit.
    """
    qubits = spec_or_qubits if isinstance(spec_or_qubits, int) else spec_or_qubits.num_qubits
    if qubits < 1:
        raise CircuitError(f"a circuit of {qubits} qubits: at least 1 is needed")
    import psutil

    available = int(psutil.virtual_memory().available)
    if qubits <= _MAX_QUBITS and _working_bytes(qubits) <= available:
        return
    fitting = max((n for n in range(1, _MAX_QUBITS + 1) if _working_bytes(n) <= available), default=0)
    raise CircuitError(
        f"exact simulation of {qubits} qubits would take {readable_bytes(_state_bytes(qubits) * batch_size)} of memory "
        f"(2^{qubits} amplitudes of 8 bytes for each of {batch_size} samples) and this machine has "
        f"{readable_bytes(available)} available: use at most {fitting} qubits"
    )


def require_feasible_under_noise(qubits: int) -> None:
    """Refuse a circuit whose density matrix is too large to be followed exactly.

    Args:
        qubits: Qubits that the circuit and its noise act on and that some observable depends on.

    Raises:
        CircuitError: More than `MAX_NOISY_QUBITS`; says the memory and the way to go.
    """
    if qubits > MAX_NOISY_QUBITS:
        raise CircuitError(
            f"{qubits} qubits under noise: a density matrix takes {readable_bytes(LANES * 4 << 2 * qubits)} of memory "
            f"for each step and {LANES} samples (4^{qubits} numbers each) and is followed for at most "
            f"{MAX_NOISY_QUBITS} qubits; use Aer's trajectories: AerEstimator(noise_model, shots=...), or "
            "`simulator: aer` with `shots`"
        )


def _state_bytes(qubits: int) -> int:
    return 8 << qubits


def _working_bytes(qubits: int) -> int:
    """Three states (psi, lambda, spare) of one slice of samples; more samples go one slice after the other."""
    return 3 * LANES * _state_bytes(qubits)


def readable_bytes(size: int) -> str:
    """A number of bytes with three digits and a binary unit, e.g. 1.5 GiB."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = 0
    value = float(size)
    while value >= 1024 and power < len(units) - 1:
        value, power = value / 1024, power + 1
    return f"{value:.3g} {units[power]}"
