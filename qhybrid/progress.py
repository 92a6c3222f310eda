"""Progress bars with the time left, on stderr; plain lines where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 15.0


_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def silent() -> Iterator[None]:
    """Show no progress of the parts of a larger whole that shows its own."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def duration(seconds: float) -> str:
    """A time as people say it: `45 s`, `3 min 20 s` or `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def notice(line: str) -> None:
    """Say on stderr what keeps a command waiting, so that its output stays what it is."""
    if not _silent.get():
        print(line, file=sys.stderr, flush=True)


class Advance(Protocol):
    """Report `steps` more done; `note` is shown beside the bar."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Report `steps` more done."""


@contextmanager
def progress(description: str, total: int, done: int = 0, *, quiet: bool = False) -> Iterator[Advance]:
    """Show a stage's progress and the time left.

    Args:
        description: What is being done, e.g. `training`.
        total: Number of steps of the whole stage.
        done: Steps finished earlier (a resumed run).
        quiet: Show nothing, e.g. in all but one of several processes.
    """
    if quiet or _silent.get():
        yield lambda steps=1, note="": None
    elif sys.stderr.isatty():
        with _bar(description, total, done) as advance:
            yield advance
    else:
        with _lines(description, total, done) as advance:
            yield advance


@contextmanager
def _bar(description: str, total: int, done: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            if note:
                bar.update(task, note=note)
            bar.advance(task, steps)

        yield advance


@contextmanager
def _lines(description: str, total: int, done: int) -> Iterator[Advance]:
    """A line at the start, at most one every 15 s, and one at the end: readable in a log file."""
    start = last = time.monotonic()
    first, count, latest = done, done, ""

    def say(text: str) -> None:
        print(f"{description}: {text}", file=sys.stderr, flush=True)

    def advance(steps: int = 1, note: str = "") -> None:
        nonlocal count, last, latest
        count, latest = count + steps, note or latest
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and first < count < total:
            last = now
            left = (now - start) / (count - first) * (total - count)
            say(f"{count}/{total}, {duration(left)} left {latest}".rstrip())

    yield advance
    say(f"{count}/{total} in {time.monotonic() - start:.1f} s {latest}".rstrip())
