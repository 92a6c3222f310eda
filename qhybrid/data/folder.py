"""Data sets in folders of image files: subfolders are classes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from pydantic import Field

from qhybrid.config import DataConfig, Section
from qhybrid.config.section import Seed
from qhybrid.data.download import data_root
from qhybrid.data.images import ImageData, Split
from qhybrid.errors import DataError
from qhybrid.files import InputFile, is_hidden, sha256_of
from qhybrid.seeds import permutation

SPLIT_FOLDERS = ("train", "val", "test")
_FORMATS = ("PNG", "JPEG", "TIFF")
_EIGHT_BIT_MODES = ("1", "L", "RGB", "CMYK", "YCbCr")


class FolderOptions(Section):
    """How image files become images of one size, and how they are split where there are no split folders."""

    resize: int | None = Field(
        default=None,
        ge=4,
        multiple_of=4,
        description=(
            "Side in pixels, a multiple of 4, that images are cropped to a centred square and resized to; null takes "
            "`data.size`, or images as they are, all of one size."
        ),
    )
    channels: Literal[1, 3] = Field(default=1, description="Images are made grey (1) or RGB (3).")
    val_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Part of each class for validation, from 0 to below 1; ignored where there is a folder `train`.",
    )
    test_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Part of each class for the test, above 0 and below 1; ignored where there is a folder `train`.",
    )
    split_seed: Seed = Field(
        default=0, description="Seed of the split, 0 or more; it does not depend on the order of the files' names."
    )


def load_folder(options: FolderOptions, config: DataConfig) -> ImageData:
    """The images below `config.path`, relative to the working directory or else to the data folder.

    Subfolders are classes, or, if one is called `train`, `val` or `test`, splits with classes in them. A class holds
    PNG, JPEG and TIFF files, also in folders of its own. Hidden files do not count. Images are turned as their EXIF
    orientation says; 16-bit grey levels are divided by 257; palettes, CMYK and the like become RGB or grey.

    Raises:
        DataError: There is no such folder; a file is no image, is transparent, moves, or has another size than the
            others; or a split has no images.
    """
    assert config.path is not None  # DataConfig gives a path to `folder`
    given = Path(config.path).expanduser()
    places = (given, data_root(config.root) / given)
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        looked = " and ".join(f"`{place}`" for place in dict.fromkeys(places))
        raise DataError(f"`data.path: {config.path}`: there is no such folder (looked for {looked})")
    reader = _Reader(options.resize or config.size, options.channels)
    splits, classes = _read_splits(root, reader, options)
    for name in ("train", "test"):
        if not len(splits[name][1]):
            raise DataError(
                f"`{root}` gives no {name} image, of {reader.count} in {len(classes)} classes: a data set needs "
                "several images of each class, or folders `train` and `test`"
            )
    height, width = reader.shape[:2]
    if height != width or height % 4:
        raise DataError(
            f"`{root}`: images are {height}x{width} pixels; they must be square with a side divisible by 4 (the U-Net "
            f"halves them twice): `data.resize: {max(4, min(height, width) // 4 * 4)}` crops and resizes them"
        )
    return ImageData.from_splits(
        root.resolve().name,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        class_names=classes,
        origin=str(root.absolute()),
        source=InputFile(str(root.absolute()), sha256_of(root), reader.note()),
    )


def _read_splits(root: Path, reader: _Reader, options: FolderOptions) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Images and labels of each split, and the names of the classes."""
    present = [name for name in SPLIT_FOLDERS if (root / name).is_dir()]
    folders = {name: _class_folders(root / name) for name in present} or {"": _class_folders(root)}
    if present and not {"train", "test"} <= set(present):
        raise DataError(f"`{root}` has a folder `{present[0]}`: then it needs `train` and `test`, and may have `val`")
    classes = _sorted_classes({name for classes in folders.values() for name in classes})
    read: dict[str, Split] = {}
    for split, by_class in folders.items():
        files = [(file, classes.index(name)) for name in classes for file in _files(by_class.get(name))]
        images = [reader.read(file) for file, _ in files]
        shape = (0, *reader.shape)
        labels = np.array([label for _, label in files], dtype=np.int64)
        read[split] = (np.stack(images) if images else np.zeros(shape, dtype=np.uint8), labels)
    if present:
        read.setdefault("val", (read["train"][0][:0], read["train"][1][:0]))
        return read, classes
    pixels, labels = read[""]
    part = _assign_splits(labels, options)
    return {name: (pixels[part == index], labels[part == index]) for index, name in enumerate(SPLIT_FOLDERS)}, classes


def _class_folders(root: Path) -> dict[str, Path]:
    entries = sorted(entry for entry in root.iterdir() if not is_hidden(entry.name))
    loose = [entry for entry in entries if not entry.is_dir()]
    if loose:
        raise DataError(f"`{loose[0]}` lies in no class folder: put the images of each class into a folder of its own")
    if not entries:
        raise DataError(f"`{root}` is empty: it must hold a folder of images for each class")
    return {entry.name: entry for entry in entries}


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    """By name; by number where all names are numbers, so that class 10 stands after class 9."""
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name)))
    return tuple(sorted(names))


def _files(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(is_hidden(part) for part in path.relative_to(folder).parts)
    )


def _assign_splits(labels: npt.NDArray[np.int64], options: FolderOptions) -> npt.NDArray[np.int8]:
    """0 (train), 1 (val) or 2 (test) for each image, in the same shares of each class.

    Raises:
        DataError: The shares leave nothing to train with.
    """
    if options.val_share + options.test_share >= 1:
        raise DataError(
            f"`data.val_share: {options.val_share}` and `data.test_share: {options.test_share}` leave no images to "
            "train with: their sum must be below 1"
        )
    part = np.zeros(len(labels), dtype=np.int8)
    order = permutation(len(labels), options.split_seed)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        # A class of two images or more gives at least one to the test, and keeps at least one to train with.
        test = min(max(1, round(options.test_share * len(members))), len(members) - 1)
        val = min(round(options.val_share * len(members)), len(members) - 1 - test)
        part[members[:test]] = 2
        part[members[test : test + val]] = 1
    return part


class _Reader:
    """Reads image files as uint8 arrays of one shape, and keeps what was done with them."""

    def __init__(self, side: int | None, channels: Literal[1, 3]) -> None:
        self._side = side
        self._mode = "L" if channels == 1 else "RGB"
        self._first: tuple[Path, tuple[int, int]] | None = None
        self._sizes: set[tuple[int, int]] = set()
        self._sixteen = 0
        self.count = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image: (H, W), or (H, W, 3)."""
        width, height = (self._side, self._side) if self._side else self._first[1] if self._first else (0, 0)
        return (height, width) if self._mode == "L" else (height, width, 3)

    def read(self, path: Path) -> npt.NDArray[np.uint8]:
        """An image as uint8 (H, W) or (H, W, 3).

        Raises:
            DataError: It is none, or not one that can be taken; names the file.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                warnings.simplefilter("ignore", UserWarning)
                with Image.open(path, formats=_FORMATS) as file:
                    image = self._eight_bit(path, file)
        except DataError:
            raise
        except Image.DecompressionBombWarning as error:
            raise DataError(f"`{path}` has too many pixels: {' '.join(str(error).split())}") from None
        # Pillow's decoders raise whatever a foreign or damaged file makes them: OSError, SyntaxError, struct.error, ...
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"`{path}` is no readable PNG, JPEG or TIFF image ({reason}): take it out") from None
        self.count += 1
        self._sizes.add(image.size)
        self._first = self._first or (path, image.size)
        if self._side is not None:
            image = ImageOps.fit(image.convert(self._mode), (self._side, self._side), Image.Resampling.LANCZOS)
        elif image.size != self._first[1]:
            raise DataError(
                f"`{path}` has {_text(image.size)} pixels, `{self._first[0]}` has {_text(self._first[1])}: set "
                "`data.resize` to bring all images to one size"
            )
        return np.asarray(image.convert(self._mode), dtype=np.uint8)

    def _eight_bit(self, path: Path, file: Image.Image) -> Image.Image:
        """The picture upright, with 8 bits a channel and without alpha."""
        # The second picture of a phone's JPEG (MPO) is a preview of the first.
        frames = getattr(file, "n_frames", 1)
        if frames > 1 and file.format != "MPO":
            raise DataError(f"`{path}` holds {frames} pictures: save each as a file of its own")
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I;16") or (image.mode == "I" and file.format == "PNG"):
            self._sixteen += 1
            levels = np.asarray(image).astype(np.int64)
            return Image.fromarray(((levels + 128) // 257).clip(0, 255).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if np.asarray(image.getchannel("A")).min() < 255:
                raise DataError(f"`{path}` has transparent pixels: save it on a background, without transparency")
            return image.convert("RGB")
        if image.mode == "P":
            image = image.convert("RGB")
        if image.mode not in _EIGHT_BIT_MODES:
            raise DataError(f"`{path}` has pixels of type {image.mode}: save it with 8 or 16 bits a channel")
        return image.convert("L" if image.mode in ("1", "L") else "RGB")

    def note(self) -> str:
        """What was done, in one line for the report."""
        sizes = sorted(self._sizes, key=lambda size: (size[0] * size[1], *size))
        range_ = _text(sizes[0]) if len(sizes) == 1 else f"{_text(sizes[0])} to {_text(sizes[-1])}"
        parts = [f"{self.count} image files of {range_} pixels"]
        if self._side is not None:
            parts.append(f"cropped to a centred square and resized to {_text((self._side, self._side))}")
        parts.append("made grey" if self._mode == "L" else "made RGB")
        if self._sixteen:
            parts.append(f"{self._sixteen} of 16 bits divided by 257")
        return ", ".join(parts)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
