"""Data sets in one npz file with MedMNIST's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qhybrid.config import DataConfig
from qhybrid.data.download import data_root
from qhybrid.data.images import ImageData
from qhybrid.errors import DataError
from qhybrid.files import DamagedFileError, InputFile, MissingArrayError, read_npz, sha256_of

REQUIRED_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
VAL_KEYS = ("val_images", "val_labels")


def load_npz(config: DataConfig) -> ImageData:
    """The file `config.path`, relative to the working directory or else to the data folder.

    Its classes are the numbers 0..K-1. The name of the data set is the file's without `.npz`.

    Raises:
        DataError: Missing, unreadable, without the keys, or images that `ImageData` does not take.
    """
    assert config.path is not None  # DataConfig gives a path to `npz`, and to nothing else
    given = Path(config.path).expanduser()
    places = (given, data_root(config.root) / given)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        looked = " and ".join(f"`{place}`" for place in dict.fromkeys(places))
        raise DataError(f"`data.path: {config.path}`: there is no such file (looked for {looked})")
    data = build_from_npz(path, path.stem, class_names=None, origin=str(path))
    if config.size not in (None, data.image_size):
        raise DataError(
            f"`data.size: {config.size}`: the images of `{path}` are {data.image_size}x{data.image_size}; "
            "leave `data.size` out"
        )
    return data


def build_from_npz(path: Path, name: str, *, class_names: tuple[str, ...] | None, origin: str) -> ImageData:
    """An npz file with `REQUIRED_KEYS`, with or without `VAL_KEYS`, as a data set; other keys are left alone.

    Args:
        path: The npz file to be read.
        name: Name of the data set.
        class_names: Name of each class; None numbers the classes that the labels hold.
        origin: What to record as the data's origin.

    Raises:
        DataError: The file is damaged, holds pickled objects or lacks keys.
    """
    source = InputFile(str(path.absolute()), sha256_of(path))
    arrays = _read_arrays(path)
    return ImageData.from_splits(
        name,
        train=(arrays["train_images"], arrays["train_labels"]),
        val=(arrays["val_images"], arrays["val_labels"]) if "val_images" in arrays else None,
        test=(arrays["test_images"], arrays["test_labels"]),
        class_names=class_names,
        origin=origin,
        source=source,
    )


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        arrays = read_npz(path, REQUIRED_KEYS, VAL_KEYS)
        missing = [key for key in VAL_KEYS if key not in arrays]
        if len(missing) == 1:
            raise MissingArrayError(missing, list(arrays))
    except MissingArrayError as error:
        raise DataError(
            f"`{path}` lacks {', '.join(f'`{key}`' for key in error.missing)}; needed are {', '.join(REQUIRED_KEYS)} "
            f"(and, both or neither, {', '.join(VAL_KEYS)}); it holds {', '.join(error.found) or 'nothing'}"
        ) from None
    except DamagedFileError as error:
        raise DataError(
            f"`{path}` is damaged or no npz file of plain arrays ({error}): fetch or write it again"
        ) from None
    images = arrays["train_images"]
    if images.dtype == np.uint8 and images.size and images.max() == 1:
        raise DataError(
            f"`{path}`: no grey level of `train_images` is above 1, of 255: images of 0..1 were saved as uint8; "
            "multiply them by 255 first"
        )
    return arrays
