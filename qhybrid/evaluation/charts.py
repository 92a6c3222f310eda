"""Charts of the report, drawn without a display and returned as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
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
    """Every cell of a study: dots are seeds, the disc their mean with its interval, the dashed line the real floor.

    Args:
        result: What `study.json` holds.
        title: Of the metric.
    """
    cells = [cell for cell in result["cells"] if cell["mean"] is not None]
    rows = list(dict.fromkeys(_levels(cell, "train") for cell in cells))
    series = list(dict.fromkeys(_levels(cell, "sample") for cell in cells))
    figure = Figure(figsize=(9, 1.3 + len(rows) * (0.2 + 0.17 * len(series))), layout="constrained")
    axes = figure.subplots()
    for cell in cells:
        index = series.index(_levels(cell, "sample"))
        y = rows.index(_levels(cell, "train")) + 0.75 * ((index + 0.5) / len(series) - 0.5)
        color = _SERIES[index % len(_SERIES)]
        values = [
            run["value"] for run in result["runs"] if run["levels"] == cell["levels"] and run["value"] is not None
        ]
        axes.plot(values, [y] * len(values), ".", markersize=4, color=color, alpha=0.45)
        if cell["interval"] is not None:
            axes.plot(cell["interval"], [y, y], color=color, linewidth=1.6)
        first = series[index] if cell is next(c for c in cells if _levels(c, "sample") == series[index]) else None
        axes.plot(cell["mean"], y, "o", markersize=5, color=color, label=first or None)
    floors = [cell["floor"] for cell in cells if cell["floor"] is not None]
    if floors:
        axes.axvline(sum(floors) / len(floors), color=REAL, linestyle="--", linewidth=1, label="real images")
    axes.set_yticks(range(len(rows)), [row or "base" for row in rows])
    axes.invert_yaxis()
    _dress(axes, f"{title} of each cell, mean over seeds and 95 % interval", "")
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    if len(axes.get_legend_handles_labels()[1]):
        figure.legend(frameon=False, fontsize=9, ncols=4, loc="outside lower center", labelcolor=_INK)
    return _png(figure)


def _levels(cell: Mapping[str, Any], kind: str) -> str:
    """`circuit=device, share=half` of the factors of one kind."""
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
