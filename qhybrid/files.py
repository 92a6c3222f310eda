"""Files that are whole or absent: written to a temporary name beside their place, then renamed; read without trust."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import lzma
import os
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qhybrid.errors import QHybridError, RunDirectoryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What a disk answers that is full, over a quota, over a size limit, read-only or broken.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
# What a damaged or foreign archive makes numpy, zipfile, zlib or lzma raise.
UNPACKING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    OverflowError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,
)


CACHE_VARIABLE = "QHYBRID_CACHE"


def user_folder(chosen: str | None) -> Path:
    """A folder that the user named (`~` is their home), else the user's cache folder of this package."""
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("qhybrid"))


def cache_folder(part: str) -> Path:
    """Where what can be made again is kept: `part` of the environment's `QHYBRID_CACHE`, else of the user's."""
    return user_folder(os.environ.get(CACHE_VARIABLE)) / part


@dataclass(frozen=True)
class InputFile:
    """A file or folder that a run is made from.

    Attributes:
        path: Absolute path; `None` for what an installed package or a published data set holds.
        sha256: SHA-256 of the file; of a folder, see `sha256_of`; else of the arrays.
        note: What was done with it, e.g. how images were resized; empty for nothing.
    """

    path: str | None
    sha256: str
    note: str = ""


class DamagedFileError(QHybridError, ValueError):
    """A file that is not what it should be; the message is the reason alone, for the reader to say what and which."""


class MissingArrayError(DamagedFileError):
    """An npz file without an array that it should hold.

    Attributes:
        missing: Names of the arrays that are not there.
        found: Names of those that are.
    """

    def __init__(self, missing: Sequence[str], found: Sequence[str]) -> None:
        lacking = ", ".join(f"`{name}`" for name in missing)
        super().__init__(f"it lacks {lacking}; it holds {', '.join(found) or 'nothing'}")
        self.missing, self.found = missing, found


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success rename it to `target`, else remove it.

    The body may create a file or a directory there. An existing target is replaced. Permissions follow the umask,
    also those of files that a library made private.

    A device or a pipe, such as `/dev/stdout`, is written to and stays what it is.

    Raises:
        RunDirectoryError: The folder is not writable, or the disk is full.
    """
    if target.exists() and not (target.is_file() or target.is_dir()):
        with tempfile.TemporaryDirectory() as folder, disk_errors(target):
            yield Path(folder) / target.name
            with (Path(folder) / target.name).open("rb") as source, target.open("wb") as stream:
                shutil.copyfileobj(source, stream)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise RunDirectoryError(f"cannot write `{target}`: {error.strerror}; choose another folder") from None
    # The suffix is kept because savers such as numpy and matplotlib choose the format by it.
    temporary = holder / target.name
    try:
        with disk_errors(target):
            yield temporary
            _follow_umask(holder)
            if target.is_dir() and temporary.is_dir():
                shutil.rmtree(target)
            os.replace(temporary, target)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Find out whether a folder can be written to, or made; nothing is written.

    Args:
        folder: Folder to be written to; it may be missing, and folders above it as well.

    Raises:
        RunDirectoryError: It cannot; says why.
    """
    place = Path(os.path.abspath(folder))
    while not os.path.lexists(place):
        place = place.parent
    problem = None
    if not place.is_dir():
        problem = f"`{place}` is no folder"
    elif not os.access(place, os.W_OK | os.X_OK):
        problem = f"`{place}` is not writable"
    if problem is not None:
        raise RunDirectoryError(f"cannot write `{folder}`: {problem}; choose another folder")


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn what a full or broken disk raises in the body into one line; other errors pass.

    Raises:
        RunDirectoryError: The disk is full, over its quota, read-only or broken.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise RunDirectoryError(
            f"cannot write `{target}`: {os.strerror(error.errno or 0)}; what was written before is kept: make room and "
            "run the same command again, with --resume where it has one"
        ) from None


def _follow_umask(holder: Path) -> None:
    """Give files the permissions that `open` gives, whatever made them."""
    probe = holder / ".mode"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in holder.rglob("*"):
        if path.is_file() and path.stat().st_mode != mode:
            path.chmod(mode & 0o777)


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write a JSON file atomically; non-finite numbers are refused, since JSON has none."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_line(path: Path, text: str, *, durable: bool = False) -> None:
    """Add a line to a file; half a line that a crash left at the end is dropped first.

    Args:
        path: The file; made if it is missing.
        text: The line, without its end.
        durable: Force it to the disk, so that it outlives a crash of the machine.

    Raises:
        RunDirectoryError: The disk is full; the lines before are kept.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            whole = file.seek(0, os.SEEK_END)
            if whole:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.seek(0)
                    whole = file.truncate(file.read().rfind(b"\n") + 1)
            try:
                file.write(text.encode() + b"\n")
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(path, whole)
                raise


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RunDirectoryError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunDirectoryError(f"`{path}` does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"`{path}` cannot be read as JSON: {' '.join(str(error).split())}") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; a last row cut short by a crash is dropped. A missing file has no rows.

    Raises:
        RunDirectoryError: Another row than the last is damaged, or the file cannot be read.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RunDirectoryError(f"`{path}` cannot be read: {error.strerror}") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number < len(lines):
            raise RunDirectoryError(f"`{path}` is damaged in line {number}: restore the file, or remove this line")
    return rows


def read_npz(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file; nothing is unpickled.

    Args:
        path: The npz file to be read.
        names: Arrays that it must hold.
        optional: Arrays that it may hold.

    Raises:
        FileNotFoundError: There is no such file.
        MissingArrayError: It lacks an array.
        DamagedFileError: It cannot be read or is another kind of file; says why.
    """
    import numpy as np

    try:
        # Opened here, since np.load leaves a file open that turns out to be damaged.
        with path.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise DamagedFileError(_what_it_is(stream))
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                missing = [name for name in names if name not in archive.files]
                if missing:
                    raise MissingArrayError(missing, archive.files)
                arrays = {name: archive[name] for name in [*names, *optional] if name in archive.files}
    except (FileNotFoundError, DamagedFileError):
        raise
    except UNPACKING_ERRORS as error:
        raise DamagedFileError(" ".join(str(error).split()) or type(error).__name__) from None
    for name, array in arrays.items():
        # A member that is no array file comes back as its bytes.
        if not isinstance(array, np.ndarray):
            raise DamagedFileError(f"`{name}` is no array")
    return arrays


def _what_it_is(stream: Any) -> str:
    """What a file is that should be an npz file, by how it begins."""
    stream.seek(0)
    start = stream.read(200)
    if not start:
        return "it is empty"
    if start.startswith(b"\x93NUMPY"):
        return "it is a single array, not an npz file: write it with `numpy.savez_compressed`"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "it is a web page, not an npz file: a download that was refused, perhaps"
    if start.startswith(b"PK"):
        return "it is a truncated zip archive"
    return f"it is no zip archive: it starts with {start[:16]!r}"


def is_hidden(name: str) -> bool:
    """Whether a file or folder is left out of data sets: its name starts with a dot, or an operating system made it."""
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini", "__MACOSX")


def sha256_of(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file; of a folder, over the relative names and sums of its files.

    Hidden files do not count, see `is_hidden`.

    Raises:
        RunDirectoryError: Something there cannot be read.
    """
    try:
        if not path.is_dir():
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256()
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            name = file.relative_to(path)
            if not any(is_hidden(part) for part in name.parts):
                digest.update(f"{name.as_posix()}\0{sha256_of(file)}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()
    except OSError as error:
        raise RunDirectoryError(f"`{path}` cannot be read: {error.strerror}") from None
