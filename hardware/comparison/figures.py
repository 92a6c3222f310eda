"""Pictures of a comparison between device and simulation; drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from qhybrid.files import atomic_path

_GREY, _BLUE, _ORANGE = "0.75", "#1f77b4", "#e6731a"


def draw_comparison(
    exact: NDArray[np.float64],
    device: NDArray[np.float64],
    noisy_rows: NDArray[np.intp],
    noisy: NDArray[np.float64],
    comparison: dict[str, Any],
    path: Path,
) -> None:
    """Device and noisy simulation against exact values, and the RMS difference of each denoising step; PNG.

    Args:
        exact: Exact expectation values, `(R, n_out)`.
        device: The device's values of the same rows, `(R, n_out)`.
        noisy_rows: Rows that were simulated under the device's noise, `(S,)`.
        noisy: Simulated expectation values of these rows, `(S, n_out)`.
        comparison: The numbers of `comparison.json`.
        path: The PNG file.
    """
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
    """Error of the expectation values, of the images, and the price, of each variant of a run; PNG.

    Args:
        variants: One mapping of numbers per variant.
        backend: Name of the device.
        path: The PNG file.
    """
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


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
