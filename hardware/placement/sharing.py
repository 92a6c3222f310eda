"""Which copy of a circuit runs which image: image i goes to copy i modulo their number, everywhere.

A row is one execution of all copies; where images run out, the last copies repeat the last image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

NumberT = TypeVar("NumberT", bound=np.generic)


def copy_of_each(images: int, copies: int) -> NDArray[np.int64]:
    """The copy that runs each image, `(images,)`."""
    return np.arange(images, dtype=np.int64) % copies


def image_rows(images: int, copies: int) -> NDArray[np.int64]:
    """The image that each copy runs in each row, `(ceil(images / copies), copies)`."""
    rows = -(-images // copies)
    return np.minimum(np.arange(rows * copies, dtype=np.int64), images - 1).reshape(rows, copies)


def share(values: NDArray[NumberT], copy: int, copies: int) -> NDArray[NumberT]:
    """The values of the images that one copy runs.

    Args:
        values: Values of the images, `(B, ...)`, one row per image.
        copy: Number of the copy, from 0.
        copies: Number of copies in all, at least 1.

    Returns:
        Values of the copy's images, `(B_k, ...)`, in the order of the images; empty where there are fewer images than
        copies.
    """
    mine: NDArray[NumberT] = values[copy_of_each(len(values), copies) == copy]
    return mine


def in_order_of_images(found: Sequence[NDArray[np.float64]], images: int, copies: int) -> NDArray[np.float64]:
    """The inverse of `share` for all copies.

    Args:
        found: Values `(B_k, n_out)` of each copy that runs an image.
        images: Number of images of all copies, B.
        copies: Number of copies in all, those without an image included.

    Returns:
        Values of all images, `(B, n_out)`, in the order of the images.
    """
    whole = np.empty((images, found[0].shape[1]))
    for copy, rows in enumerate(found):
        whole[copy_of_each(images, copies) == copy] = rows
    return whole
