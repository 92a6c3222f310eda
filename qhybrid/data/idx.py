"""MNIST and Fashion-MNIST from their original idx files, gzip-compressed or plain."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qhybrid.config import DataConfig
from qhybrid.data.download import RemoteFile, data_root, obtain
from qhybrid.data.images import ImageData, Split
from qhybrid.errors import DataError


@dataclass(frozen=True)
class IdxSet:
    """A data set of four idx files.

    Attributes:
        folder: Path of the files below the data folder.
        url: Address of the folder that the compressed files are downloaded from.
        md5: MD5 of the compressed and of the plain file, by the file's name without `.gz`.
        class_names: Name of each class.
    """

    folder: str
    url: str
    md5: dict[str, tuple[str, str]]
    class_names: tuple[str, ...]


# Sums of the compressed files are the published ones, which torchvision checks as well. Those of the plain files were
# computed from verified compressed files, except for Fashion-MNIST's images: those are what several mirrors list.
IDX_SETS = {
    "mnist": IdxSet(
        folder="MNIST/raw",
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        md5={
            "train-images-idx3-ubyte": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
            "train-labels-idx1-ubyte": ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
            "t10k-images-idx3-ubyte": ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
            "t10k-labels-idx1-ubyte": ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
        },
        class_names=tuple(str(digit) for digit in range(10)),
    ),
    "fashion_mnist": IdxSet(
        folder="FashionMNIST/raw",
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        md5={
            "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
            "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
            "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
        },
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
}


def load_idx_set(config: DataConfig) -> ImageData:
    """MNIST or Fashion-MNIST, 60,000 training and 10,000 test images of 28x28; there is no validation split.

    Raises:
        DataError: Another size than 28 is asked for; a file is missing, altered or cannot be downloaded.
    """
    source = IDX_SETS[config.name]
    if config.size not in (None, 28):
        raise DataError(f"`data.size: {config.size}`: the images of `{config.name}` are 28x28; leave `data.size` out")
    root = data_root(config.root)
    paths = {
        name: obtain(_remote_file(config.name, source, name), root, download=config.download) for name in source.md5
    }

    def split(prefix: str) -> Split:
        return read_idx(paths[f"{prefix}-images-idx3-ubyte"], 3), read_idx(paths[f"{prefix}-labels-idx1-ubyte"], 1)

    return ImageData.from_splits(
        config.name,
        train=split("train"),
        val=None,
        test=split("t10k"),
        class_names=source.class_names,
        origin=source.url,
    )


def read_idx(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    """An idx file of unsigned bytes; a name that ends in `.gz` is decompressed.

    The format is a magic number (0, 0, 8 for unsigned byte, number of axes), each axis' length as a big-endian
    32-bit integer, then the values.

    Args:
        path: File to be read.
        axes: Number of axes it must have (3 for images, 1 for labels).

    Raises:
        DataError: Cannot be read, another magic number, or not as many bytes as the header says.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"`{path}` cannot be read: {error}; delete it to download it again") from None
    expected = bytes((0, 0, 8, axes))
    header = 4 + 4 * axes
    if content[:4] != expected or len(content) < header:
        raise DataError(
            f"`{path}` is no idx file of bytes with {axes} axes: it starts with {content[:4].hex() or 'nothing'}, "
            f"expected {expected.hex()}; delete it to download it again"
        )
    shape = tuple(int(length) for length in np.frombuffer(content, dtype=">u4", count=axes, offset=4))
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"`{path}` is truncated or altered: its header says {math.prod(shape)} values, "
            f"it holds {len(content) - header}; delete it to download it again"
        )
    # Without a first axis the others may have lengths that no array has.
    kept = shape if math.prod(shape) else (0, *(min(length, 2**16) for length in shape[1:]))
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(kept)


def _remote_file(name: str, source: IdxSet, file: str) -> RemoteFile:
    compressed, plain = source.md5[file]
    # torchvision's root/MNIST/raw, or a folder per data set around it.
    folders = (source.folder, f"{name}/{source.folder}")
    places = tuple(
        place for folder in folders for place in ((f"{folder}/{file}.gz", compressed), (f"{folder}/{file}", plain))
    )
    return RemoteFile(f"{source.url}{file}.gz", places)
