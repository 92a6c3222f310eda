"""Clifford gates, Pauli errors and rotations as tables over all Pauli coefficients of a density matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qhybrid.quantum.engine.compiler.paulis import Pauli
from qhybrid.quantum.noise.channels import Channel, monomial

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """A map of D = 4^n coefficients that permutes and scales: target[k] = factor[k] * state[source[k]].

    Attributes:
        source: Position that each coefficient comes from, (D,).
        factor: Number that each coefficient is multiplied by, float64 (D,).
        qubits: Qubits that the map acts on.
    """

    source: Ints
    factor: NDArray[np.float64]
    qubits: frozenset[int]


def string_index(pauli: Pauli, num_qubits: int) -> int:
    """Where the coefficient of a Pauli string stands."""
    x, z = pauli
    return sum(((x >> q & 1) | (z >> q & 1) << 1) << 2 * q for q in range(num_qubits))


def as_table(channel: Channel, num_qubits: int) -> Table | None:
    """The channel over all coefficients if it only permutes and scales them, else None."""
    found = monomial(channel.matrix)
    if found is None:
        return None
    column, factor = found
    codes = np.arange(4**num_qubits, dtype=np.int64)
    local = sum((codes >> 2 * q & 3) << 2 * k for k, q in enumerate(channel.qubits))
    source = codes & ~sum(3 << 2 * q for q in channel.qubits)
    for k, q in enumerate(channel.qubits):
        source |= (column[local] >> 2 * k & 3) << 2 * q
    return Table(source, factor[local], frozenset(channel.qubits))


def rotation_pairs(generator: Pauli, num_qubits: int) -> NDArray[np.int32]:
    """Pairs (Q, R) of strings with R = i P Q for the generator P, which are those that it does not commute with.

    The rotation turns r_Q into c r_Q + s r_R and r_R into c r_R - s r_Q.
    """
    codes = np.arange(4**num_qubits, dtype=np.int64)
    x = sum((codes >> 2 * q & 1) << q for q in range(num_qubits))
    z = sum((codes >> 2 * q + 1 & 1) << q for q in range(num_qubits))
    px, pz = generator
    anticommutes = (np.bitwise_count(x & pz) + np.bitwise_count(z & px)) % 2 == 1
    partner = codes ^ string_index(generator, num_qubits)
    # A string is i^|x & z| X^x Z^z, so i P Q = i^power R with R the string at (x ^ px, z ^ pz).
    power = (
        1
        + (px & pz).bit_count()
        + np.bitwise_count(x & z).astype(np.int64)
        - np.bitwise_count((x ^ px) & (z ^ pz)).astype(np.int64)
        + 2 * np.bitwise_count(pz & x).astype(np.int64)
    ) % 4
    first = anticommutes & (power == 0)
    return np.stack([codes[first], partner[first]], axis=1).astype(np.int32)
