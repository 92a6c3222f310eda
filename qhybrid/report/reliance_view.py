"""Reliance and the scores of each class as rows for the report's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qhybrid.evaluation.reliance_statement import NAMES


def reliance_rows(relied: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for the untouched model and for each replacement of the core's outputs.

    Args:
        relied: `reliance` of an `evaluation.json`, with its measures.

    Returns:
        One mapping for each row: `title`, and `reason` if it was not measured, else `kid`, `class_accuracy` (or
        `None`), `loss`, and `pixel_difference` and `difference` (both `None` for the untouched model).
    """
    rows = [{"title": "untouched", "reason": None, "difference": None, **_measures(relied["untouched"])}]
    for name, title in NAMES.items():
        entry = relied["outputs"][name]
        if "device" in entry:
            low, high = min(entry["factors"]), max(entry["factors"])
            title = f"shrunk as on {entry['device']} ({low:.2f} to {high:.2f} left)"
        if "kid" not in entry:
            rows.append({"title": title, "reason": entry["reason"]})
            continue
        rows.append({"title": title, "reason": None, "difference": entry["difference"], **_measures(entry)})
    return rows


def class_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per class asked for: `name`, `accuracy` (or `None`) with its `floor`, and `kid`."""
    accuracy = metrics.get("class_accuracy", {}).get("by_class", {})
    kid = metrics.get("class_kid", {}).get("by_class", {})
    return [{"name": name, "accuracy": accuracy.get(name), "kid": kid.get(name)} for name in (accuracy or kid)]


def _measures(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("kid", "class_accuracy", "loss", "pixel_difference")}
