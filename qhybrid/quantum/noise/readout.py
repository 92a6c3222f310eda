"""Readout error of a noise model, folded into observables.

Measuring qubit q with P(0 read | 1) = p01 and P(1 read | 0) = p10 gives, on average, (p01 - p10) I + (1 - p01 - p10) Z
in place of Z. Strings of Z become products of these, so exact expectation values show readout error without sampling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from qiskit.quantum_info import SuperOp

from qhybrid.errors import CircuitError
from qhybrid.quantum.noise.aer_model import quantum_errors, readout_errors
from qhybrid.quantum.noise.channels import channel_of_superoperator


def readout_factors(noise_model: Any, num_qubits: int) -> dict[int, tuple[float, float]]:
    """For each qubit that is measured with errors, (offset, slope) of Z -> offset I + slope Z.

    Quantum errors of the instruction `measure`, which act before the outcome is read, are part of it.

    Raises:
        CircuitError: The noise model holds a readout error on several qubits together, or an error of `measure` that
            turns coherences into outcomes.
    """
    errors = readout_errors(noise_model)
    correlated = [qubits for qubits in errors.local if len(qubits) > 1]
    if correlated:
        raise CircuitError(
            f"the noise model's readout error on qubits {list(correlated[0])} is correlated: use AerEstimator with "
            "shots, which samples it"
        )
    factors = {}
    for qubit in range(num_qubits):
        error = errors.local.get((qubit,), errors.default)
        offset, slope = 0.0, 1.0
        if error is not None:
            probabilities = np.asarray(error.probabilities)
            p10, p01 = float(probabilities[0, 1]), float(probabilities[1, 0])
            offset, slope = p01 - p10, 1 - p01 - p10
        decay = _measure_error(noise_model, qubit)
        if decay is not None:
            offset, slope = offset + slope * decay[0], slope * decay[1]
        if error is not None or decay is not None:
            factors[qubit] = (offset, slope)
    return factors


def _measure_error(noise_model: Any, qubit: int) -> tuple[float, float] | None:
    """(offset, slope) of Z under the quantum error of `measure`."""
    error = quantum_errors(noise_model).find("measure", (qubit,))
    if error is None:
        return None
    superoperator = np.asarray(SuperOp(error).data, dtype=np.complex128)
    row = channel_of_superoperator((0,), superoperator).matrix[2]
    if row[1] or row[3]:
        raise CircuitError(
            f"the noise model's error of `measure` on qubit {qubit} mixes X or Y into Z: use AerEstimator with shots, "
            "which samples it"
        )
    return float(row[0]), float(row[2])
