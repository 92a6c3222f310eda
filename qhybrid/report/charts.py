"""Charts of the report, drawn without a display and returned as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from qiskit import QuantumCircuit

_INK, _MUTED, _LINE = "#1c2330", "#667085", "#e4e7ec"
GENERATED, REAL = "#5b4bdb", "#98a2b3"
_SERIES = ("#5b4bdb", "#0e9384", "#e0663a", "#b54794", "#667085")
_DPI = 200


def training_chart(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Loss and gradient norm of each parameter group over optimizer steps, from the rows of `train.jsonl`."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    losses = [row["loss"] for row in rows]
    left.plot(steps, losses, color=GENERATED, linewidth=1.6)
    _dress(left, "Loss", "optimizer step")
    if max(losses) > 10 * min(losses) > 0:
        left.set_yscale("log")
    groups = list(dict.fromkeys(name for row in rows for name in row["gradient_norm"]))
    for index, name in enumerate(groups):
        norms = [row["gradient_norm"].get(name) for row in rows]
        right.plot(steps, norms, color=_SERIES[index % len(_SERIES)], linewidth=1.6, label=name)
    # A group that receives no gradient lies at 0, where a logarithmic axis has no place for it.
    right.set_yscale("symlog", linthresh=1e-6)
    right.set_ylim(bottom=0)
    _dress(right, "Gradient norm", "optimizer step")
    if groups:
        right.legend(frameon=False, fontsize=9, ncols=len(groups), loc="lower center", labelcolor=_INK)
    return _png(figure)


def loss_chart(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Loss of several runs over optimizer steps.

    Args:
        runs: Rows of `train.jsonl`, at least one, by the name of their run.
    """
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots()
    for index, (name, rows) in enumerate(runs.items()):
        losses = [row["loss"] for row in rows]
        # More runs than colours are told apart by the line.
        style = ("-", "--", ":")[index // len(_SERIES) % 3]
        color = _SERIES[index % len(_SERIES)]
        axes.plot([row["step"] for row in rows], losses, style, color=color, linewidth=1.6, label=name)
    if all(row["loss"] > 0 for rows in runs.values() for row in rows):
        axes.set_yscale("log")
    _dress(axes, "Loss", "optimizer step")
    axes.legend(frameon=False, fontsize=9, loc="upper right", labelcolor=_INK)
    return _png(figure)


def class_chart(generated: Mapping[str, int], real: Mapping[str, int]) -> bytes:
    """Share of each class among generated and real images."""
    names = list(generated)
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    axes = figure.subplots()
    for offset, (label, counts, color) in enumerate(
        (("generated", generated, GENERATED), ("real test images", real, REAL))
    ):
        total = max(1, sum(counts.values()))
        places = [index + (offset - 0.5) * 0.38 for index in range(len(names))]
        axes.bar(places, [counts[name] / total for name in names], 0.36, color=color, label=label)
    turned = sum(map(len, names)) > 90
    axes.set_xticks(range(len(names)), names, rotation=30 if turned else 0, ha="right" if turned else "center")
    _dress(axes, "Share of each class, as the classifier sees it", "")
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="upper right", labelcolor=_INK)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.2)
    return _png(figure)


def circuit_chart(circuit: QuantumCircuit) -> bytes:
    """The circuit as Qiskit draws it, folded to a readable width."""
    from matplotlib import pyplot

    figure = circuit.draw("mpl", fold=18, style={"name": "iqp", "fontsize": 11})
    try:
        return _png(figure)
    finally:
        pyplot.close(figure)


def study_chart(result: Mapping[str, Any], title: str) -> bytes:
    """Every cell of a study, and beside it the paired differences to the reference if there is one.

    Small dots are seeds, discs their mean, bars its interval.

    Args:
        result: Content of `study.json`, as `collect` gives it.
        title: Title of the metric.
    """
    cells = [cell for cell in result["cells"] if cell["mean"] is not None]
    compared = [item for item in result["comparisons"] if item["difference"] is not None]
    rows = list(dict.fromkeys(_levels(cell, "train") for cell in cells))
    series = list(dict.fromkeys(_levels(cell, "sample") for cell in cells))
    panels = 2 if compared else 1
    height = 1.5 + len(rows) * (0.2 + 0.17 * len(series))
    figure = Figure(figsize=(4 + 4 * panels, height), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]

    def mark(axis: Axes, entry: Mapping[str, Any], mean: float) -> float:
        index = series.index(_levels(entry, "sample"))
        y = rows.index(_levels(entry, "train")) + 0.75 * ((index + 0.5) / len(series) - 0.5)
        color = _SERIES[index % len(_SERIES)]
        if entry["interval"] is not None:
            axis.plot(entry["interval"], [y, y], color=color, linewidth=1.6)
        axis.plot(mean, y, "o", markersize=5, color=color)
        return y

    for cell in cells:
        y = mark(axes[0], cell, cell["mean"])
        values = [
            run["value"] for run in result["runs"] if run["levels"] == cell["levels"] and run["value"] is not None
        ]
        axes[0].plot(values, [y] * len(values), ".", markersize=4, color=_MUTED, alpha=0.6)
    for item in compared:
        mark(axes[1], item, item["difference"])
    floors = [cell["floor"] for cell in cells if cell["floor"] is not None]
    floor = f"real images against each other: {sum(floors) / len(floors):.3g}" if floors else ""
    _dress(axes[0], f"{title}, mean over seeds", floor)
    if compared:
        axes[1].axvline(0, color=REAL, linewidth=1)
        _dress(axes[1], "Difference to the reference, paired by seed", "95 % interval, not corrected for their number")
    for axis in axes:
        axis.grid(visible=False, axis="y")
        axis.grid(axis="x", color=_LINE, linewidth=0.8)
    axes[0].set_yticks(range(len(rows)), [row or "base" for row in rows])
    axes[0].set_ylabel("trained with", fontsize=9, color=_MUTED)
    axes[0].invert_yaxis()
    if len(series) > 1:
        handles = [Line2D([], [], marker="o", linestyle="", color=color) for color in _SERIES[: len(series)]]
        legend = {"frameon": False, "fontsize": 9, "ncols": len(series), "labelcolor": _INK}
        figure.legend(handles, [f"sampled: {name}" for name in series], loc="outside lower center", **legend)
    return _png(figure)


def reliance_chart(relied: Mapping[str, Any]) -> bytes:
    """KID and, of a conditional model, class accuracy for each state of the core; loss over the time bins.

    Args:
        relied: `reliance` of an `evaluation.json`, with its measures.
    """
    states = {"untouched": relied["untouched"]}
    states |= {name: entry for name, entry in relied["outputs"].items() if "kid" in entry}
    names = list(states)
    shares = "class_accuracy" in relied["untouched"]
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    axes = figure.subplots(1, 3 if shares else 2)
    panels = [("KID", "kid"), ("Class accuracy", "class_accuracy")][: 2 if shares else 1]
    for axis, (title, key) in zip(axes, panels, strict=False):
        for place, name in enumerate(names):
            entry = states[name][key]
            axis.plot(entry["interval"], [place, place], color=_SERIES[place], linewidth=1.8)
            axis.plot(entry["value"], place, "o", markersize=6, color=_SERIES[place])
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        _dress(axis, title, "95 % interval")
        axis.grid(visible=False, axis="y")
        axis.grid(axis="x", color=_LINE, linewidth=0.8)
        if key == "class_accuracy":
            axis.set_xlim(-0.03, 1.03)
    # The untouched model last, so that no other line hides it.
    for place, name in reversed(list(enumerate(names))):
        losses = [entry["value"] for entry in states[name]["loss_by_time"]]
        times = [(index + 0.5) / len(losses) for index in range(len(losses))]
        axes[-1].plot(times, losses, color=_SERIES[place], linewidth=1.6, marker=".")
    axes[-1].set_ylim(bottom=0)
    _dress(axes[-1], "Loss on test images", "time, 0: image, 1: noise; colours as on the left")
    return _png(figure)


def _levels(cell: Mapping[str, Any], kind: str) -> str:
    """`circuit device, share half` of the factors of one kind."""
    own = [(name.partition(".")[2], level) for name, level in cell["levels"].items() if name.startswith(f"{kind}.")]
    return ", ".join(f"{name} {level}" for name, level in own)


def _dress(axes: Axes, title: str, xlabel: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold", pad=10)
    axes.set_xlabel(xlabel, fontsize=9, color=_MUTED)
    axes.tick_params(which="both", colors=_MUTED, labelsize=9, length=0)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png", dpi=_DPI, facecolor="white", bbox_inches="tight", pad_inches=0.05)
    return stream.getvalue()
