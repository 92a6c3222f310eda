import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from qhybrid.diffusion.bits import (
    BitLaw,
    markov_entropy,
    min_entropy,
    most_common_value_entropy,
    toeplitz,
    von_neumann,
)
from qhybrid.diffusion.errors import NoiseError


def biased(rng, shots, qubits, share):
    return (rng.random((shots, qubits)) < share).astype(np.uint8)


def sticky(rng, count, stay):
    """A Markov chain without bias that keeps its value with probability `stay`."""
    changes = (rng.random(count) >= stay).astype(np.int64)
    return (np.cumsum(changes) % 2).astype(np.uint8)


def test_von_neumann_by_hand():
    raw = np.array([[0, 1], [1, 1], [0, 0], [0, 1], [1, 0]], dtype=np.uint8)
    # qubit 0: (0,1) -> 0, (0,0) dropped; qubit 1: (1,1) dropped, (0,1) -> 0; the odd shot is left over
    assert von_neumann(raw).tolist() == [0, 0]
    assert von_neumann(1 - raw).tolist() == [1, 1]


def test_von_neumann_mends_a_bias_that_differs_between_qubits(rng):
    raw = biased(rng, 200_000, 3, np.array([0.3, 0.5, 0.8]))
    bits = von_neumann(raw)
    share = 0.3 * 0.7 + 0.25 + 0.16
    assert bits.size == pytest.approx(200_000 / 2 * 2 * share, rel=0.02)
    assert abs(bits.mean() - 0.5) < 4 * 0.5 / math.sqrt(bits.size)


def test_the_hash_mends_bias_and_correlation(rng):
    for raw in (biased(rng, 1 << 17, 4, 0.6), sticky(rng, 1 << 19, 0.6).reshape(-1, 4)):
        entropy = min_entropy(raw)
        assert entropy < 0.75
        bits = toeplitz(raw, entropy)
        assert bits.size / raw.size == pytest.approx(entropy - 64 / 2048, abs=0.001)
        assert abs(bits.mean() - 0.5) < 4 * 0.5 / math.sqrt(bits.size)
        assert min(most_common_value_entropy(bits), markov_entropy(bits)) > 0.98


def test_the_hash_is_a_toeplitz_matrix_modulo_two(rng):
    block = rng.integers(0, 2, 2048, dtype=np.uint8)
    out = toeplitz(block, 0.5, seed=3)
    size = 1024 - 64
    diagonals = np.random.default_rng(3).integers(0, 2, 2048 + size - 1, dtype=np.uint8)
    expected = [int(np.dot(block.astype(int), diagonals[2047 + j - np.arange(2048)])) % 2 for j in range(size)]
    assert out.tolist() == expected
    # linear over GF(2)
    other = rng.integers(0, 2, 2048, dtype=np.uint8)
    assert np.array_equal(toeplitz(block ^ other, 0.5), toeplitz(block, 0.5) ^ toeplitz(other, 0.5))


def test_nothing_is_extracted_from_nothing():
    with pytest.raises(NoiseError, match=r"0\.0300 per bit"):
        toeplitz(np.zeros((4096, 1), np.uint8), 0.03)


def test_entropy_estimates_are_those_of_the_standard(rng):
    # SP 800-90B, 6.3.1: p + 2.576 sqrt(p (1 - p) / (L - 1))
    bits = np.array([1] * 60 + [0] * 40, dtype=np.uint8)
    assert most_common_value_entropy(bits) == pytest.approx(-math.log2(0.6 + 2.576 * math.sqrt(0.24 / 99)))
    # A chain that stays with probability 0.9: its likeliest sequence of 128 bits has 0.5 * 0.9^127.
    chain = sticky(rng, 400_000, 0.9)
    assert markov_entropy(chain) == pytest.approx(-(math.log2(0.5) + 127 * math.log2(0.9)) / 128, rel=0.02)
    assert most_common_value_entropy(chain) > 0.95
    assert markov_entropy(1 - chain) == pytest.approx(markov_entropy(chain), rel=0.02)
    # One that nearly always changes is caught by the alternating sequences.
    assert markov_entropy(sticky(rng, 400_000, 0.1)) < 0.2
    assert markov_entropy(rng.integers(0, 2, 1_000_000, dtype=np.uint8)) > 0.99


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 16), st.integers(0, 2**32))
def test_integers_and_bits_are_inverse(resolution, seed):
    law = BitLaw(resolution)
    bits = np.random.default_rng(seed).integers(0, 2, 7 * resolution + resolution - 1, dtype=np.uint8)
    integers = law.integers(bits)
    assert integers.shape == (7,)
    assert np.array_equal(law.bits(integers), bits[: 7 * resolution])
    assert integers[0] == int("".join(map(str, bits[:resolution])), 2)


@pytest.mark.parametrize("resolution", [4, 8, 12, 16])
def test_the_law_is_standardized_and_says_what_its_tails_lack(resolution):
    law = BitLaw(resolution)
    table = law.table.astype(np.float64)
    assert abs(table.mean()) < 1e-6
    assert table.var() == pytest.approx(1, abs=1e-6)
    assert np.all(np.diff(table) > 0)
    assert law.kurtosis < 3
    assert law.missing_mass == pytest.approx(2 * ndtr(-law.largest))
    # quantiles of the normal law, up to the scale
    scale = law._unscaled.std()
    assert ndtr(table * scale) == pytest.approx((np.arange(2**resolution) + 0.5) / 2**resolution, abs=1e-6)


def test_the_stated_tails():
    assert BitLaw(16).largest == pytest.approx(4.325, abs=1e-3)
    assert BitLaw(16).missing_mass == pytest.approx(1.53e-5, rel=0.01)
    assert BitLaw(8).largest == pytest.approx(2.90, abs=0.02)
