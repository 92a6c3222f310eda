import numpy as np
import pytest

from qhybrid.config import DataConfig, EvaluationConfig
from qhybrid.data import load_data
from qhybrid.errors import EvaluationError
from qhybrid.evaluation.copies import copy_scores
from qhybrid.evaluation.memorisation import are_copies, held_out, nearest_distances, nearest_images


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def digits():
    return load_data(DataConfig(n_train=100))


def test_copies_of_training_images_are_found(digits, rng):
    others = held_out(digits, rng)
    assert len(others.reference) == len(digits.train) == 100
    copies = nearest_distances(digits.train, digits.train, others.reference, rng)
    assert copies.share() == 1.0
    assert copies.ratio() == 0.0
    # A little noise does not hide a copy.
    noisy = np.clip(digits.train.astype(int) + rng.integers(-8, 9, digits.train.shape), 0, 255).astype(np.uint8)
    assert nearest_distances(noisy, digits.train, others.reference, rng).share() > 0.99


def test_held_out_images_are_as_near_to_both_sets(digits, rng):
    others = held_out(digits, rng)
    fresh = nearest_distances(others.queries, digits.train, others.reference, rng)
    assert 0.45 < fresh.share() < 0.55
    assert 0.95 < fresh.ratio() < 1.05


def test_held_out_parts_are_disjoint_and_not_trained_on(digits, rng):
    others = held_out(digits, rng)
    sets = [{image.tobytes() for image in part} for part in (digits.train, others.reference, others.queries)]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


def test_more_training_than_held_out_images_are_compared_in_equal_numbers(rng):
    data = load_data(DataConfig())
    others = held_out(data, rng)
    found = nearest_distances(others.queries, data.train, others.reference, rng)
    assert len(others.reference) < len(data.train)
    assert found.train.shape == (20, len(others.queries))
    # Unequal numbers would show as a share far above one half.
    assert 0.44 < found.share() < 0.56


def test_nearest_images_and_distance_in_grey_levels(rng):
    pool = np.zeros((3, 8, 8, 1), np.uint8)
    pool[1], pool[2] = 100, 255
    images, distances = nearest_images(np.full((2, 8, 8, 1), 110, np.uint8), pool)
    assert (images == 100).all()
    assert distances == pytest.approx(10 / 255)


def test_large_images_are_reduced_without_losing_copies(rng):
    pool = rng.integers(0, 256, (4, 128, 128, 3)).astype(np.uint8)
    images, distances = nearest_images(pool[2:3], pool)
    assert (images == pool[2:3]).all()
    assert distances[0] == 0.0
    assert nearest_images(np.full((1, 128, 128, 3), 255, np.uint8), np.zeros((1, 128, 128, 3), np.uint8))[1] == 1.0


def test_too_few_held_out_images_are_refused(digits, rng):
    from dataclasses import replace

    empty = {
        f"{split}{kind}": getattr(digits, f"{split}{kind}")[:0]
        for split in ("unused", "val")
        for kind in ("", "_labels")
    }
    small = replace(digits, **empty, test=digits.test[:9], test_labels=digits.test_labels[:9])
    with pytest.raises(EvaluationError, match="9 held-out images, at least 16"):
        held_out(small, rng)


def test_a_copy_is_three_times_nearer_to_one_training_image_than_to_the_others():
    train = np.zeros((3, 8, 8, 1), np.uint8)
    train[1], train[2] = 100, 100
    queries = np.zeros((4, 8, 8, 1), np.uint8)
    # From 0 and 100: 0 and 100, 24 and 76, 26 and 74, 50 and 50.
    queries[1], queries[2], queries[3] = 24, 26, 50
    assert are_copies(queries, train).tolist() == [True, True, False, False]
    with pytest.raises(EvaluationError, match=r"1 different training images.*n_train"):
        are_copies(queries, train[1:])


def test_a_copy_machine_is_flagged_and_its_kid_without_copies_is_that_of_the_rest(digits, rng):
    real = digits.test[:200]
    noisy = np.clip(digits.train[:60].astype(int) + rng.integers(-8, 9, digits.train[:60].shape), 0, 255)
    generated = np.concatenate([real[:40], noisy.astype(np.uint8)])
    # Features in which copies are told from fresh images: not those of a classifier, for which both are digits.
    x, y = (images.reshape(len(images), -1) / 255 for images in (generated, digits.test[200:]))
    config = EvaluationConfig(kid_subsets=5, kid_subset_size=20)
    found = copy_scores(generated, x, y, digits, config)
    assert found["copies"]["value"] == pytest.approx(0.6, abs=0.02)
    assert found["copies"]["interval"][0] > 0.4
    assert found["copies"]["floor"]["value"] < 0.02
    assert found["kid_without_copies"]["n_generated"] == 100 - round(100 * found["copies"]["value"])
    without = copy_scores(generated[:40], x[:40], y, digits, config)
    assert without["copies"]["value"] == 0
    assert without["kid_without_copies"]["value"] == pytest.approx(found["kid_without_copies"]["value"], abs=1e-3)
    machine = copy_scores(digits.train, digits.train.reshape(100, -1) / 255, y, digits, config)
    assert machine["copies"]["value"] == 1.0
    assert machine["kid_without_copies"]["value"] is None
    assert "0 of 100 images are no copies" in machine["kid_without_copies"]["reason"]
