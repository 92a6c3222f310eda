"""One process at a time in a directory: a lock that names its holder and is gone with it, even after `kill -9`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from qhybrid.errors import RunDirectoryError

LOCK_FILE, HOLDER_FILE = ".lock", ".holder.json"


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep every other process, and every other thread, from working in a directory; it is made if it is missing.

    The operating system holds the lock, on `.lock` by `flock` or Windows' `LockFile`, and frees it however its holder
    ends. Who holds it stands in `.holder.json` meanwhile. A thread may enter again what it holds.

    Raises:
        RunDirectoryError: Another process works there (it is named), or the directory is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.resolve() / LOCK_FILE, is_singleton=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunDirectoryError(
            f"`{folder}` is in use by {_holder(folder)}: wait for its end, or stop it; what it has written is kept"
        ) from None
    except OSError as error:
        raise RunDirectoryError(f"cannot write `{folder}`: {error.strerror}; choose another folder") from None
    try:
        if lock.lock_counter == 1:
            _say_who(folder)
        yield
    finally:
        if lock.lock_counter == 1:
            (folder / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()


def _say_who(folder: Path) -> None:
    who = {
        "pid": os.getpid(),
        "host": platform.node(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    # The lock alone counts: where a full disk leaves no room for the name, the work goes on without it.
    with contextlib.suppress(OSError):
        (folder / HOLDER_FILE).write_text(json.dumps(who) + "\n", encoding="utf-8")


def _holder(folder: Path) -> str:
    """The process that holds a lock, for people; it may not have written its name yet."""
    try:
        who = json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']} (`{who['command']}`) since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
