"""Expectation values from sampled bits, corrected for readout errors that the same job has measured.

Two circuits more per job, all qubits in 0 and all in 1, tell how each qubit is read: on average as o + s z in place of
z = +-1, with o = (m0 + m1) / 2 and s = (m0 - m1) / 2 from the mean readings m0 and m1. A string of Z is then estimated
by the mean over shots of the product of (z - o) / s over its qubits: the inverse of each qubit's confusion matrix. It
is unbiased where qubits are read independently; errors between qubits stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from hardware.errors import HardwareError, JobError
from hardware.placement.program import Program

REGISTER = "measured"
# Below this contrast between 0 and 1 a qubit tells nothing, and its inverse would blow up the shot noise.
_LEAST_CONTRAST = 0.1

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readout:
    """How bits become expectation values.

    Attributes:
        qubits: Measured qubits, in the order of the bits.
        terms: Strings of Z of each observable: coefficient and positions in `qubits`.
    """

    qubits: tuple[int, ...]
    terms: tuple[tuple[tuple[float, tuple[int, ...]], ...], ...]

    @classmethod
    def of(cls, observables: Sequence[SparsePauliOp]) -> Readout:
        """For observables that one measurement of all qubits determines.

        Raises:
            HardwareError: One holds an X or a Y.
        """
        strings = [
            [(_coefficient(observable, label, value), _support(label)) for label, value in observable.to_list()]
            for observable in observables
        ]
        qubits = tuple(sorted({qubit for terms in strings for _, support in terms for qubit in support}))
        position = {qubit: index for index, qubit in enumerate(qubits)}
        return cls(
            qubits,
            tuple(tuple((value, tuple(position[q] for q in support)) for value, support in terms) for terms in strings),
        )

    def columns(self) -> list[int]:
        """Where among the bits each observable is found, if each is the Z of one qubit."""
        return [support[0] for ((_, support),) in self.terms]

    def estimate(self, bits: NDArray[np.bool_], calibration: NDArray[np.bool_] | None) -> tuple[Array, Array]:
        """Expectation values and their standard errors, `(rows, observables)` each.

        Args:
            bits: Measured bits, bool `(rows, shots, qubits)`.
            calibration: Bits `(2, shots, qubits)` of all qubits in 0 and all in 1; `None` leaves readout errors in.

        Raises:
            JobError: A qubit is read alike in 0 and in 1.
        """
        z = 1.0 - 2.0 * bits
        means = np.stack([np.ones(z.shape[-1]), -np.ones(z.shape[-1])])
        shots = np.inf
        if calibration is not None:
            means = (1.0 - 2.0 * calibration).mean(axis=1)
            shots = calibration.shape[1]
        offset, slope = (means[0] + means[1]) / 2, (means[0] - means[1]) / 2
        if (slope < _LEAST_CONTRAST).any():
            bad = [self.qubits[index] for index in np.flatnonzero(slope < _LEAST_CONTRAST)]
            raise JobError(f"qubits {bad} are read alike in 0 and in 1: choose other qubits, or another day")
        clean = (z - offset) / slope
        # First-order error of the calibration, which all rows of the job share.
        variance = (1 - means**2) / shots
        columns = [_column(clean, terms, slope, variance) for terms in self.terms]
        values = np.stack([value for value, _ in columns], axis=1)
        errors = np.stack([error for _, error in columns], axis=1)
        return values, errors


def sampler_pubs(program: Program, angles: NDArray[np.float64], calibrated: bool) -> list[Any]:
    """Pubs of a Sampler job: the circuit against all angles and, if `calibrated`, all qubits in 0 and all in 1.

    A circuit without parameters is repeated instead, once per row of angles.

    Args:
        program: The circuit on the device.
        angles: Input angles of the parameter sets, `(B, n_in)`, in radians.
        calibrated: Whether the readout errors are measured in the same job.

    Raises:
        HardwareError: An observable holds an X or a Y.
    """
    qubits = Readout.of(program.observables).qubits
    measured = _measured(program.circuit, qubits)
    rows = len(program.pack(angles))
    pubs: list[Any] = [(measured, program.bindings(angles))] if program.inputs else [(measured,)] * rows
    if calibrated:
        zeros = QuantumCircuit(program.circuit.num_qubits, name="all 0")
        ones = QuantumCircuit(program.circuit.num_qubits, name="all 1")
        ones.x(qubits)
        pubs += [(_measured(zeros, qubits),), (_measured(ones, qubits),)]
    return pubs


def _measured(circuit: QuantumCircuit, qubits: Sequence[int]) -> QuantumCircuit:
    whole = circuit.copy()
    register = ClassicalRegister(len(qubits), REGISTER)
    whole.add_register(register)
    whole.barrier(qubits)
    whole.measure(qubits, register)
    return whole


def _column(
    clean: Array, terms: Sequence[tuple[float, tuple[int, ...]]], slope: Array, variance: Array
) -> tuple[Array, Array]:
    """One observable: means `(rows,)` and standard errors `(rows,)`."""
    rows, shots, qubits = clean.shape
    sample = np.zeros((rows, shots))
    # Derivatives of the mean with respect to the two calibrated readings of each qubit.
    gradient = np.zeros((rows, 2, qubits))
    for value, support in terms:
        product = clean[:, :, list(support)].prod(axis=2)
        sample += value * product
        for qubit in support:
            rest = clean[:, :, [other for other in support if other != qubit]].prod(axis=2).mean(axis=1)
            by_offset, by_slope = -value * rest / slope[qubit], -value * product.mean(axis=1) / slope[qubit]
            gradient[:, 0, qubit] += (by_offset + by_slope) / 2
            gradient[:, 1, qubit] += (by_offset - by_slope) / 2
    spread = sample.var(axis=1) / shots + (gradient**2 * variance).sum(axis=(1, 2))
    return sample.mean(axis=1), np.sqrt(spread)


def _support(label: str) -> tuple[int, ...]:
    return tuple(index for index, letter in enumerate(reversed(label)) if letter == "Z")


def _coefficient(observable: SparsePauliOp, label: str, value: complex) -> float:
    if set(label) - {"I", "Z"}:
        raise HardwareError(
            f"the Sampler measures Z only, and observable {str(label).lstrip('I') or 'I'} holds another letter: use "
            "`primitive: estimator`"
        )
    return float(np.real(value))
