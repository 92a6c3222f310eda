"""Conversions, fingerprint and the checks of `ImageData`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qhybrid.data import ImageData, to_tensor, to_uint8
from qhybrid.data.images import fingerprint
from qhybrid.errors import DataError


@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip_is_exact_for_every_level(channels: int, rng: np.random.Generator) -> None:
    images = np.concatenate(
        [
            np.arange(256, dtype=np.uint8).repeat(channels).reshape(1, 16, 16, channels),
            rng.integers(0, 256, (3, 16, 16, channels), dtype=np.uint8),
        ]
    )
    images.flags.writeable = False
    x = to_tensor(images)
    assert x.shape == (4, channels, 16, 16)
    assert x.dtype == torch.float32
    assert (x.min().item(), x.max().item()) == (-1.0, 1.0)
    assert x.is_contiguous()
    np.testing.assert_array_equal(to_uint8(x), images[..., 0] if channels == 1 else images)


def test_grey_images_without_channel_axis_are_taken(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (5, 8, 8), dtype=np.uint8)
    assert torch.equal(to_tensor(images), to_tensor(images[..., None]))


def test_channels_keep_their_place() -> None:
    image = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    image[0, 1, 2] = [255, 0, 51]
    assert to_tensor(image)[0, :, 1, 2].tolist() == pytest.approx([1.0, -1.0, -0.6])


def test_to_uint8_clips_and_rounds_to_nearest() -> None:
    x = torch.tensor([-3.0, -1.0, -0.5, 0.5, 1.0, 7.0]).reshape(1, 1, 2, 3)
    assert to_uint8(x).ravel().tolist() == [0, 0, 64, 191, 255, 255]


def test_to_uint8_refuses_values_that_are_not_finite() -> None:
    with pytest.raises(DataError, match="not finite"):
        to_uint8(torch.full((1, 1, 4, 4), float("nan")))


@pytest.mark.parametrize("images", [np.zeros((2, 4, 4, 1), np.float32), np.zeros((4, 4), np.uint8)])
def test_to_tensor_refuses_other_types_and_shapes(images: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        to_tensor(images)


def test_to_uint8_refuses_two_channels() -> None:
    with pytest.raises(DataError, match=r"\(1, 2, 4, 4\)"):
        to_uint8(torch.zeros(1, 2, 4, 4))


def test_fingerprint_sees_content_shape_and_type_but_not_memory_order(rng: np.random.Generator) -> None:
    array = rng.integers(0, 9, (3, 4))
    altered = array.copy()
    altered[2, 3] += 1
    sums = {fingerprint(item) for item in (array, altered, array.reshape(4, 3), array.astype(np.uint8))}
    assert len(sums) == 4
    assert fingerprint(np.asfortranarray(array)) == fingerprint(array) == fingerprint(array.astype(">i8"))


def build(shape: tuple[int, ...], **changes: Any) -> ImageData:
    images = np.zeros(shape, dtype=np.uint8)
    labels = np.zeros(shape[0], dtype=np.uint8)
    parts: dict[str, Any] = {"train": (images, labels), "val": None, "test": (images, labels), "class_names": ("a",)}
    return ImageData.from_splits("tiny", origin="here", **(parts | changes))


def test_layout_of_a_grey_set() -> None:
    data = build((5, 12, 12))
    assert data.train.shape == data.test.shape == (5, 12, 12, 1)
    assert data.val.shape == data.unused.shape == (0, 12, 12, 1)
    assert data.train_labels.dtype == np.int64
    assert (data.channels, data.image_size, data.multi_label) == (1, 12, False)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 12, 16), "12x16"),
        ((5, 30, 30), "30x30.*divisible by 4"),
        ((5, 0, 0), "0x0"),
        ((5, 12, 12, 2), r"\(5, 12, 12, 2\)"),
        ((5, 12, 12, 12), r"\(5, 12, 12, 12\)"),
        ((0, 12, 12), "no training image"),
    ],
)
def test_unfit_images_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(shape)


ZEROS = np.zeros((5, 12, 12), dtype=np.uint8)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ((ZEROS[:, :8, :8], np.zeros(5, np.uint8)), "test images are 8x8x1, training images 12x12x1"),
        ((ZEROS, np.zeros(4, np.uint8)), "one label"),
        ((ZEROS, np.zeros((5, 2), np.uint8)), "one label"),
        ((ZEROS, np.full(5, 3)), r"test labels lie in 3\.\.3, allowed is 0\.\.0"),
        ((ZEROS, np.full(5, -1)), r"-1\.\.-1"),
        ((ZEROS, np.zeros(5)), "labels are float64"),
        ((ZEROS, np.array(0)), r"labels of shape \(\)"),
        ((ZEROS / 255, np.zeros(5, np.uint8)), "images are float64"),
    ],
)
def test_unfit_splits_are_refused(test: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build((5, 12, 12), test=test)


def test_multi_label_rows_stay_rows() -> None:
    labels = np.array([[0, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=np.uint8)
    data = build((5, 12, 12), train=(ZEROS, labels), test=(ZEROS, labels), class_names=("a", "b", "c"))
    assert data.multi_label
    np.testing.assert_array_equal(data.train_labels, labels)
    assert data.val_labels.shape == (0, 3)


def test_class_numbers_that_are_identifiers_are_refused() -> None:
    with pytest.raises(DataError, match="labels reach 123456789"):
        build((5, 12, 12), train=(ZEROS, np.full(5, 123456789)), class_names=None)
