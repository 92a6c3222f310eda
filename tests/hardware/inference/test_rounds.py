"""Equal parameter sets are one circuit, and every image gets its own values back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hardware.inference.rounds import Round


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_every_image_finds_its_own_angles_in_the_distinct_ones(steps: int, images: int, kinds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    choices = rng.uniform(-3, 3, (kinds, 2))
    # Last digits of a matrix product.
    angles = choices[rng.integers(0, kinds, (steps, images))] * (1 + 1e-12 * rng.standard_normal((steps, images, 1)))
    numbers = tuple(range(5, 5 + steps))
    made = Round.of(numbers, angles)
    assert len(made.angles) <= kinds
    distances = np.abs(made.angles[:, None] - made.angles[None]).max(axis=2)
    assert (distances[~np.eye(len(made.angles), dtype=bool)] > 1e-9).all()
    for step, wanted in zip(numbers, angles, strict=True):
        np.testing.assert_allclose(made.of_images(step, made.angles), wanted, atol=1e-9)
    # In order of first use, and none that no image needs.
    assert list(made.first_steps()) == sorted(made.first_steps())
    assert set(made.rows.ravel()) == set(range(len(made.angles)))


def test_different_angles_are_left_as_they_are() -> None:
    angles = np.random.default_rng(0).uniform(-3, 3, (1, 5, 4))
    made = Round.of((3,), angles)
    assert np.array_equal(made.angles, angles[0])
    assert made.first_steps() == (3,) * 5


def test_zero_has_no_sign() -> None:
    assert len(Round.of((0,), np.array([[[0.0, 1.0], [-0.0, 1.0], [-1e-9, 1.0]]])).angles) == 1
