"""A training's files as bytes, to and from the worker that has it: workers share no disk with the study's folder."""

from __future__ import annotations

from pathlib import Path

from qhybrid.files import atomic_path
from qhybrid.locks import HOLDER_FILE, LOCK_FILE

Packed = dict[str, bytes]
"""Content of each file by its path relative to the training's folder, with forward slashes."""


def pack(folder: Path) -> Packed:
    """All files of a folder but those by which a process holds it.

    Args:
        folder: Folder of a training; where it is missing there are none.
    """
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (LOCK_FILE, HOLDER_FILE)
    }


def unpack(files: Packed, folder: Path) -> None:
    """Replace a folder by packed files, whole or not at all.

    Args:
        files: What `pack` gave, perhaps on another machine; nothing is written for none.
        folder: Folder of the training.

    Raises:
        RunDirectoryError: The folder cannot be written, or a path leads out of it.
    """
    if not files:
        return
    with atomic_path(folder) as temporary:
        for name, content in files.items():
            target = temporary.joinpath(*name.split("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
