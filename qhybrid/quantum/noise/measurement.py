"""How Pauli strings are measured: which ones together, in which basis, with which errors.

A string is read as a string of Z after each of its qubits was turned into the Z basis by gates that are as noisy as
the noise model says. So, seen from the end of the circuit, a letter on a qubit is a real combination of I, X, Z, Y:
noise of the change of basis and readout error included. Products of these give exact expectation values (`fold`) and
exact distributions of the outcomes (`rows`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, transpile
from qiskit.transpiler.exceptions import TranspilerError

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.compiler.paulis import Pauli
from qhybrid.quantum.noise.channels import Channel
from qhybrid.quantum.noise.gate_noise import GateNoise, noisy_ops

Array = NDArray[np.float64]

_MAX_TERMS = 4096


class Measurement:
    """The letters of Pauli strings as they are read."""

    def __init__(
        self,
        num_qubits: int,
        noise: GateNoise | None = None,
        readout: Mapping[int, tuple[float, float]] | None = None,
    ) -> None:
        """Tell how a circuit is measured.

        Args:
            num_qubits: Qubits of the circuit, which the noise model's errors are looked up for.
            noise: Errors of the gates that change the basis; by default none.
            readout: (offset, slope) of Z by qubit (`readout.readout_factors`); by default perfect.
        """
        self._num_qubits = num_qubits
        self._noise = noise
        self._readout = dict(readout or {})
        self._letters: dict[tuple[int, int], Array] = {}

    def letter(self, qubit: int, code: int) -> Array:
        """Combination (4,) of I, X, Z, Y that is read where X, Z or Y (code 1, 2, 3) is measured."""
        if (qubit, code) not in self._letters:
            offset, slope = self._readout.get(qubit, (0.0, 1.0))
            row = np.array([offset, 0.0, slope, 0.0])
            for channel in reversed(self._basis_change(qubit, code)):
                row = row @ channel.matrix
            row[np.abs(row) < 1e-14] = 0.0
            self._letters[qubit, code] = row
        return self._letters[qubit, code]

    def fold(self, terms: Mapping[Pauli, float]) -> dict[Pauli, float]:
        """An observable as it is read.

        Raises:
            CircuitError: A string is so long that it would become more than 4096 strings.
        """
        folded: dict[Pauli, float] = {}
        for (x, z), value in terms.items():
            qubits = [q for q in range((x | z).bit_length()) if (x | z) >> q & 1]
            letters = [self.letter(q, (x >> q & 1) | (z >> q & 1) << 1) for q in qubits]
            choices = [np.flatnonzero(row) for row in letters]
            count = np.prod([float(len(choice)) for choice in choices])
            if count > _MAX_TERMS:
                raise CircuitError(
                    f"an observable measures {len(qubits)} qubits at once, and its errors would need {count:.0f} "
                    f"terms: at most {_MAX_TERMS}; measure fewer qubits at once, or use AerEstimator with shots"
                )
            for choice in itertools.product(*choices):
                factor = float(np.prod([row[code] for row, code in zip(letters, choice, strict=True)]))
                new_x = sum((int(code) & 1) << q for q, code in zip(qubits, choice, strict=True))
                new_z = sum((int(code) >> 1) << q for q, code in zip(qubits, choice, strict=True))
                folded[new_x, new_z] = folded.get((new_x, new_z), 0.0) + value * factor
        return folded

    def _basis_change(self, qubit: int, code: int) -> list[Channel]:
        if code == 2:
            return []
        change = QuantumCircuit(1)
        if code == 3:
            change.sdg(0)
        change.h(0)
        if self._noise is not None:
            try:
                change = transpile(change, basis_gates=sorted(self._noise.basis), optimization_level=1)
            except TranspilerError:
                # The model's gates do not reach this basis, so it does not say how noisy the change would be.
                return self._channels(change, qubit, None)
        return self._channels(change, qubit, self._noise)

    def _channels(self, change: QuantumCircuit, qubit: int, noise: GateNoise | None) -> list[Channel]:
        placed = QuantumCircuit(self._num_qubits)
        placed.compose(change, [qubit], inplace=True)
        return [op for op in noisy_ops(placed, Features(()), noise) if isinstance(op, Channel)]


def group_commuting(paulis: Iterable[Pauli]) -> list[list[Pauli]]:
    """First-fit groups of strings that agree on every qubit where both act, so that one measurement serves all."""
    groups: list[list[Pauli]] = []
    bases: list[Pauli] = []
    for x, z in paulis:
        for index, (gx, gz) in enumerate(bases):
            shared = (x | z) & (gx | gz)
            if not ((x ^ gx) | (z ^ gz)) & shared:
                groups[index].append((x, z))
                bases[index] = (gx | x, gz | z)
                break
        else:
            groups.append([(x, z)])
            bases.append((x, z))
    return groups
