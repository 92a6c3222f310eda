"""`study.html`: what a study found on one self-contained page, made from `study.json` alone."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from qhybrid.errors import RunDirectoryError
from qhybrid.evaluation.explanations import MEANINGS, TITLES
from qhybrid.files import write_text
from qhybrid.report.page import page_template
from qhybrid.stored import Pair, read_stored
from qhybrid.studies.drawings import SERIES, Curve, Point, curves, forest_bar, span_of
from qhybrid.studies.plan import describe
from qhybrid.studies.report import headlines, views
from qhybrid.studies.verdicts import outcome, reference_name, roll_call, sides, verdict

_PNG = b"\x89PNG\r\n\x1a\n"
# With more comparisons the first screen counts them and names none.
_NAMED_AT_MOST = 12
_COPYING = ("kid_without_copies", "copies", "memorisation_share", "memorisation_ratio")


@dataclass(frozen=True)
class _Relied:
    n_seeds: int
    depends: int
    kid: FiniteFloat
    interval: Pair | None
    class_accuracy: FiniteFloat | None


@dataclass(frozen=True)
class _Cell:
    levels: dict[str, str]
    n_seeds: int
    mean: FiniteFloat | None
    interval: Pair | None
    floor: FiniteFloat | None
    reliance: _Relied | None = None


@dataclass(frozen=True)
class _Compared:
    n_pairs: int
    difference: FiniteFloat | None
    interval: Pair | None
    p: FiniteFloat | None
    p_holm: FiniteFloat | None
    interval_bca: Pair | None = None
    margin: FiniteFloat | None = None
    p_equal_holm: FiniteFloat | None = None
    detectable: FiniteFloat | None = None


@dataclass(frozen=True)
class _Comparison(_Compared):
    levels: dict[str, str] = field(kw_only=True)
    reference: dict[str, str] = field(kw_only=True)


@dataclass(frozen=True)
class _Effect(_Compared):
    factor: str = field(kw_only=True)
    level: str = field(kw_only=True)
    reference: str = field(kw_only=True)


@dataclass(frozen=True)
class _Judged:
    cells: tuple[_Cell, ...]
    comparisons: tuple[_Comparison, ...]
    effects: tuple[_Effect, ...]


@dataclass(frozen=True)
class _Run:
    levels: dict[str, str]
    seed: int
    value: FiniteFloat | None
    failed: bool = False
    reason: str = ""
    metrics: dict[str, FiniteFloat | None] = field(default_factory=dict)
    floors: dict[str, FiniteFloat | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, FiniteFloat | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sample:
    levels: dict[str, str]
    seed: int
    png: str


@dataclass(frozen=True)
class _Study(_Judged):
    name: str = field(kw_only=True)
    metric: str = field(kw_only=True)
    seeds: tuple[int, ...] = field(kw_only=True)
    factors: dict[str, tuple[str, ...]] = field(kw_only=True)
    reference: dict[str, str] = field(kw_only=True)
    runs: tuple[_Run, ...] = field(kw_only=True)
    also: dict[str, _Judged] = field(default_factory=dict, kw_only=True)
    samples: tuple[_Sample, ...] = field(default=(), kw_only=True)
    environment: dict[str, Any] = field(default_factory=dict, kw_only=True)


def write_study_page(folder: Path) -> Path:
    """Write `study.html` beside a `study.json`, from nothing else: the same file gives the same page, byte for byte.

    Args:
        folder: Folder of the study, or of its record.

    Returns:
        Path of the page.

    Raises:
        RunDirectoryError: `study.json` is missing or damaged.
    """
    file = folder / "study.json"
    result = read_stored(file, _Study, "`qhybrid study` writes it anew")
    for name in (result["metric"], *result.get("also", {})):
        if name not in TITLES:
            raise RunDirectoryError(f"`{file}` is damaged (`{name}` is no metric): `qhybrid study` writes it anew")
    for item in result.get("samples", []):
        if not _is_png(item["png"]):
            raise RunDirectoryError(f"`{file}` is damaged (`samples`: no PNG): `qhybrid study` writes it anew")
    write_text(folder / "study.html", study_page(result))
    return folder / "study.html"


def study_page(result: dict[str, Any]) -> str:
    """The page as HTML.

    Args:
        result: Content of `study.json`, as `collect` gives it.
    """
    judged = [_view(view) for view in views(result)]
    unfinished = [run for run in result["runs"] if "metrics" not in run]
    return page_template("study.html.j2").render(
        study=result,
        views=judged,
        reference=reference_name(result) if result["reference"] else None,
        copying=_copying(result),
        reliance=[(_name(cell["levels"]), cell["reliance"]) for cell in result["cells"] if cell.get("reliance")],
        cost=_cost(result),
        samples=[(_name(item["levels"]), item) for item in result.get("samples", [])],
        unfinished=[(describe(run["levels"]), run) for run in unfinished],
        environment=result.get("environment", {}),
    )


def _view(view: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of one metric."""
    metric = view["metric"]
    floors = [cell["floor"] for cell in view["cells"] if cell["floor"] is not None]
    groups = [("Each cell", view["comparisons"]), ("Each level, averaged over the other factors,", view["effects"])]
    means = {describe(cell["levels"]): cell for cell in view["cells"]}
    return {
        "metric": metric,
        "title": TITLES[metric],
        "meaning": MEANINGS[metric],
        "floor": float(np.mean(floors)) if floors else None,
        "first_lines": [roll_call(view)] if 0 < len(view["comparisons"]) <= _NAMED_AT_MOST else headlines(view),
        "headlines": headlines(view),
        "forests": [_forest(title, items, metric) for title, items in groups if items],
        "cells": [(_name(cell["levels"]), cell) for cell in means.values()],
        "curves": _curves(view),
        "verdicts": [verdict(item, metric) for _, items in groups for item in items],
    }


def _forest(title: str, items: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    made = [item for item in items if item["difference"] is not None]
    ends = [end for item in made for end in (item["difference"], *(item["interval"] or ()))]
    span = span_of(ends or [0.0])
    rows = []
    for item in items:
        bar = None
        if item["difference"] is not None:
            interval = None if item["interval"] is None else (item["interval"][0], item["interval"][1])
            unseen, margin = item.get("detectable"), item.get("margin")
            bar = forest_bar(item["difference"], interval, span, unseen=unseen, margin=margin)
        name, _, same = sides(item)
        within = "" if "factor" in item else same
        rows.append({"name": name, "within": within, "bar": bar, "outcome": outcome(item, metric), "item": item})
    return {"title": title, "rows": rows, "span": span}


def _curves(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A figure for each factor whose levels are numbers, such as the number of training images."""
    found = []
    for factor, levels in view["factors"].items():
        if len(levels) < 2 or not all(_is_number(level) for level in levels):
            continue
        series: dict[str, list[Point]] = {}
        for cell in view["cells"]:
            if cell["mean"] is not None and factor in cell["levels"]:
                others = {name: level for name, level in cell["levels"].items() if name != factor}
                interval = None if cell["interval"] is None else (cell["interval"][0], cell["interval"][1])
                series.setdefault(_name(others), []).append(
                    Point(float(cell["levels"][factor]), cell["mean"], interval)
                )
        lines = [Curve(name, tuple(sorted(points, key=lambda point: point.x))) for name, points in series.items()]
        if lines:
            name = factor.partition(".")[2]
            legend = [(line.label, index % SERIES, index >= SERIES) for index, line in enumerate(lines)]
            drawing = curves(lines, name, TITLES[view["metric"]])
            found.append({"factor": name, "drawing": drawing, "legend": legend})
    return found


def _copying(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """KID beside all measures of copying, mean over the seeds of each cell; `None` where none was measured."""
    judged = [run for run in result["runs"] if "metrics" in run]
    names = [name for name in _COPYING if any(run["metrics"].get(name) is not None for run in judged)]
    if not names:
        return None
    rows = []
    for cell in result["cells"]:
        own = [run["metrics"] for run in judged if run["levels"] == cell["levels"]]
        rows.append((_name(cell["levels"]), {name: _mean(run.get(name) for run in own) for name in ("kid", *names)}))
    floors = {name: _mean(run["floors"].get(name) for run in judged) for name in ("kid", *names)}
    return {"names": [(name, TITLES[name]) for name in ("kid", *names)], "rows": rows, "floors": floors}


def _cost(result: Mapping[str, Any]) -> list[tuple[str, dict[str, float | None]]]:
    """Mean seconds of each stage over the seeds of each cell."""
    judged = [run for run in result["runs"] if "seconds" in run]
    stages = ("training", "sampling", "evaluation")
    rows = []
    for cell in result["cells"]:
        own = [run["seconds"] for run in judged if run["levels"] == cell["levels"]]
        rows.append((_name(cell["levels"]), {stage: _mean(spent.get(stage) for spent in own) for stage in stages}))
    return rows if judged else []


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _name(levels: Mapping[str, str]) -> str:
    """The levels of a cell, those of one factor without its name."""
    if len(levels) == 1:
        return next(iter(levels.values()))
    return describe(levels)


def _is_number(level: str) -> bool:
    return level.replace(".", "", 1).isdecimal() and level.isascii()


def _is_png(text: str) -> bool:
    try:
        return base64.b64decode(text, validate=True).startswith(_PNG)
    except (binascii.Error, ValueError):
        return False
