"""From measured bits to normal numbers: debiasing, min-entropy, integers of k bits, inverse normal distribution.

Bits are uint8 arrays of 0 and 1. Raw bits come as `(shots, qubits)`, since every qubit has a bias of its own.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qhybrid.diffusion.errors import NoiseError
from qhybrid.seeds import plain_generator

Bits = NDArray[np.uint8]

CONFIDENCE = 2.576
"""Standard deviations of the 99 % bounds of NIST SP 800-90B."""
_MARKOV_LENGTH = 128
HASH_BLOCK = 2048
"""Raw bits that are hashed together; sums of as many ones are exact in float32."""
# The output is within 2 ** -32 of uniform (leftover hash lemma: twice that many bits are given up per block).
_SECURITY_BITS = 32


def von_neumann(raw: Bits) -> Bits:
    """Unbiased bits from independent bits of any constant bias: 01 -> 0, 10 -> 1, 00 and 11 dropped.

    Pairs are successive shots of the same qubit. About a quarter of the bits is left. Exact for independent shots; it
    does not mend correlations between shots.

    Args:
        raw: Measured bits, uint8 `(shots, qubits)`.
    """
    even = len(raw) // 2 * 2
    first, second = raw[0:even:2], raw[1:even:2]
    return np.ascontiguousarray(first[first != second])


def toeplitz(raw: Bits, entropy_per_bit: float, seed: int = 0) -> Bits:
    """Nearly uniform bits from bits of a known min-entropy, correlated or not (a Toeplitz matrix as universal hash).

    Blocks of n = 2,048 bits are multiplied, modulo 2, with a Toeplitz matrix of n + m - 1 seeded bits; by the leftover
    hash lemma m = n * entropy_per_bit - 64 output bits are within 2 ** -32 of uniform.

    Args:
        raw: Measured bits in an array of any shape; bits beyond the last whole block are dropped.
        entropy_per_bit: Estimated min-entropy, in (0, 1].
        seed: Seed of the matrix; it may be public, but must not depend on the bits.

    Raises:
        NoiseError: The min-entropy is too small for a single bit.
    """
    size = _hashed_bits(entropy_per_bit)
    if size < 1:
        raise NoiseError(f"min-entropy of {entropy_per_bit:.4f} per bit is too little to extract anything from")
    diagonals = plain_generator(seed).integers(0, 2, HASH_BLOCK + size - 1, dtype=np.uint8).astype(np.float32)
    matrix = np.lib.stride_tricks.sliding_window_view(diagonals, size)[::-1]
    blocks = raw.reshape(-1)[: raw.size // HASH_BLOCK * HASH_BLOCK].reshape(-1, HASH_BLOCK)
    # Sums of at most 2,048 ones are exact in float32, where the product is fastest.
    hashed = [np.rint(part.astype(np.float32) @ matrix).astype(np.uint16) & 1 for part in _slices(blocks, 256)]
    return np.concatenate(hashed).astype(np.uint8).reshape(-1) if hashed else np.zeros(0, np.uint8)


def toeplitz_rate(entropy_per_bit: float) -> float:
    """Bits that `toeplitz` makes of one raw bit."""
    return max(0, _hashed_bits(entropy_per_bit)) / HASH_BLOCK


def most_common_value_entropy(bits: Bits) -> float:
    """Min-entropy per bit by the most common value (NIST SP 800-90B, 6.3.1), a lower bound of 99 % confidence."""
    share = max(float(bits.mean()), 1 - float(bits.mean()))
    bound = min(1.0, share + CONFIDENCE * math.sqrt(share * (1 - share) / (bits.size - 1)))
    return -math.log2(bound)


def markov_entropy(bits: Bits) -> float:
    """Min-entropy per bit of a first-order Markov chain (NIST SP 800-90B, 6.3.3): of its likeliest 128-bit sequence."""
    ones = float(bits.mean())
    before, after = bits[:-1], bits[1:]
    counts = np.bincount(2 * before + after, minlength=4).reshape(2, 2).astype(np.float64)
    with np.errstate(divide="ignore"):
        start = np.log2([1 - ones, ones])
        step = np.log2(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    n = _MARKOV_LENGTH
    sequences = (
        start[0] + _times(n - 1, step[0, 0]),
        start[0] + _times(n // 2, step[0, 1]) + _times(n // 2 - 1, step[1, 0]),
        start[0] + step[0, 1] + _times(n - 2, step[1, 1]),
        start[1] + step[1, 0] + _times(n - 2, step[0, 0]),
        start[1] + _times(n // 2, step[1, 0]) + _times(n // 2 - 1, step[0, 1]),
        start[1] + _times(n - 1, step[1, 1]),
    )
    return float(min(1.0, -max(sequences) / n))


def min_entropy(raw: Bits) -> float:
    """The least of both estimates over each qubit's shots and over the bits in the order of measurement.

    Args:
        raw: Measured bits, uint8 `(shots, qubits)`.
    """
    series = [np.ascontiguousarray(column) for column in raw.T] + [raw.reshape(-1)]
    return max(0.0, min(min(most_common_value_entropy(bits), markov_entropy(bits)) for bits in series))


@dataclass(frozen=True)
class BitLaw:
    """The law of a normal number made of k bits: inverse normal distribution of (j + 1/2) / 2^k, j uniform.

    What the resolution costs is in the tails: nothing lies beyond `largest` (a true normal number does with probability
    `missing_mass`; k = 16: 4.32, or 1.5e-5, one pixel in 84 images of 28 x 28; k = 8: 2.89 and 0.4 %), and the kurtosis
    falls short of 3 (`kurtosis`). Numbers are scaled to variance 1 exactly.

    Attributes:
        resolution: Number of bits k of each integer, 4 to 16.
    """

    resolution: int

    @functools.cached_property
    def table(self) -> NDArray[np.float32]:
        """`(2^k,)`: the number of each integer."""
        return np.asarray(self._unscaled / self._unscaled.std(), dtype=np.float32)

    @property
    def largest(self) -> float:
        """The largest number."""
        return float(self.table[-1])

    @property
    def missing_mass(self) -> float:
        """Probability that a standard normal number lies beyond `largest`."""
        return math.erfc(self.largest / math.sqrt(2))

    @property
    def kurtosis(self) -> float:
        """Fourth moment; 3 for a normal number."""
        return float(np.mean(self.table.astype(np.float64) ** 4))

    def integers(self, bits: Bits) -> NDArray[np.uint16]:
        """k bits each, the most significant first; bits that do not fill an integer are dropped."""
        whole = bits[: bits.size // self.resolution * self.resolution].reshape(-1, self.resolution)
        return np.packbits(self._padded(whole), axis=1).view(">u2")[:, 0].astype(np.uint16)

    def bits(self, integers: NDArray[np.uint16]) -> Bits:
        """The inverse of `integers`."""
        wide = np.unpackbits(integers.astype(">u2")[:, None].view(np.uint8), axis=1)
        return np.ascontiguousarray(wide[:, 16 - self.resolution :]).reshape(-1)

    def normals(self, integers: NDArray[np.uint16]) -> NDArray[np.float32]:
        """The normal numbers of integers, same shape."""
        return np.take(self.table, integers)

    def _padded(self, rows: Bits) -> Bits:
        return np.pad(rows, ((0, 0), (16 - self.resolution, 0)))

    @functools.cached_property
    def _unscaled(self) -> NDArray[np.float64]:
        from scipy.special import ndtri

        size = 2**self.resolution
        return np.asarray(ndtri((np.arange(size) + 0.5) / size), dtype=np.float64)


def _hashed_bits(entropy_per_bit: float) -> int:
    return math.floor(HASH_BLOCK * entropy_per_bit) - 2 * _SECURITY_BITS


def _times(count: int, logarithm: float) -> float:
    return count * float(logarithm) if count else 0.0


def _slices(rows: Bits, size: int) -> list[Bits]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
