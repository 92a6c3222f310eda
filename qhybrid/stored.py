"""Dataclasses that are kept as JSON, read back without trust."""

from __future__ import annotations

import functools
import json
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from qhybrid.files import DamagedFileError

T = TypeVar("T")


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
    try:
        read: T = _adapter(kind).validate_json(  # type: ignore[arg-type]
            json.dumps(values, allow_nan=False), strict=True
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DamagedFileError(f"`{key}`: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    except ValueError as error:
        raise DamagedFileError(str(error)) from None
    return read


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
