"""Generated inputs: how many, how they are altered, and what is allowed to come of them."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from qhybrid.errors import QHybridError

LONG = os.environ.get("QHYBRID_FUZZ") == "long"
SECONDS = 60
COUNTS: Counter[tuple[str, str]] = Counter()
"""Inputs of each kind that were accepted and refused."""

ODD = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**70, -(2**63), 0.5, -0.0, 1e-320, 1e300),
    *(float("inf"), float("-inf"), float("nan"), "", " ", "x", "1", "-1", "null", "\x00", "\ud7ff", "a\nb", "x" * 3000),
    *([], {}, [None], [[]], [1, 2], ["x"], {"x": 1}, {"name": "x"}, [[[[1]]]], [2**70], [float("nan")]),
)
"""Values that a reader does not expect somewhere."""

FOREIGN = (b"", b"{}", b"[]", b"null", b"<html>", b"PK\x03\x04", b"\x00" * 64)
"""Contents of files of another kind."""


def inputs(long: int, short: int) -> Any:
    """Settings of a test: so many inputs with QHYBRID_FUZZ=long, else so many, always the same ones."""
    return settings(
        max_examples=long if LONG else short,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def survives(kind: str, read: Callable[[], object]) -> bool:
    """Whether an input was accepted; refused is one line of this project's own; all else is a fault and passes on."""
    with _in_time(kind), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read()
        except QHybridError as error:
            line = str(error)
            assert line.strip(), f"{kind}: refused without a reason"
            assert len(line.splitlines()) == 1, f"{kind}: {line}"
            COUNTS[kind, "refused"] += 1
            return False
    COUNTS[kind, "accepted"] += 1
    return True


@contextlib.contextmanager
def _in_time(kind: str) -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"{kind}: not read within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def litter(folder: Path) -> list[str]:
    """Temporary names that a write has left behind."""
    return [path.name for path in folder.rglob(".*") if path.name not in (".lock", ".holder.json")]


@st.composite
def damaged(draw: st.DrawFn, content: bytes, most: int = 3) -> bytes:
    """A file's bytes cut short, flipped, moved, doubled or replaced."""
    data = bytearray(content)
    for _ in range(draw(st.sampled_from([1, 1, most]))):
        how = draw(st.sampled_from(["cut", "flip", "flip", "set", "drop", "put", "double", "replace"]))
        # The beginning, where headers are, is as likely as all the rest; so is the end.
        near = draw(st.integers(0, max(0, min(300, len(data)) - 1)))
        place = draw(st.sampled_from([near, max(0, len(data) - 1 - near), near * max(1, len(data) // 300)]))
        place = min(place, max(0, len(data) - 1))
        if how == "cut":
            del data[place:]
        elif how == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "set" and data:
            data[place] = draw(st.sampled_from([0, 1, 9, 10, 32, 48, 57, 127, 128, 255]))
        elif how == "drop":
            del data[place : place + draw(st.integers(1, 40))]
        elif how == "put":
            data[place:place] = draw(st.binary(min_size=1, max_size=12))
        elif how == "double":
            data[place:place] = data[place : place + 50]
        elif how == "replace" and draw(st.booleans()):
            data = bytearray(draw(st.sampled_from(FOREIGN)))
    return bytes(data)


@st.composite
def altered(draw: st.DrawFn, value: Any, most: int = 3) -> Any:
    """A tree of mappings and lists with leaves replaced, keys lost, added, or branches swapped."""
    tree = copy.deepcopy(value)
    for _ in range(draw(st.sampled_from([1, 1, most]))):
        places = list(_places(tree))
        if not places:
            return copy.deepcopy(draw(st.sampled_from(ODD)))
        holder, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["odd", "odd", "near", "drop", "add", "swap"]))
        if how == "odd":
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif how == "near":
            holder[key] = copy.deepcopy(draw(_near(holder[key])))
        elif how == "drop":
            del holder[key]
        elif how == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["x", "", "name", "__class__", "0"]))] = copy.deepcopy(
                draw(st.sampled_from(ODD))
            )
        elif how == "swap":
            other, name = draw(st.sampled_from(places))
            with contextlib.suppress(KeyError, IndexError):
                holder[key] = copy.deepcopy(other[name])
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])


def _near(value: Any) -> st.SearchStrategy[Any]:
    """Values of the same type."""
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, int):
        return st.sampled_from([value + 1, value - 1, -value, 0, value * 1000, 10**9]) | st.integers(-5, 40)
    if isinstance(value, float):
        return st.sampled_from([0.0, -value, value * 1e6, value / 1e6, 1.0]) | st.floats()
    if isinstance(value, str):
        return st.text(max_size=8) | st.sampled_from([value.upper(), value + "x", value[1:], f" {value}"])
    return st.sampled_from(ODD)


@st.composite
def json_file(draw: st.DrawFn, content: bytes, tree: Any) -> bytes:
    """A JSON file with other values, or in one of four cases with other bytes."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(content))
    return as_json(draw(altered(tree))).encode()


def as_json(tree: Any) -> str:
    """JSON as Python writes it: NaN and Infinity are numbers."""
    return json.dumps(tree)
