"""One scheme of seeds: stored derivations keep their values, and different names share no numbers."""

import hashlib
import itertools
import re

import numpy as np
import pytest
import torch

from qhybrid.config import build_config
from qhybrid.models.build import build_model
from qhybrid.seeds import Stream, generator, initial_seed, permutation, value_digest


def seed_of(words):
    """The rule that stored images and banks were made with, written out: all words and their number, hashed."""
    return int(np.random.SeedSequence((*words, len(words))).generate_state(1, np.uint64)[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (Stream("image", 7, 0), (7, 0)),
        (Stream("image", 7, 3), (7, 3)),
        (Stream("times", 5, 9), (1, 5, 9)),
        (Stream("training", 5, 9), (2, 5, 9)),
    ],
)
def test_noise_of_stored_images_and_trainings_keeps_its_values(name, words):
    expected = torch.randn(50, generator=torch.Generator().manual_seed(seed_of(words)))
    assert torch.equal(torch.randn(50, generator=name.torch_generator()), expected)


def test_orders_and_shots_keep_their_values():
    order = Stream("order", 5, 2).numpy_generator().permutation(20)
    assert order.tolist() == np.random.default_rng((0, 5, 2)).permutation(20).tolist()
    for name, attempt, words in (
        (Stream("bank", 3), None, (1 << 60, 3)),
        (Stream("bank", 3, 8), 1, (1 << 60, 3, 8, 1)),
        (Stream("certificate"), 0, (1 << 61, 0)),
        (Stream("calibration"), None, (1 << 62,)),
        (Stream("image", 4, 1), 0, (4, 1, 0)),
    ):
        expected = np.random.default_rng(seed_of(words) >> 2).random(5)
        assert name.shots_generator(attempt).random(5).tolist() == expected.tolist()


def test_every_numpy_generator_is_made_in_the_module_of_seeds(root):
    made = re.compile(
        r"default_rng|RandomState|SeedSequence|np\.random\.(seed|PCG64|MT19937|Philox|rand|normal)|^import random"
    )
    guilty = {
        str(path.relative_to(root))
        for package in ("qhybrid", "hardware")
        for path in (root / package).rglob("*.py")
        if made.search(path.read_text())
    }
    assert guilty == {"qhybrid/seeds.py"}


def test_a_permutation_is_fixed_for_all_versions():
    assert permutation(10, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]


def test_parts_of_a_model_keep_their_seeds_and_every_seed_builds_one():
    assert [initial_seed(5, part) for part in ("unet", "gate", "circuit")] == [15, 16, 17]
    model = {"channels": [8, 8, 8], "time_dim": 8, "bottleneck": "se"}
    weights = [
        next(build_model(build_config({"name": "large", "seed": seed, "model": model}), 1).parameters())
        for seed in (2**62, 2**63 - 1)  # three times as much has no place in 64 bits
    ]
    assert not torch.equal(*weights)


def test_digests_of_values_keep_their_bytes():
    values = np.array([[0.5, -1.0], [2.0, 3.0]])
    expected = hashlib.sha256(b"7 1" + values.tobytes()).digest()
    assert value_digest("7 1", values) == value_digest("7 1", values[:1], values[1:]) == expected
    assert value_digest("7 1", values.T) == hashlib.sha256(b"7 1" + values.T.copy().tobytes()).digest()


def test_purposes_seeds_and_places_share_no_numbers():
    names = [
        (seed, purpose, *place)
        for seed, purpose in itertools.product((0, 1, 2**63, 2**70), ("a", "b", "ab", "a\0"))
        for place in ((), (0,), (1,), (0, 0), (0, 1), (1, 0))
    ]
    draws = {tuple(generator(*name).integers(0, 2**63, 2)) for name in names}
    assert len(draws) == len(names)
    assert generator(3, "a", 1).random() == generator(3, "a", 1).random()
