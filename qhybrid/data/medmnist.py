"""MedMNIST: every two-dimensional set, at 28, 64, 128 and 224 pixels (Yang et al., Scientific Data 10:41, 2023)."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path
from typing import Any

from qhybrid.config import DataConfig
from qhybrid.data.download import RemoteFile, data_root, obtain
from qhybrid.data.images import ImageData
from qhybrid.data.npz import build_from_npz
from qhybrid.errors import DataError


@functools.cache
def medmnist_info() -> dict[str, dict[str, Any]]:
    """The table `medmnist.INFO`: for each set URL, MD5, channels and classes.

    It is read from the installed package's source, where it is a literal, without importing the package: that would
    load pandas, scikit-image and torch, and make a folder `~/.medmnist`.

    Raises:
        DataError: The package is not installed, or has no such table.
    """
    package = importlib.util.find_spec("medmnist")
    for folder in (package.submodule_search_locations or []) if package else []:
        source = Path(folder, "info.py").read_text(encoding="utf-8")
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "INFO":
                table: dict[str, dict[str, Any]] = ast.literal_eval(statement.value)
                return table
    raise DataError("the package `medmnist` or its table INFO is missing: `pip install 'medmnist>=3.0.2'`")


def medmnist_names() -> list[str]:
    """The two-dimensional sets, in MedMNIST's order."""
    return [name for name in medmnist_info() if not is_volumetric(name)]


def is_volumetric(name: str) -> bool:
    """Whether this is one of MedMNIST's three-dimensional sets."""
    return name.endswith("3d") and name in medmnist_info()


def load_medmnist(config: DataConfig) -> ImageData:
    """A two-dimensional MedMNIST set in its official splits.

    Raises:
        DataError: The file is missing, altered or cannot be downloaded.
    """
    info = medmnist_info()[config.name]
    file = remote_file(config.name, config.size or 28)
    path = obtain(file, data_root(config.root), download=config.download)
    names = tuple(info["label"][str(number)] for number in range(len(info["label"])))
    return build_from_npz(path, config.name, class_names=names, origin=file.url)


def remote_file(name: str, size: int) -> RemoteFile:
    """URL, MD5 and places of a set at one size; the files are `<name>.npz` for 28 pixels, `<name>_<size>.npz` else."""
    suffix = "" if size == 28 else f"_{size}"
    info = medmnist_info()[name]
    file, md5 = f"{name}{suffix}.npz", info[f"MD5{suffix}"]
    return RemoteFile(info[f"url{suffix}"], ((f"medmnist/{file}", md5), (file, md5)))
