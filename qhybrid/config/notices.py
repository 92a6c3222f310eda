"""Lines about a configuration that is understood but should be written otherwise, on stderr."""

from __future__ import annotations

import sys

_told: set[str] = set()


def notice(topic: str, text: str) -> None:
    """Print one line on stderr, once per topic and process: a command reads the same configuration several times.

    Args:
        topic: What the line is about.
        text: The line, without a line break.
    """
    if topic not in _told:
        _told.add(topic)
        sys.stderr.write(f"notice: {text}\n")
