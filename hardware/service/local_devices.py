"""What the local copies of IBM devices are, for `qhybrid hardware backends`.

Reading all of them takes several seconds and gives the same rows until Runtime's client, which holds them, changes: so
they are kept in the user's cache. A cache that cannot be read or written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import warnings
from dataclasses import asdict
from pathlib import Path

from hardware.service.backends import BackendRow, describe_backend, local_names, open_backend
from qhybrid.errors import RunDirectoryError
from qhybrid.files import DamagedFileError, cache_folder, read_json, write_json
from qhybrid.stored import from_json

_DECIDING = ("qhybrid", "qiskit", "qiskit-aer", "qiskit-ibm-runtime")


def local_rows() -> list[BackendRow]:
    """A row for each backend that needs no account: the ideal simulator and the local copies."""
    names = local_names()
    path = _cache_file(names)
    kept = _kept(path, names)
    if kept is not None:
        return kept
    with warnings.catch_warnings():
        # One snapshot warns that its errors are not typical; they are shown as they are.
        warnings.simplefilter("ignore", UserWarning)
        rows = [describe_backend(name, open_backend(name)) for name in names]
    with contextlib.suppress(RunDirectoryError, OSError):
        write_json(path, [asdict(row) for row in rows])
    return rows


def _cache_file(names: list[str]) -> Path:
    content = json.dumps([names, *(importlib.metadata.version(package) for package in _DECIDING)])
    return cache_folder("devices") / f"{hashlib.sha256(content.encode()).hexdigest()[:24]}.json"


def _kept(path: Path, names: list[str]) -> list[BackendRow] | None:
    """The rows in the cache, or `None` if they are not there or not whole."""
    try:
        rows = [from_json(BackendRow, values) for values in read_json(path)]
    except (DamagedFileError, RunDirectoryError, OSError, TypeError):
        return None
    return rows if [row.name for row in rows] == names else None
