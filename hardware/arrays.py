"""npz files of the run directory, read without trust: no pickle, one clear error."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hardware.errors import HardwareError
from qhybrid.files import DamagedFileError, read_npz


def read_arrays(path: Path, names: Iterable[str], optional: Iterable[str] = ()) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file.

    Args:
        path: The npz file to be read.
        names: Arrays that it must hold.
        optional: Arrays that it may hold.

    Raises:
        HardwareError: Missing, damaged, or another kind of file.
    """
    try:
        return read_npz(path, list(names), list(optional))
    except (DamagedFileError, FileNotFoundError) as error:
        reason = error if isinstance(error, DamagedFileError) else "no such file"
        raise HardwareError(f"`{path}` cannot be read ({reason}): remove it") from None
