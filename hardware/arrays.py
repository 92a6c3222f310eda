"""npz files of the run directory, read without trust: no pickle, one clear error."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError


def read_arrays(path: Path, names: Iterable[str], optional: Iterable[str] = ()) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file.

    Args:
        path: The file.
        names: Arrays that it must hold.
        optional: Arrays that it may hold.

    Raises:
        HardwareError: Missing, damaged, or another kind of file.
    """
    try:
        # The file is opened here, since np.load leaves one open that turns out to be damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            wanted = [*names, *(name for name in optional if name in file.files)]
            return {name: file[name] for name in wanted}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise HardwareError(f"`{path}` cannot be read ({' '.join(str(error).split())}): remove it") from None
