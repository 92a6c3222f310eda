"""Data sets in one npz file with MedMNIST's keys."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qhybrid.config import DataConfig
from qhybrid.data.download import data_root
from qhybrid.data.images import ImageData
from qhybrid.errors import DataError

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
        path: The file.
        name: Name of the data set.
        class_names: Name of each class; None numbers the classes that the labels hold.
        origin: What to record as the data's origin.

    Raises:
        DataError: The file is damaged, holds pickled objects or lacks keys.
    """
    arrays = _read_arrays(path)
    return ImageData.from_splits(
        name,
        train=(arrays["train_images"], arrays["train_labels"]),
        val=(arrays["val_images"], arrays["val_labels"]) if "val_images" in arrays else None,
        test=(arrays["test_images"], arrays["test_labels"]),
        class_names=class_names,
        origin=origin,
    )


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"`{path}` is a single array, not an npz file: write it with `numpy.savez_compressed`")
            with archive:
                return {key: archive[key] for key in _wanted_keys(path, archive.files)}
    # Each is what a damaged or foreign file makes numpy, zipfile or zlib raise.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"`{path}` is damaged or no npz file of plain arrays ({reason}): fetch or write it again"
        ) from None


def _wanted_keys(path: Path, keys: list[str]) -> tuple[str, ...]:
    has_val = any(key in keys for key in VAL_KEYS)
    wanted = REQUIRED_KEYS + (VAL_KEYS if has_val else ())
    missing = [key for key in wanted if key not in keys]
    if missing:
        raise DataError(
            f"`{path}` lacks {', '.join(f'`{key}`' for key in missing)}; needed are {', '.join(REQUIRED_KEYS)} "
            f"(and, both or neither, {', '.join(VAL_KEYS)}); it holds {', '.join(keys) or 'nothing'}"
        )
    return wanted
