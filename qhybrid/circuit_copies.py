"""Copies of a user's own circuit in the run directory, so that a run needs nothing from outside it.

The configuration of the run keeps the paths as they were written; whoever builds the circuit of a run that was begun
reads the copies.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from qhybrid.config import Choice, CircuitFileConfig, RunConfig
from qhybrid.errors import CircuitError, RunDirectoryError
from qhybrid.files import atomic_path

COPIES = "circuit"


def keep_copies(folder: Path, config: RunConfig) -> None:
    """Copy the circuit and the observables that a configuration names by file into `circuit/`, unless they are there.

    Args:
        folder: The run directory.
        config: Configuration of the run.

    Raises:
        CircuitError: A file cannot be read.
        RunDirectoryError: The folder is not writable.
    """
    for original in _files(config).values():
        copy = folder / COPIES / original.name
        if copy.exists():
            continue
        try:
            with atomic_path(copy) as temporary:
                shutil.copyfile(original, temporary)
        except OSError as error:
            raise CircuitError(f"circuit file `{original}` cannot be read: {error.strerror}") from None


def check_copies(folder: Path, config: RunConfig) -> None:
    """Refuse to go on with a circuit that is no longer what the run was begun with; originals may be gone.

    Args:
        folder: The run directory.
        config: The run, with the paths as they were written.

    Raises:
        RunDirectoryError: A file is still there and differs from its copy.
    """
    for original in _files(config).values():
        copy = folder / COPIES / original.name
        if copy.exists() and original.is_file() and original.read_bytes() != copy.read_bytes():
            raise RunDirectoryError(
                f"`{original}` has changed since the run `{folder}` was begun, which keeps a copy, `{copy}`: restore "
                "it, or choose another --out"
            )


def with_copies(folder: Path, config: RunConfig) -> RunConfig:
    """The configuration with the copies in the place of the files that they were made of, where there are copies.

    Args:
        folder: The run directory.
        config: The run, with the paths as they were written.
    """
    places = {key: folder / COPIES / original.name for key, original in _files(config).items()}
    changed = {key: str(place) for key, place in places.items() if place.exists()}
    if not changed:
        return config
    ansatz = config.quantum.ansatz
    own = Choice(ansatz.name, ansatz.options.model_copy(update=changed))
    return config.model_copy(update={"quantum": config.quantum.model_copy(update={"ansatz": own})})


def _files(config: RunConfig) -> dict[str, Path]:
    """The files of the circuit, by their key in the options of the ansatz."""
    options = config.quantum.ansatz.options
    if not isinstance(options, CircuitFileConfig):
        return {}
    paths = {"file": options.file} | ({"observables": options.observables} if _is_path(options) else {})
    return {key: Path(str(path)).expanduser() for key, path in paths.items()}


def _is_path(options: CircuitFileConfig) -> bool:
    return isinstance(options.observables, str)
