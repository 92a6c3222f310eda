"""JSON files, read back without trust: each field that a reader needs is checked against its type."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from qhybrid.errors import RunDirectoryError
from qhybrid.files import DamagedFileError, read_json, read_jsonl

T = TypeVar("T")

Pair = tuple[FiniteFloat, FiniteFloat]
"""Lower and upper end of an interval, two finite numbers."""


@dataclass(frozen=True)
class Measure:
    """A number with its interval, as evaluations and comparisons store it.

    Attributes:
        value: The number itself, finite.
        interval: Lower and upper end of its interval.
    """

    value: FiniteFloat
    interval: Pair


def from_json(kind: type[T], values: Any) -> T:
    """A dataclass from what a JSON file holds, each field checked against its type.

    Args:
        kind: Dataclass that is to be built.
        values: A mapping of its fields; lists stand for tuples.

    Raises:
        DamagedFileError: A field is missing, unknown, of another type, or not finite; the message is the reason alone.
    """
    if not isinstance(values, dict):
        raise DamagedFileError(f"expected a mapping, found {type(values).__name__}")
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in values.keys() - known)
    if unknown:
        raise DamagedFileError(f"unknown key `{unknown[0][:40]}`")
    read: T = _validated(kind, values, allow_nan=False)
    return read


def check_shape(shape: type, values: Any) -> dict[str, Any]:
    """A mapping as it is, if it holds the fields of a dataclass; it may hold others as well.

    Args:
        shape: The dataclass; a field with a default may be missing. `FiniteFloat` is a number that is not inf or nan.
        values: Content of a JSON file.

    Raises:
        DamagedFileError: A field is missing or of another type; the message is the reason alone.
    """
    if not isinstance(values, dict):
        raise DamagedFileError(f"expected a mapping, found {type(values).__name__}")
    _validated(shape, values, allow_nan=True)
    return values


def read_stored(path: Path, shape: type, remedy: str) -> dict[str, Any]:
    """What a JSON file holds, see `check_shape`.

    Args:
        path: JSON file to be read.
        shape: Fields that its reader needs, as a dataclass.
        remedy: What to do where it is damaged; the end of the message.

    Raises:
        RunDirectoryError: It is missing, no JSON, or of another content.
    """
    try:
        return check_shape(shape, read_json(path))
    except RunDirectoryError as error:
        raise RunDirectoryError(f"{error}: {remedy}") from None
    except DamagedFileError as error:
        raise RunDirectoryError(f"`{path}` is damaged ({error}): {remedy}") from None


def read_stored_lines(path: Path, shape: type) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file, each as by `check_shape`; a missing file has none, see `read_jsonl`.

    Args:
        path: File of JSON lines to be read.
        shape: Fields that a reader of a row needs, as a dataclass.

    Raises:
        RunDirectoryError: A row is no JSON or of another content, or the file cannot be read.
    """
    rows = read_jsonl(path)
    for number, row in enumerate(rows, start=1):
        try:
            check_shape(shape, row)
        except DamagedFileError as error:
            raise RunDirectoryError(f"`{path}` is damaged in row {number} ({error}): remove this line") from None
    return rows


def _validated(kind: Any, values: dict[str, Any], *, allow_nan: bool) -> Any:
    """A dataclass from values, without conversions but those of JSON.

    Raises:
        DamagedFileError: They do not fit, or JSON cannot hold them.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(values, allow_nan=allow_nan), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DamagedFileError(f"`{key}`: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(str(error)) from None


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
