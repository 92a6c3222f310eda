"""Compile kernels with numba, and keep what was compiled in a cache on disk that is never wrong and never silent.

This is the one module that reaches into numba's caching, whose interfaces are not public; a test fails when a new
version of numba changes them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

from qhybrid.errors import CircuitError

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(*, lean: bool = False, from_python: bool = False) -> Callable[[Function], Function]:
    """Compile with numba: cached on disk, without the interpreter lock, C semantics of division.

    The cache lies beside the source, or in the user's cache folder where that is not writable; where neither is, each
    process compiles anew and says so once. It is valid while no module of the engine changes.

    Args:
        lean: Whether it does without reference counts: the code is smaller, compiles faster and, for small states,
            runs faster. The kernel must neither allocate arrays, nor return, nor assign slices of them.
        from_python: Whether Python calls the kernel, not only other kernels. What turns Python's objects into the
            kernel's arguments is a third of the time that it takes to compile.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    if lean:
        options["_nrt"] = False
    if not from_python:
        options["no_cpython_wrapper"] = True
    return lambda function: _compiled(function, options)


@functools.cache
def source_stamp(folder: Path = Path(__file__).parent.parent) -> str:
    """Hash every module of the engine, since a kernel may be built from any of them.

    Args:
        folder: The engine's folder; its sub-folders count as well.

    Returns:
        A hexadecimal SHA-256 over names and contents.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _compiled(function: Function, options: dict[str, Any]) -> Function:
    if numba.config.DISABLE_JIT:
        return cast(Function, functools.wraps(function)(_refuse))
    dispatcher = numba.njit(**options)(function)
    try:
        dispatcher._cache = _KernelCache(function)
    except (RuntimeError, OSError) as error:  # no folder can be written
        dispatcher._cache = _NoCache(str(error))
    return cast(Function, dispatcher)


def _refuse(*arguments: Any) -> Any:
    raise CircuitError(
        "NUMBA_DISABLE_JIT is set, but the kernels of the quantum layer exist only compiled: unset it, or set it to 0"
    )


class _DamagedError(Exception):
    """A file of the cache is not what was written."""


class _KernelFiles(IndexDataCacheFile):  # type: ignore[misc]  # numba is untyped
    """Numba's cache files of one kernel, each with a checksum: machine code with a wrong byte would end the process."""

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            # Numba unpickles the file, and what follows the end of a pickle is not read.
            file.write(content.getvalue() + hashlib.sha256(content.getvalue()).digest())

    def _load_index(self) -> Any:
        _check(Path(self._index_path))
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        _check(Path(self._data_path(name)))
        return super()._load_data(name)


def _check(path: Path) -> None:
    """Compare a file of the cache, if there is one, with its checksum."""
    with contextlib.suppress(FileNotFoundError):
        content = path.read_bytes()
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            raise _DamagedError(f"`{path}` is not what was written")


class _KernelCache(FunctionCache):  # type: ignore[misc]  # numba is untyped
    """Numba's cache of one kernel; what cannot be read or written is compiled anew, and said once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        # Numba looks at the file of the outermost kernel only, which does not change with those that it calls. Files
        # without a checksum, from numba itself or from older versions, have other names.
        self._cache_file = _KernelFiles(self._cache_path, f"{self._impl.filename_base}.checked", source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel for a signature, or `None` if it has to be compiled."""
        try:
            return super().load_overload(sig, target_context)
        except _DamagedError as error:
            _warn_once(
                f"a compiled kernel of the quantum layer is damaged and compiled anew ({error}): if this comes again, "
                "set NUMBA_CACHE_DIR to a folder on another disk"
            )
            with contextlib.suppress(OSError):
                self.flush()
        except OSError as error:
            _warn_once(_lost(str(error)))
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn_once(_lost(str(error)))


class _NoCache(NullCache):  # type: ignore[misc]  # numba is untyped
    """Where no folder can be written: says so when the first kernel is compiled."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def load_overload(self, sig: Any, target_context: Any) -> None:
        """Nothing is kept, so nothing is found."""
        _warn_once(_lost(self._reason))


def _lost(reason: str) -> str:
    return (
        "compiled kernels of the quantum layer cannot be kept, so every process compiles them anew, which takes some "
        f"seconds ({reason}): set NUMBA_CACHE_DIR to a folder that can be written"
    )


_warned: set[str] = set()


def _warn_once(message: str) -> None:
    """Warn once of each remedy, not once for every one of dozens of kernels."""
    remedy = message.rsplit(": ", 1)[1]
    if remedy not in _warned:
        _warned.add(remedy)
        warnings.warn(message, RuntimeWarning, stacklevel=2)
