"""The live table of a study: cells done, running and where, failed, time left; lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from qhybrid.progress import duration

_SECONDS_BETWEEN_LINES = 15.0


class Show(Protocol):
    """Show how far the study is."""

    def __call__(self, settled: tuple[int, int], running: Mapping[str, str]) -> None:
        """Show numbers of cells done and failed, and where each training runs."""


@contextmanager
def board(total: int, done: int) -> Iterator[Show]:
    """Show the table on stderr while a study runs: drawn anew on a terminal, else a line at most every 15 seconds.

    Args:
        total: Number of all cells of the study.
        done: Number of cells that were finished before.
    """
    start = time.monotonic()

    def line(settled: tuple[int, int], running: Mapping[str, str]) -> str:
        finished, failed = settled
        text = f"study: {finished} of {total} cells done, {len(running)} trainings running, {failed} failed"
        fresh, left = finished - done, total - finished - failed
        if fresh > 0 and left > 0:
            text += f", about {duration((time.monotonic() - start) / fresh * left)} left"
        return text

    if sys.stderr.isatty():
        with _table(line) as show:
            yield show
        return
    last, said = start, ""

    def write(settled: tuple[int, int], running: Mapping[str, str]) -> None:
        nonlocal last, said
        text = line(settled, running)
        now = time.monotonic()
        if text != said and (now - last >= _SECONDS_BETWEEN_LINES or not running):
            last, said = now, text
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    yield write


@contextmanager
def _table(line: Callable[[tuple[int, int], Mapping[str, str]], str]) -> Iterator[Show]:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    with Live(console=Console(stderr=True), auto_refresh=False) as live:

        def show(settled: tuple[int, int], running: Mapping[str, str]) -> None:
            table = Table("training", "runs on", title=line(settled, running), title_justify="left")
            for folder, place in running.items():
                table.add_row(folder, place)
            live.update(table, refresh=True)

        yield show
