"""Ctrl-C, SIGTERM and SIGHUP at a moment when nothing is half done.

As an exception, but not between a request and the line that records it: what a request has brought about at the service
(a job, an open session) must be written down before the process ends. So a signal that comes within `undisturbed` takes
effect at its end; a second one takes effect at once. Or as a list, which a loop looks at between two steps.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qhybrid.errors import Interrupted

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class _State:
    """Signals held back and received; one for the process, as signals are."""

    def __init__(self) -> None:
        self.held = 0
        self.received = False
        self.message = ""


_state = _State()


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let the signals raise `Interrupted(message)` within the block; only the main thread can."""
    outer, _state.message, _state.received = _state.message, message, False
    try:
        with _handled_by(_handle):
            yield
    finally:
        _state.message = outer


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collect the numbers of the signals that arrive within the block, for a loop that ends after its current step."""
    received: list[int] = []
    with _handled_by(lambda number, _: received.append(number)):
        yield received


@contextmanager
def _handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    previous: dict[Any, Any] = {}
    try:
        for number in _SIGNALS:
            previous[number] = signal.signal(number, handler)
    except ValueError:
        # Only the main thread may set handlers; in others (notebooks' workers, studies) signals are the caller's.
        pass
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within, a first signal waits for the end.

    Raises:
        Interrupted: A signal arrived within, and no outer block holds it back.
    """
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
    if _state.received and not _state.held:
        raise Interrupted(_state.message)


def _handle(number: int, frame: Any) -> None:
    first, _state.received = not _state.received, True
    if not (first and _state.held):
        raise Interrupted(_state.message)
