"""Image data in memory and its conversion to and from tensors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qhybrid.errors import DataError
from qhybrid.files import InputFile

if TYPE_CHECKING:
    import torch

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Split = tuple[npt.NDArray[Any], npt.NDArray[Any]]

SPLITS = ("train", "val", "test", "unused")
MAX_UNNAMED_CLASSES = 10_000


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set in three splits, and the training images that a subset left out.

    Images are uint8 of shape (N, H, W, C), H = W divisible by 4, C = 1 (grey) or 3 (RGB). Labels are int64 of shape
    (N,): class numbers, the positions in `class_names`, kept as they are under a class filter. A multi-label set
    (ChestMNIST) has labels of shape (N, K) instead, 1 where class k is present and 0 elsewhere; rows may be all 0.

    Attributes:
        name: The registered name, or the stem of the npz file's name.
        train: Training images; never empty.
        val: Validation images; (0, H, W, C) where the set has no such split.
        test: Test images, (N, H, W, C); may be empty.
        train_labels, val_labels, test_labels, unused_labels: Labels of the images of each part, int64 (N,) or (N, K).
        class_names: The name of each class of the full set.
        origin: URL, package or file that the images come from.
        checksum: SHA-256 over shapes and contents of the full set's arrays, before any filter or subset.
        unused: Training images that the class filter let pass and the subset did not draw: held out, same law.
        source: The file or folder that the images were read from, if it is the user's; see `qhybrid.files.InputFile`.

    Raises:
        DataError: An array breaks the description above.
    """

    name: str
    train: Images
    train_labels: Labels
    val: Images
    val_labels: Labels
    test: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    origin: str
    checksum: str
    unused: Images
    unused_labels: Labels
    source: InputFile | None = None

    def __post_init__(self) -> None:
        _check_shape(self.name, self.train)
        for split in SPLITS:
            self._check_split(split)
        if not len(self.train):
            raise DataError(f"data set `{self.name}` has no training image left: choose other classes or another file")

    @property
    def input_file(self) -> InputFile:
        """What a run records of its data: the file or folder, else the sum of the arrays."""
        return self.source or InputFile(None, self.checksum)

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return int(self.train.shape[3])

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.train.shape[1])

    @property
    def multi_label(self) -> bool:
        """Whether an image can carry several classes, so that labels are (N, K)."""
        return self.train_labels.ndim == 2

    @classmethod
    def from_splits(
        cls,
        name: str,
        *,
        train: Split,
        val: Split | None,
        test: Split,
        class_names: tuple[str, ...] | None,
        origin: str,
        source: InputFile | None = None,
    ) -> ImageData:
        """Bring a source's arrays into the layout of this class and fingerprint them.

        Args:
            name: Name of the set.
            train: Images uint8 (N, H, W) or (N, H, W, C); labels of an integer type, (N,), (N, 1) or (N, K).
            val: Images and labels of the validation split, as for `train`; `None` where the set has none.
            test: Images and labels of the test split, as for `train`.
            class_names: Name of each class; None numbers the classes that the labels hold.
            origin: URL, package or file that the images come from.
            source: The file or folder that they were read from.

        Raises:
            DataError: Wrong type, shape or label values.
        """
        train_images, train_labels = _normalize(name, "train", train)
        empty = train_images[:0], train_labels[:0]
        val_images, val_labels = empty if val is None else _normalize(name, "val", val)
        test_images, test_labels = _normalize(name, "test", test)
        if class_names is None:
            class_names = _numbered_classes(name, train_labels, val_labels, test_labels)
        arrays = (train_images, train_labels, val_images, val_labels, test_images, test_labels)
        return cls(name, *arrays, class_names, origin, fingerprint(*arrays), *empty, source=source)

    def _check_split(self, split: str) -> None:
        images, labels = getattr(self, split), getattr(self, f"{split}_labels")
        if images.shape[1:] != self.train.shape[1:]:
            raise DataError(
                f"data set `{self.name}`: {split} images are {_size(images)}, training images {_size(self.train)}; "
                "every split must have the same size and channels"
            )
        if labels.shape[1:] != self.train_labels.shape[1:] or len(labels) != len(images):
            raise DataError(
                f"data set `{self.name}`: {split} has images of shape {images.shape} and labels of shape "
                f"{labels.shape}; there must be one label, or one row of K labels, per image"
            )
        if not len(labels):
            return
        low, high = int(labels.min()), int(labels.max())
        allowed = 1 if self.multi_label else len(self.class_names) - 1
        if low < 0 or high > allowed:
            raise DataError(f"data set `{self.name}`: {split} labels lie in {low}..{high}, allowed is 0..{allowed}")


def fingerprint(*arrays: npt.NDArray[Any]) -> str:
    """SHA-256 (hexadecimal) over type, shape and content of the arrays in order; the same on every machine."""
    digest = hashlib.sha256()
    for array in arrays:
        portable = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{portable.dtype.str}{portable.shape}".encode())
        digest.update(portable.data if portable.size else b"")
    return digest.hexdigest()


def to_tensor(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Pixels as the network sees them.

    Args:
        images: uint8 (N, H, W, C), or (N, H, W) for grey images.

    Returns:
        float32 (N, C, H, W) in [-1, 1]; `to_uint8` gives back the same pixels.

    Raises:
        DataError: Another type or number of axes.
    """
    import torch

    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(f"images must be uint8 (N, H, W, C) or (N, H, W), found {images.dtype} {images.shape}")
    channels_last = images if images.ndim == 4 else images[..., None]
    channels_first = channels_last.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    return torch.from_numpy(channels_first).div_(127.5).sub_(1.0)


def to_uint8(x: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Images as files hold them: clipped to [-1, 1] and rounded to the nearest of 256 levels.

    Args:
        x: Floating-point (N, C, H, W) on any device, C = 1 or 3.

    Returns:
        uint8 (N, H, W) if C is 1, else (N, H, W, 3).

    Raises:
        DataError: Another shape, or values that are not finite.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise DataError(f"images must be (N, 1, H, W) or (N, 3, H, W), found {tuple(x.shape)}")
    values = x.detach().cpu().float()
    if not values.isfinite().all():
        raise DataError("images hold values that are not finite (the model diverged): lower `training.learning_rate`")
    levels = values.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().numpy().astype(np.uint8)
    return np.ascontiguousarray(levels[:, 0] if x.shape[1] == 1 else levels.transpose(0, 2, 3, 1))


def _normalize(name: str, split: str, arrays: Split) -> tuple[Images, Labels]:
    images, labels = arrays
    if images.ndim not in (3, 4) or labels.ndim not in (1, 2):
        raise DataError(
            f"data set `{name}`: {split} has images of shape {images.shape} and labels of shape {labels.shape}; "
            "expected images (N, H, W) or (N, H, W, C), labels (N,), (N, 1) or (N, K)"
        )
    if images.dtype != np.uint8:
        raise DataError(f"data set `{name}`: {split} images are {images.dtype}; store them as uint8, 0 to 255")
    if labels.dtype.kind not in "iub":
        raise DataError(f"data set `{name}`: {split} labels are {labels.dtype}; store them as integers")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return images[..., None] if images.ndim == 3 else images, labels.astype(np.int64)


def _numbered_classes(name: str, *splits: Labels) -> tuple[str, ...]:
    if splits[0].ndim == 2:
        return tuple(str(number) for number in range(splits[0].shape[1]))
    count = 1 + max((int(labels.max()) for labels in splits if labels.size), default=-1)
    if count > MAX_UNNAMED_CLASSES:
        raise DataError(f"data set `{name}`: labels reach {count - 1}; they must be class numbers, counted from 0")
    return tuple(str(number) for number in range(count))


def _check_shape(name: str, images: npt.NDArray[Any]) -> None:
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise DataError(
            f"data set `{name}`: training images have shape {images.shape}; "
            "expected (N, H, W) or (N, H, W, 1) for grey, (N, H, W, 3) for colour"
        )
    height, width = images.shape[1:3]
    if height != width or height == 0 or height % 4:
        raise DataError(
            f"data set `{name}`: images are {height}x{width} pixels; they must be square with a side divisible by 4 "
            "(the U-Net halves them twice): resize or pad them"
        )


def _size(images: npt.NDArray[Any]) -> str:
    return "x".join(str(length) for length in images.shape[1:])
