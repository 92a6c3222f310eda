"""Probabilities of what a circuit's measurements read, exact or under noise, for shots to be drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qhybrid.quantum.circuits.feasibility import require_feasible
from qhybrid.quantum.engine.compiler.angles import Angle, Features
from qhybrid.quantum.engine.compiler.lowering import Fixed, Op, Rotation
from qhybrid.quantum.engine.compiler.paulis import Observables, Pauli
from qhybrid.quantum.engine.density.circuit import DensityCircuit
from qhybrid.quantum.engine.statevector.probabilities import OutcomeProgram, outcome_program, probabilities
from qhybrid.quantum.noise.channels import NoisyOp
from qhybrid.quantum.noise.measurement import Measurement, group_commuting

Array = NDArray[np.float64]

_LETTER_BASIS: dict[int, NDArray[np.complex128]] = {
    1: np.array([[1, 1], [1, -1]], dtype=np.complex128) * math.sqrt(0.5),
    3: np.array([[1, -1j], [1, 1j]], dtype=np.complex128) * math.sqrt(0.5),
}
"""Unitaries that turn X (1) and Y (3) into Z."""


class Distribution(Protocol):
    """Outcome probabilities of each measurement setting.

    Attributes:
        num_states: Numbers that one sample takes while it is evaluated.
    """

    num_states: int

    def outcomes(self, angles: Array) -> Iterator[Array]:
        """For each setting (B, 2^m) at rotation angles (B, K); bit k of an outcome is `sites[k]` of the setting."""


class Setting:
    """Strings that are read from the same shots.

    Attributes:
        paulis: Pauli strings that the shots are read for.
        sites: The qubits that are read, ascending.
        codes: Letter that each of these qubits is measured in, 1, 2, 3 for X, Z, Y.
        masks: Bits of an outcome that decide the sign of each string, int64 (T,).
    """

    def __init__(self, paulis: Sequence[Pauli]) -> None:
        self.paulis = list(paulis)
        support = [a | b for a, b in paulis]
        whole = 0
        for mask in support:
            whole |= mask
        self.sites = [q for q in range(whole.bit_length()) if whole >> q & 1]
        self.codes = [max((a >> q & 1) | (b >> q & 1) << 1 for a, b in paulis) for q in self.sites]
        self.masks = np.array(
            [sum((mask >> q & 1) << k for k, q in enumerate(self.sites)) for mask in support], dtype=np.int64
        )


class NoisyDistribution:
    """Outcomes of a noisy circuit, errors of the measurement included.

    Args:
        ops: Rotations and channels of the circuit.
        settings: Groups of Pauli strings that are measured together.
        measurement: Errors of the measurement and of the gates that change its basis.
        double: Whether to compute in float64 instead of float32.
        threads: Largest number of threads; `None` takes one per available core.
    """

    def __init__(
        self,
        ops: Sequence[NoisyOp],
        settings: Sequence[Setting],
        measurement: Measurement,
        *,
        double: bool,
        threads: int | None,
    ) -> None:
        own, features = with_own_angles(ops)
        used = sorted({q for op in ops for q in op.qubits} | {q for setting in settings for q in setting.sites})
        none = Observables((), np.zeros((0, 0)))
        self._circuit = DensityCircuit(own, features, none, double=double, threads=threads, qubits=used)
        self._size = max(len(used), 1)
        self.num_states = 4**self._size
        self._settings = [
            {used.index(q): measurement.letter(q, code) for q, code in zip(setting.sites, setting.codes, strict=True)}
            for setting in settings
        ]

    def outcomes(self, angles: Array) -> Iterator[Array]:
        """See `Distribution`."""
        states = self._circuit.final_states(angles).astype(np.float64)
        for letters in self._settings:
            table = states
            for qubit in reversed(range(self._size)):
                # The highest qubit is the slowest axis; what is read collects behind it.
                tail = table.reshape(len(states), 4, 4**qubit, -1)
                if qubit in letters:
                    weighted = np.einsum("c,bcls->bls", letters[qubit], tail)
                    both = np.stack([tail[:, 0] + weighted, tail[:, 0] - weighted], axis=3) / 2
                    # (B, lower qubits, what was read, this qubit): higher qubits stay the higher bits.
                    table = both.reshape(len(states), -1)
                else:
                    table = tail[:, 0].reshape(len(states), -1)
            yield table


class ExactDistribution:
    """Outcomes of a noiseless circuit."""

    def __init__(self, ops: Sequence[Op], settings: Sequence[Setting]) -> None:
        turned = {q for s in settings for q in s.sites}
        used = sorted({q for op in ops for q in op.qubits} | turned) or [0]
        require_feasible(len(used), 1)
        self.num_states = 2 ** len(used)
        self._programs: list[tuple[OutcomeProgram, list[int]]] = []
        for setting in settings:
            changes = [
                Fixed((q,), _LETTER_BASIS[code])
                for q, code in zip(setting.sites, setting.codes, strict=True)
                if code in _LETTER_BASIS
            ]
            program = outcome_program([*ops, *changes], used)
            self._programs.append((program, [used.index(q) for q in setting.sites]))

    def outcomes(self, angles: Array) -> Iterator[Array]:
        """See `Distribution`."""
        for program, sites in self._programs:
            full = probabilities(program, angles)
            axes = full.reshape(len(angles), *[2] * program.num_qubits)
            # Axis 1 is the highest bit.
            dropped = tuple(program.num_qubits - q for q in range(program.num_qubits) if q not in sites)
            yield axes.sum(axis=dropped).reshape(len(angles), -1)


def settings_of(observables: Observables) -> list[Setting]:
    """Measurement settings that read all strings."""
    return [Setting(group) for group in group_commuting(p for p in observables.paulis if p != (0, 0))]


def with_own_angles(ops: Sequence[NoisyOp]) -> tuple[list[NoisyOp], Features]:
    """The circuit with angle k of its k-th rotation as parameter k."""
    from qiskit.circuit import ParameterVector

    own: list[NoisyOp] = []
    count = 0
    for op in ops:
        if isinstance(op, Rotation):
            own.append(replace(op, angle=Angle(((count, 1.0),))))
            count += 1
        else:
            own.append(op)
    return own, Features(list(ParameterVector("angle", count)))
