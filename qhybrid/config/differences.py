"""In what two configurations differ."""

from __future__ import annotations

from typing import Any


def changed_keys(stored: Any, wanted: Any, prefix: str = "") -> list[str]:
    """Leaves in which two nested mappings differ, each as `key: value there, value here`.

    Args:
        stored: A nested mapping, or a value.
        wanted: What it is compared with.
        prefix: Dotted key under which both stand; empty at the root.
    """
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [
            name
            for key in sorted(stored.keys() | wanted.keys())
            for name in changed_keys(stored.get(key), wanted.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if stored == wanted else [f"{prefix}: {stored!r} there, {wanted!r} here"]
