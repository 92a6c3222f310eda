"""What a study found: every cell and seed, means over seeds, and differences to the reference, paired by seed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from qhybrid.environment import describe_environment
from qhybrid.evaluation.record import read_judged
from qhybrid.files import write_json
from qhybrid.rundir import RunDirectory
from qhybrid.stored import read_stored
from qhybrid.studies.plan import Cell, Levels, Study, Training, cell_file, failure_file, finished
from qhybrid.studies.statistics import (
    SIGNIFICANCE,
    bca_interval,
    detectable_difference,
    equivalence_p,
    holm,
    mean_interval,
    sign_flip_p,
)

Values = dict[int, float]
"""The metric of one cell by seed."""


@dataclass(frozen=True)
class _Cost:
    """What `cell.json` holds: seconds of each stage."""

    seconds: dict[str, FiniteFloat]


def collect(study: Study, out: Path) -> dict[str, Any]:
    """Read what is finished in `out`, compare, and write `study.json`.

    Returns:
        What `study.json` holds: `runs` (every cell and seed: metric, interval, numbers of images, floor, all metrics,
        seconds; or why there is none), `cells` (means over seeds), `comparisons` (each cell with the one that has the
        levels of `reference`) and `effects` (each level of a factor named there with its reference level, averaged
        over all other factors); `also`, the last three for each further metric.
    """
    runs = [_row(study, training, cell, out) for training in study.trainings for cell in training.cells]
    result = {
        "name": study.config.name,
        "metric": study.config.metric,
        "seeds": study.config.seeds,
        "factors": study.config.factors,
        "reference": study.config.reference_levels,
        "margins": study.config.margins,
        **_judged(study, runs, study.config.metric),
        "also": {
            metric: _judged(study, [with_metric(row, metric) for row in runs], metric) for metric in study.config.also
        },
        "runs": runs,
        "samples": _samples(study, out),
        "environment": describe_environment(),
    }
    write_json(out / "study.json", result)
    return result


def _samples(study: Study, out: Path) -> list[dict[str, Any]]:
    """A small picture of the first finished seed of every cell."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for training in study.trainings:
        for cell in training.cells:
            picture, key = out / cell.folder / "evaluation" / "copies.png", tuple(cell.levels.values())
            if key not in found and finished(out / cell.folder) and picture.is_file():
                png = base64.b64encode(picture.read_bytes()).decode("ascii")
                found[key] = {"levels": cell.levels, "seed": training.seed, "png": png}
    return list(found.values())


def _judged(study: Study, runs: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    cells, reference = _group(runs), study.config.reference_levels
    margin = study.config.margins.get(metric)
    return {
        "cells": [_summary(levels, rows) for levels, rows in cells],
        "comparisons": _comparisons(cells, reference, margin),
        # Of a single factor, effects would be the comparisons once more.
        "effects": _effects(cells, study.config.factors, reference, margin) if len(study.config.factors) > 1 else [],
    }


def with_metric(row: dict[str, Any], metric: str) -> dict[str, Any]:
    """A row of `runs` as if a metric were the study's own; of a cell that was not judged, the row as it is.

    Args:
        row: Row of `runs` for one cell and seed.
        metric: Named as in `evaluation.json`.
    """
    if "metrics" not in row:
        return row
    value = row["metrics"].get(metric)
    shown = {key: item for key, item in row.items() if key not in ("failed", "reason")}
    shown |= {"value": value, "interval": None, "floor": row["floors"].get(metric)}
    if value is None:
        missing = f"{metric} was not measured: `{row['folder']}/evaluation.json` has none: take another metric"
        shown |= {"failed": True, "reason": row["reasons"].get(metric, missing)}
    return shown


def _row(study: Study, training: Training, cell: Cell, out: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"levels": cell.levels, "seed": training.seed, "folder": str(cell.folder), "value": None}
    folder = out / cell.folder
    if not finished(folder):
        notes = [path for path in (failure_file(folder), failure_file(out / training.folder)) if path.exists()]
        reason = notes[0].read_text(encoding="utf-8", errors="replace").partition("\n")[0] if notes else "not run yet"
        return row | {"failed": bool(notes), "reason": reason}
    judged = read_judged(RunDirectory(folder))
    metrics = judged["metrics"]
    entry = metrics.get(study.config.metric, {})
    trained = RunDirectory(out / training.folder).training_rows()
    spent = read_stored(cell_file(folder), _Cost, "remove it, and the cell is judged again")["seconds"]
    row |= {
        "n_generated": entry.get("n_generated"),
        "n_real": entry.get("n_real"),
        "metrics": {name: other["value"] for name, other in metrics.items()},
        "floors": {name: other["floor"]["value"] for name, other in metrics.items() if other.get("floor") is not None},
        "reasons": {name: other["reason"] for name, other in metrics.items() if other.get("reason") is not None},
        "reliance": _relied(judged.get("reliance")),
        "seconds": {"training": trained[-1]["seconds"] if trained else None, **spent},
    }
    return with_metric(row, study.config.metric) | {"interval": entry.get("interval")}


def _relied(relied: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Changes of KID and class accuracy with the core's outputs set to zero; `None` where they were not measured."""
    if relied is None or "untouched" not in relied:
        return None
    change = relied["outputs"]["zeroed"]["difference"]
    accuracy = change.get("class_accuracy")
    return {
        "depends": relied["depends"],
        "kid": change["kid"]["value"],
        "class_accuracy": None if accuracy is None else accuracy["value"],
    }


def _group(runs: Sequence[dict[str, Any]]) -> list[tuple[Levels, list[dict[str, Any]]]]:
    grouped: dict[tuple[tuple[str, str], ...], list[dict[str, Any]]] = {}
    for row in runs:
        grouped.setdefault(tuple(row["levels"].items()), []).append(row)
    return [(dict(levels), rows) for levels, rows in grouped.items()]


def _values(rows: Sequence[Mapping[str, Any]]) -> Values:
    return {row["seed"]: row["value"] for row in rows if row["value"] is not None}


def _summary(levels: Levels, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = _values(rows)
    floors = [row["floor"] for row in rows if row.get("floor") is not None]
    return {
        "levels": levels,
        "n_seeds": len(values),
        "mean": float(np.mean(list(values.values()))) if values else None,
        "interval": _listed(mean_interval(list(values.values()))),
        "floor": float(np.mean(floors)) if floors else None,
        "reliance": _mean_reliance([row["reliance"] for row in rows if row.get("reliance") is not None]),
    }


def _mean_reliance(relied: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Over seeds: mean changes with the core's outputs set to zero, and in how many runs images depend on the core."""
    if not relied:
        return None
    kid = [item["kid"] for item in relied]
    accuracy = [item["class_accuracy"] for item in relied if item["class_accuracy"] is not None]
    return {
        "n_seeds": len(relied),
        "depends": sum(item["depends"] for item in relied),
        "kid": float(np.mean(kid)),
        "interval": _listed(mean_interval(kid)),
        "class_accuracy": float(np.mean(accuracy)) if accuracy else None,
    }


def _comparisons(
    cells: Sequence[tuple[Levels, list[dict[str, Any]]]], reference: Levels, margin: float | None
) -> list[dict[str, Any]]:
    known = {tuple(levels.items()): _values(rows) for levels, rows in cells}
    found = []
    for key, values in known.items():
        # Same keys in the same order: the reference replaces levels in place.
        other = tuple((dict(key) | reference).items())
        if other != key:
            found.append({"levels": dict(key), "reference": dict(other), **_compare(values, known[other], margin)})
    return _corrected(found) if reference else []


def _effects(
    cells: Sequence[tuple[Levels, list[dict[str, Any]]]],
    factors: Mapping[str, list[str]],
    reference: Levels,
    margin: float | None,
) -> list[dict[str, Any]]:
    known = {tuple(levels.items()): _values(rows) for levels, rows in cells}

    def average(factor: str, level: str) -> Values:
        """Mean over all cells with this level, for seeds that have all of them."""
        parts = [values for key, values in known.items() if dict(key)[factor] == level]
        complete = set.intersection(*(set(values) for values in parts))
        return {seed: float(np.mean([values[seed] for values in parts])) for seed in sorted(complete)}

    found = [
        {
            "factor": factor,
            "level": level,
            "reference": base,
            **_compare(average(factor, level), average(factor, base), margin),
        }
        for factor, base in reference.items()
        for level in factors[factor]
        if level != base
    ]
    return _corrected(found)


def _compare(values: Values, reference: Values, margin: float | None) -> dict[str, Any]:
    differences = [values[seed] - reference[seed] for seed in values if seed in reference]
    return {
        "n_pairs": len(differences),
        "difference": float(np.mean(differences)) if differences else None,
        "interval": _listed(mean_interval(differences)),
        "interval_bca": _listed(bca_interval(differences)),
        "p": sign_flip_p(differences) if differences else None,
        "margin": margin,
        "p_equal": equivalence_p(differences, margin) if differences and margin is not None else None,
        # Taken out again by `_corrected`, which knows how many comparisons there are.
        "differences": differences,
    }


def _corrected(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add Holm's correction over all comparisons that could be made, and what each could have shown under it."""
    made = sum(item["p"] is not None for item in found)
    corrected: dict[str, list[float | None]] = {}
    for name in ("p", "p_equal"):
        adjusted = iter(holm([item[name] for item in found if item[name] is not None]))
        corrected[name] = [None if item[name] is None else next(adjusted) for item in found]
    return [
        {name: value for name, value in item.items() if name != "differences"}
        | {
            "p_holm": corrected["p"][place],
            "p_equal_holm": corrected["p_equal"][place],
            "detectable": detectable_difference(item["differences"], SIGNIFICANCE / made) if made else None,
        }
        for place, item in enumerate(found)
    ]


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
