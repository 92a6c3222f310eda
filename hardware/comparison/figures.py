"""Pictures of a layout on the coupling map and of a comparison; drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rustworkx
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from qiskit.providers import BackendV2

from qhybrid.files import atomic_path

_GREY, _BLUE, _ORANGE = "0.75", "#1f77b4", "#e6731a"


def draw_layout(backend: BackendV2, layouts: Sequence[Sequence[int]], path: Path) -> None:
    """The coupling map, each copy's qubits marked with their numbers in the circuit, a colour per copy; PNG."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    layout_axes(figure.add_subplot(), backend, layouts)
    _save(figure, path)


def layout_axes(axes: Axes, backend: BackendV2, layouts: Sequence[Sequence[int]]) -> None:
    """What `draw_layout` draws, on given axes."""
    edges = (
        sorted({(min(a, b), max(a, b)) for a, b in backend.coupling_map.get_edges()}) if backend.coupling_map else []
    )
    owner = {qubit: number for number, layout in enumerate(layouts) for qubit in layout}
    size = backend.num_qubits if edges else len(owner)
    places = _positions(size, edges)
    for a, b in edges:
        inside = a in owner and owner[a] == owner.get(b)
        axes.plot(
            places[[a, b], 0],
            places[[a, b], 1],
            color=_colour(owner[a]) if inside else _GREY,
            linewidth=3 if inside else 1,
            zorder=1,
        )
    rest = [qubit for qubit in range(size) if qubit not in owner]
    axes.scatter(places[rest, 0], places[rest, 1], s=30, color=_GREY, zorder=2)
    for copy, layout in enumerate(layouts):
        chosen = places[list(layout)]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=180, color=_colour(copy), zorder=3)
        for number, place in enumerate(chosen):
            axes.text(place[0], place[1], str(number), ha="center", va="center", color="white", fontsize=8, zorder=4)
    where = f"device qubits {', '.join(map(str, layouts[0]))}" if len(layouts) == 1 else f"{len(layouts)} places"
    axes.set_title(f"{backend.name}: circuit qubits 0 to {len(layouts[0]) - 1} on {where}", fontsize=9)
    axes.set_aspect("equal")
    axes.axis("off")


def _colour(copy: int) -> Any:
    # The first copy, the best one, keeps the accent colour, and no other comes near it.
    others = [colormaps["tab20"](index) for index in range(0, 20, 2) if index != 2]
    return _ORANGE if copy == 0 else others[(copy - 1) % len(others)]


def draw_comparison(
    exact: NDArray[np.float64],
    device: NDArray[np.float64],
    noisy_rows: NDArray[np.intp],
    noisy: NDArray[np.float64],
    comparison: dict[str, Any],
    path: Path,
) -> None:
    """Device and noisy simulation against exact values, and the RMS difference of each denoising step; PNG."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([-1, 1], [-1, 1], color=_GREY, linewidth=1)
    left.scatter(
        exact, device, s=8, color=_BLUE, alpha=0.6, label=f"{comparison['backend']}, {comparison['shots']} shots"
    )
    if len(noisy_rows):
        left.scatter(exact[noisy_rows], noisy, s=4, color=_ORANGE, alpha=0.6, label="noisy simulation, no shots")
    left.set_xlabel("exact expectation value")
    left.set_ylabel("expectation value")
    left.legend(fontsize=8)
    steps = [row["step"] for row in comparison["by_step"]]
    right.bar(steps, [row["rms"] for row in comparison["by_step"]], color=_BLUE)
    right.set_xticks(steps)
    right.set_xlabel("denoising step on the device")
    right.set_ylabel("RMS difference from exact")
    if comparison["standard_error"] is not None:
        right.axhline(comparison["standard_error"], color=_ORANGE, label="stated standard error")
        right.legend(fontsize=8)
    _save(figure, path)


def draw_variants(variants: Sequence[dict[str, Any]], backend: str, path: Path) -> None:
    """Error of the expectation values, of the images, and the price, of each variant of a run; PNG."""
    figure = Figure(figsize=(13, 0.9 + 0.45 * len(variants)), layout="constrained")
    names = [row["name"] for row in variants]
    shown = {
        "RMS error of expectation values": [row["rms"] for row in variants],
        "RMS error of pixels": [row["images"]["rms"] for row in variants],
        "1 - structural similarity": [1 - row["images"]["ssim"] for row in variants],
        "executions": [row["executions"] for row in variants],
    }
    panels = figure.subplots(1, len(shown), sharey=True)
    for axes, (label, values) in zip(panels, shown.items(), strict=True):
        bars = axes.barh(names, values, color=_BLUE)
        axes.bar_label(bars, fmt="{:,.0f}" if label == "executions" else "{:.2g}", padding=2, fontsize=8)
        # Differences that no eye sees shall not fill a panel: a grey level, a hundredth of similarity.
        least = {"RMS error of pixels": 1 / 255, "1 - structural similarity": 0.01}.get(label, 0.0)
        axes.set_xlim(0, 1.3 * max(least, *values))
        axes.set_xlabel(label, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    panels[1].axvline(1 / 255, color=_ORANGE, linestyle=":", label="one grey level")
    panels[1].legend(fontsize=8)
    # What is systematic in the error, beside its size.
    panels[0].scatter([abs(row["bias"]) for row in variants], names, color=_ORANGE, zorder=3, label="|bias|")
    panels[0].legend(fontsize=8)
    panels[0].invert_yaxis()
    figure.suptitle(f"{backend} against exact simulation", fontsize=10)
    _save(figure, path)


def _positions(size: int, edges: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Places in the plane whose distances follow those on the coupling map: classical scaling, then stress reduction.

    Devices do not state where their qubits lie. Torgerson's scaling of path lengths unfolds a lattice, SMACOF
    (de Leeuw 1977) evens it out; both are deterministic.
    """
    if not edges:
        return np.stack([np.arange(size, dtype=np.float64), np.zeros(size)], axis=1)
    graph: rustworkx.PyGraph[None, None] = rustworkx.PyGraph()
    graph.add_nodes_from([None] * size)
    graph.add_edges_from([(a, b, None) for a, b in edges])
    paths = rustworkx.distance_matrix(graph, null_value=np.inf)
    distance = np.where(np.isfinite(paths), paths, paths[np.isfinite(paths)].max() + 1)
    centre = np.eye(size) - 1.0 / size
    values, vectors = np.linalg.eigh(-0.5 * centre @ distance**2 @ centre)
    places: NDArray[np.float64] = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
    with np.errstate(divide="ignore"):
        weights = np.where(distance > 0, distance**-2.0, 0.0)
    inverse = np.linalg.pinv(np.diag(weights.sum(axis=1)) - weights)
    for _ in range(100):
        now = np.linalg.norm(places[:, None] - places[None], axis=-1)
        ratio = np.divide(weights * distance, now, out=np.zeros_like(now), where=now > 1e-9)
        places = inverse @ (np.diag(ratio.sum(axis=1)) - ratio) @ places
    return places


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
