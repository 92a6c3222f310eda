"""Banks: files of ready quantum noise, `NAME.npz` with the numbers and `NAME.json` with all that is known of them.

The npz holds one uncompressed array, so that it can be memory-mapped in place: `integers` uint16 `(N,)` of k bits
(`quantum_bits`, or `gaussian` for a pseudo-random control of the same law) or `values` float32 `(evaluations, pixels of
a patch)` (`quantum_intrinsic`). The JSON holds provenance, law, checksum, certificate, and who has drawn how much.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import mmap
import struct
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from qhybrid.diffusion.bits import BitLaw
from qhybrid.diffusion.errors import NoiseError
from qhybrid.errors import RunDirectoryError
from qhybrid.files import UNPACKING_ERRORS, DamagedFileError, atomic_path, read_json, write_json
from qhybrid.stored import from_json

_FORMAT = 1
_MEMBERS = {"quantum_bits": "integers", "gaussian": "integers", "quantum_intrinsic": "values"}
_DTYPES: dict[str, np.dtype[Any]] = {"integers": np.dtype(np.uint16), "values": np.dtype(np.float32)}
# Pages that were read stay counted as this process's memory until they are given back.
_RESIDENT_LIMIT = 64 << 20


@dataclass(frozen=True)
class BankRecord:
    """What stands in the JSON file.

    Attributes:
        name: Name by which a configuration may accept the bank although its certificate fails.
        source: Noise source: `quantum_bits`, `quantum_intrinsic`, or `gaussian` for pseudo-random integers.
        shape: Shape of the stored array.
        law: `resolution` of integers; or `shots`, `patch`, `mean`, `deviation` and `covariance` of the pixels.
        provenance: Backend, job ids, date, circuit, shots, calibration.
        checksum: SHA-256 of the stored numbers.
        certificate: Certificate that `certify` gave, JSON-able; `None` if there is none.
        drawn: Numbers reserved by each consumer.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    law: dict[str, Any]
    provenance: dict[str, Any]
    checksum: str
    certificate: dict[str, Any] | None = None
    drawn: dict[str, int] = field(default_factory=dict)

    @property
    def numbers(self) -> int:
        """Noise values in the bank."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def unit(self) -> int:
        """Numbers that belong together: the pixels of a patch, or 1."""
        return self.shape[1] if len(self.shape) == 2 else 1

    @property
    def uses(self) -> float:
        """How often the bank has been used up so far."""
        return sum(self.drawn.values()) / self.numbers


class Bank:
    """An open bank. Reading maps the file, once per process, and keeps less than 100 MB of it in memory.

    Raises:
        NoiseError: A file is missing, truncated, or not what the record says.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record = read_record(self.path)
        self._member = _MEMBERS[self.record.source]
        self._dtype = _DTYPES[self._member]
        self._law = BitLaw(int(self.record.law["resolution"])) if self._member == "integers" else None
        state = self.path.stat()
        self._map, self._offset = _mapped(
            self.path.absolute(),
            (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns),
            self._member,
            self.record.shape,
        )
        self._touched = 0

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of the pixels that belong together."""
        height, width = self.record.law.get("patch", (1, 1))
        return int(height), int(width)

    def stored(self, start: int, count: int) -> NDArray[Any]:
        """Stored numbers, flat: a copy of `count` of them from `start` on."""
        return self._view(start, count).copy()

    def normals(self, start: int, count: int) -> NDArray[np.float32]:
        """Standardized numbers, flat.

        Args:
            start: Place of the first one in the bank.
            count: Number of noise values to read.

        Raises:
            NoiseError: The bank holds integers beyond the resolution that its record gives.
        """
        if self._law is None:
            return self.stored(start, count)
        try:
            return self._law.normals(self._view(start, count))
        except IndexError:
            raise NoiseError(
                f"bank `{self.path}` holds integers of more than {self._law.resolution} bits, which its record gives: "
                "make or fetch it again"
            ) from None

    def _view(self, start: int, count: int) -> NDArray[Any]:
        size = self._dtype.itemsize
        self._touched += count * size
        if self._touched > _RESIDENT_LIMIT and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = count * size
        return np.frombuffer(self._map, self._dtype, count, self._offset + start * size)


def write_bank(path: Path, record: BankRecord, chunks: Iterable[NDArray[Any]]) -> BankRecord:
    """Write a bank piece by piece.

    Args:
        path: The npz file; the JSON goes beside it.
        record: What is known; the checksum is filled in.
        chunks: The numbers in order, in pieces along the first axis.

    Raises:
        NoiseError: The pieces do not add up to `record.shape`.
    """
    member = _MEMBERS[record.source]
    dtype = _DTYPES[member]
    digest, written = hashlib.sha256(), 0
    with atomic_path(path) as temporary:
        with (
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
            archive.open(f"{member}.npy", "w", force_zip64=True) as file,
        ):
            header = {"descr": dtype.str, "fortran_order": False, "shape": record.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in chunks:
                content = np.ascontiguousarray(chunk, dtype=dtype).tobytes()
                digest.update(content)
                file.write(content)
                written += len(content)
        if written != record.numbers * dtype.itemsize:
            raise NoiseError(f"{written // dtype.itemsize} numbers given for a bank of shape {record.shape}")
    finished = replace(record, checksum=digest.hexdigest())
    write_record(path, finished)
    return finished


def read_record(path: Path) -> BankRecord:
    """The JSON beside a bank.

    Raises:
        NoiseError: It is missing or not the record of a bank.
    """
    if not path.is_file():
        raise NoiseError(f"there is no noise bank `{path}`: `qhybrid noise make` writes one")
    try:
        values = read_json(_record_file(path))
        if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
            raise DamagedFileError("another format")
        record = from_json(BankRecord, values)
        _check_record(record)
    except (RunDirectoryError, DamagedFileError) as error:
        raise NoiseError(f"`{_record_file(path)}` is not the record of a noise bank: {error}") from None
    return record


def _check_record(record: BankRecord) -> None:
    """Refuse a record whose law does not go with its numbers."""
    law, axes = record.law, {"integers": 1, "values": 2}.get(_MEMBERS.get(record.source, ""))
    if len(record.shape) != axes or min(record.shape) < 1 or record.numbers > 2**48:
        raise DamagedFileError(f"source `{record.source[:40]}` with numbers of shape {str(record.shape)[:80]}")
    if min(record.drawn.values(), default=0) < 0:
        raise DamagedFileError("a consumer has drawn less than nothing")
    if axes == 1:
        sound = type(law.get("resolution")) is int and 1 <= law["resolution"] <= 16
    else:
        pixels, patch = record.shape[1], law.get("patch")
        sound = isinstance(patch, list) and len(patch) == 2 and all(type(side) is int and side > 0 for side in patch)
        sound = sound and math.prod(law["patch"]) == pixels and type(law.get("shots")) is int and law["shots"] > 0
        shapes = {"mean": (pixels,), "deviation": (pixels,), "covariance": (pixels, pixels)}
        sound = sound and all(_is_array(law[name], shape) for name, shape in shapes.items() if name in law)
        sound = sound and "mean" in law
    if not sound:
        raise DamagedFileError("its law is damaged")


def _is_array(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether nested lists are finite numbers of this shape."""
    try:
        array = np.asarray(values)
    except ValueError:
        return False
    return array.shape == shape and array.dtype.kind in "iuf" and bool(np.isfinite(array).all())


def write_record(path: Path, record: BankRecord) -> None:
    """Write the JSON beside a bank."""
    write_json(_record_file(path), {"format": _FORMAT, **asdict(record)})


@contextlib.contextmanager
def locked_record(path: Path) -> Iterator[BankRecord]:
    """The record, with other processes kept from changing it meanwhile.

    Raises:
        NoiseError: The bank's folder cannot be written, or its record cannot be read.
    """
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire()
    except OSError as error:
        raise NoiseError(
            f"the use of bank `{path}` cannot be recorded ({error.strerror}): copy it to a folder that can be written"
        ) from None
    try:
        yield read_record(path)
    finally:
        lock.release()


def check_numbers(path: Path) -> None:
    """Compare the stored numbers with the sum in the record; once per process for an unchanged file.

    Raises:
        NoiseError: They differ; gives both sums.
    """
    state = path.stat()
    found, recorded = _sum_of_numbers(path.absolute(), state.st_mtime_ns, state.st_size), read_record(path).checksum
    if found != recorded:
        raise NoiseError(
            f"bank `{path}` is damaged: its numbers have SHA-256 {found}, its record says {recorded}: make or fetch it "
            "again"
        )


@functools.lru_cache(maxsize=16)
def _sum_of_numbers(path: Path, changed: int, size: int) -> str:
    return checksum(Bank(path))


def checksum(bank: Bank) -> str:
    """SHA-256 of the stored numbers."""
    digest = hashlib.sha256()
    step = 1 << 22
    for start in range(0, bank.record.numbers, step):
        digest.update(bank.stored(start, min(step, bank.record.numbers - start)).tobytes())
    return digest.hexdigest()


def _record_file(path: Path) -> Path:
    return path.with_suffix(".json")


@functools.lru_cache(maxsize=8)
def _mapped(path: Path, _state: tuple[int, ...], member: str, shape: tuple[int, ...]) -> tuple[mmap.mmap, int]:
    """The file in memory and the position of the array's first byte, mapped once while its state stays the same.

    A map can be read by several threads and survives a fork, which a file that is read from place to place does not.
    NumPy maps only files of its own format, not members of an npz, and zipfile reads a member from its beginning: the
    position is all that is found out here.
    """
    dtype = _DTYPES[member]
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            entry = archive.getinfo(f"{member}.npy")
            if entry.compress_type != zipfile.ZIP_STORED:
                raise NoiseError(
                    f"bank `{path}` is compressed and cannot be mapped: write it with `qhybrid noise make`"
                )
            # The local header repeats the name and may carry another extra field than the directory.
            file.seek(entry.header_offset + 26)
            name_length, extra_length = struct.unpack("<HH", file.read(4))
            file.seek(entry.header_offset + 30 + name_length + extra_length)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            found_shape, fortran, found_dtype = read(file)
            offset = file.tell()
            numbers = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except NoiseError:
        raise
    except (*UNPACKING_ERRORS, struct.error):
        raise NoiseError(f"bank `{path}` is truncated or no npz file with `{member}`: make or fetch it again") from None
    if (found_shape, found_dtype, fortran) != (shape, dtype, False):
        raise NoiseError(
            f"bank `{path}` holds {found_dtype} of shape {found_shape}, its record says {dtype} of shape {shape}: "
            "the two files do not belong together"
        )
    if offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize > len(numbers):
        raise NoiseError(f"bank `{path}` is truncated: make or fetch it again")
    return numbers, offset
