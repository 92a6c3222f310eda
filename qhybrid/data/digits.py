"""scikit-learn's bundled handwritten digits: 1,797 grey images of 8x8 pixels; no download."""

from __future__ import annotations

import numpy as np

from qhybrid.config import DataConfig
from qhybrid.data.images import ImageData
from qhybrid.errors import DataError
from qhybrid.seeds import permutation

SPLIT_SEED = 2504
TEST_SHARE, VAL_SHARE = 0.2, 0.1


def load_digits(config: DataConfig) -> ImageData:
    """The digits in a fixed split: of each class 20 % test, 10 % validation, the rest training (1,259 / 179 / 359).

    The bundled set has no splits of its own, so one is drawn here, once and for all, by `SPLIT_SEED`; it does not
    depend on the configuration. The set gives no writers, so one writer's digits can fall into several splits.
    Grey levels 0..16 become 0..255, rounded.

    Raises:
        DataError: A size is asked for; the images are 8x8.
    """
    from sklearn.datasets import load_digits as bundled

    if config.size is not None:
        raise DataError(f"`data.size: {config.size}`: the images of `digits` are 8x8; leave `data.size` out")
    source = bundled()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)
    labels = source.target.astype(np.int64)
    part = _assign_splits(labels)
    train, val, test = ((images[part == index], labels[part == index]) for index in range(3))
    return ImageData.from_splits(
        "digits",
        train=train,
        val=val,
        test=test,
        class_names=tuple(str(digit) for digit in range(10)),
        origin="sklearn.datasets.load_digits (UCI Optical Recognition of Handwritten Digits, CC BY 4.0)",
    )


def _assign_splits(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """0 (train), 1 (val) or 2 (test) for each image."""
    part = np.zeros(len(labels), dtype=np.int8)
    order = permutation(len(labels), SPLIT_SEED)
    for digit in np.unique(labels):
        members = order[labels[order] == digit]
        n_test, n_val = round(TEST_SHARE * len(members)), round(VAL_SHARE * len(members))
        part[members[:n_test]] = 2
        part[members[n_test : n_test + n_val]] = 1
    return part
