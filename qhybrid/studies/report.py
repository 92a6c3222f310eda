"""A study's result for people: table and conclusions on the console, `summary.md`, `study.png`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qhybrid.evaluation.explanations import MEANINGS, TITLES
from qhybrid.files import atomic_path, write_text
from qhybrid.progress import duration
from qhybrid.studies.plan import Study, describe
from qhybrid.studies.results import with_metric
from qhybrid.studies.statistics import POWER, SIGNIFICANCE, smallest_p

_COLUMNS = 160


def cell_table(result: dict[str, Any]) -> list[list[str]]:
    """Header and a row per cell: its levels, mean over seeds, and paired difference to the reference."""
    title = TITLES[result["metric"]]
    factors = list(result["factors"])
    header = [*factors, "seeds", f"{title}, mean [95 %]"]
    compared = {describe(item["levels"]): item for item in result["comparisons"]}
    if compared:
        header += ["difference [95 %]", "p", "p, Holm", "would be shown", ""]
    relied = any(cell.get("reliance") for cell in result["cells"])
    if relied:
        header += ["KID change, outputs zeroed"]
    rows = [header]
    for cell in result["cells"]:
        row = [
            *(cell["levels"][name] for name in factors),
            str(cell["n_seeds"]),
            _number(cell["mean"], cell["interval"]),
        ]
        if compared:
            item = compared.get(describe(cell["levels"]))
            row += ["", "", "", "", "reference"] if item is None else _difference(item)
        if relied:
            found = cell.get("reliance")
            row.append("" if found is None else _number(found["kid"], found["interval"]))
        rows.append(row)
    return rows


def effect_table(result: dict[str, Any]) -> list[list[str]]:
    """Header and a row per level of a factor of the reference, averaged over the other factors."""
    rows = [["factor", "level", "against", "difference [95 %]", "p", "p, Holm", "would be shown", ""]]
    return rows + [[item["factor"], item["level"], item["reference"], *_difference(item)] for item in result["effects"]]


def conclusions(result: dict[str, Any]) -> list[str]:
    """What the study shows and what it cannot show, in sentences."""
    metric = result["metric"]
    lines = [f"{TITLES[metric]}: {MEANINGS[metric]}"]
    floors = [cell["floor"] for cell in result["cells"] if cell["floor"] is not None]
    if floors:
        lines.append(f"Real images against each other (floor): {sum(floors) / len(floors):.4g}.")
    lines += headlines(result)
    relied = [cell["reliance"] for cell in result["cells"] if cell.get("reliance")]
    if relied:
        count, total = (sum(cell[key] for cell in relied) for key in ("depends", "n_seeds"))
        lines.append(
            f"In {count} of {total} runs the images depend on the core in the bottleneck: KID or class accuracy change "
            "when its outputs are set to zero. An arm that its network ignores cannot win or lose."
        )
    failed = [run for run in result["runs"] if run["value"] is None and run["failed"]]
    missing = [run for run in result["runs"] if run["value"] is None and not run["failed"]]
    lines += [f"Failed: {describe(run['levels'])}, seed {run['seed']}: {run['reason']}" for run in failed]
    if missing:
        lines.append(f"Not run yet: {len(missing)} of {len(result['runs'])} cells and seeds.")
    return lines


def headlines(result: dict[str, Any]) -> list[str]:
    """How many cells and levels differ from the reference, and what could have been shown: a sentence for each kind.

    Args:
        result: Content of `study.json`, or one of its `views`.
    """
    kinds = (("comparisons", "cells"), ("effects", "levels (averaged over the other factors)"))
    found = [(what, [item for item in result[kind] if item["p"] is not None]) for kind, what in kinds]
    return [_verdict(items, what, result["metric"]) for what, items in found if items]


def seeds_needed(comparisons: int) -> int:
    """Fewest seeds with which one of so many comparisons can reach the level of significance after correction."""
    return math.ceil(1 + math.log2(comparisons / SIGNIFICANCE))


def write_summary(result: dict[str, Any], out: Path) -> None:
    """Write `summary.md` and `study.png`, and print the tables."""
    from rich.console import Console
    from rich.table import Table

    from qhybrid.report.charts import study_chart

    # A file or pipe has no width; rich would take 80 columns and break every cell.
    console = Console() if sys.stdout.isatty() else Console(width=_COLUMNS)
    parts = [f"# Study {result['name']}"]
    for view in views(result):
        picture = "study.png" if view["metric"] == result["metric"] else f"study-{view['metric']}.png"
        title = TITLES[view["metric"]]
        tables = {f"{title}: cells": cell_table(view)}
        if view["effects"]:
            tables[f"{title}: effect of each factor, averaged over the others"] = effect_table(view)
        parts += conclusions(view)
        for heading, rows in tables.items():
            shown = Table(*rows[0], title=heading)
            for row in rows[1:]:
                shown.add_row(*row)
            console.print(shown)
            parts += [f"## {heading}", _markdown(rows)]
        parts.append(f"![{title} of cells, their seeds and intervals]({picture})")
        with atomic_path(out / picture) as temporary:
            temporary.write_bytes(study_chart(view, title))
    write_text(out / "summary.md", "\n\n".join(parts) + "\n")


def views(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What a study found by its own metric, then by each further one, each as if that were the study's only metric.

    Args:
        result: Content of `study.json`, as `collect` gives it.
    """
    found = [result]
    for metric, judged in result.get("also", {}).items():
        runs = [with_metric(run, metric) for run in result["runs"]]
        found.append({**result, **judged, "metric": metric, "runs": runs})
    return found


def plan_lines(study: Study, jobs: int) -> list[str]:
    """What a study is going to do and about how long it takes, from a few steps of each kind of training."""
    from qhybrid.studies.time_estimate import sampling_seconds, training_step_seconds

    config = study.config
    first = study.trainings[: len(study.trainings) // len(config.seeds)]
    lines, total = [], 0.0
    for training in first:
        seconds = training.config.training.steps * training_step_seconds(training.config)
        sampling = sum(sampling_seconds(cell.config) for cell in training.cells)
        total += (seconds + sampling) * len(config.seeds) / jobs
        lines.append(
            f"{training.folder.parent.name}: {training.config.training.steps:,} steps, about {duration(seconds)}; "
            f"sampled in {len(training.cells)} ways, about {duration(sampling)}"
        )
    cells = sum(len(training.cells) for training in first)
    lines.append(
        f"{len(first)} trainings and {cells} cells, {len(config.seeds)} seeds of each, metric {TITLES[config.metric]}: "
        f"about {duration(total)} beside evaluation"
    )
    named = config.reference_levels
    if named:
        same = sum(all(cell.levels[name] == level for name, level in named.items()) for t in first for cell in t.cells)
        least, compared = smallest_p(len(config.seeds)), cells - same
        lines.append(
            f"{compared} cells are compared with the reference: the smallest p of {len(config.seeds)} pairs is "
            f"{least:.3g}, after correction {min(1.0, least * compared):.3g}"
        )
        if len(config.factors) > 1:
            effects = sum(len(config.factors[name]) - 1 for name in named)
            lines.append(
                f"{effects} effects of levels, averaged over the other factors: the smallest p after correction is "
                f"{min(1.0, least * effects):.3g}"
            )
    return lines


def _verdict(items: Sequence[dict[str, Any]], what: str, metric: str) -> str:
    shown = [item for item in items if item["p_holm"] <= SIGNIFICANCE]
    pairs = max(item["n_pairs"] for item in items)
    best = min(1.0, len(items) * smallest_p(pairs))
    text = (
        f"Of {len(items)} {what} compared with the reference in {pairs} pairs, {len(shown) or 'none'} differ in "
        f"{TITLES[metric]} at {SIGNIFICANCE:.0%} (exact sign-flip test, Holm's correction)"
    )
    if best > SIGNIFICANCE:
        text += (
            f"; with so few seeds the smallest possible p is {smallest_p(pairs):.3g}, {best:.3g} after correction, so "
            f"none could be shown: take {seeds_needed(len(items))} seeds or compare less"
        )
    detectable = [item["detectable"] for item in items if item.get("detectable") is not None]
    if detectable:
        text += (
            f"; a true difference of {max(detectable):.2g} would have been shown in each of them with probability "
            f"{POWER:.0%} or more"
        )
    text += "."
    margins = {item["margin"] for item in items if item.get("margin") is not None}
    if margins:
        equal = [item for item in items if is_equal(item)]
        verb = "is" if len(equal) == 1 else "are"
        text += (
            f" {len(equal) or 'None'} of them {verb} shown to be equal to the reference within {margins.pop():g} (two "
            "one-sided tests, Holm's correction)."
        )
    return text


def _difference(item: dict[str, Any]) -> list[str]:
    if item["p"] is None:
        return ["", "", "", "", "no pairs"]
    verdict = "no difference shown"
    if item["p_holm"] <= SIGNIFICANCE:
        verdict = "lower" if item["difference"] < 0 else "higher"
    elif is_equal(item):
        verdict = f"equal within {item['margin']:g}"
    shown = item.get("detectable")
    numbers = [_number(item["difference"], item["interval"]), f"{item['p']:.3g}", f"{item['p_holm']:.3g}"]
    return [*numbers, "-" if shown is None else f"{shown:.3g}", verdict]


def is_equal(item: Mapping[str, Any]) -> bool:
    """Whether a comparison shows that the difference lies within the study's margin (after Holm's correction)."""
    corrected = item.get("p_equal_holm")
    return corrected is not None and corrected <= SIGNIFICANCE


def _number(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" + ("" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]")


def _markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
