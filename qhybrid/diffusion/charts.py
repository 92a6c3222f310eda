"""Figures of schedules and of noise banks, drawn without a display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qhybrid.config import DiffusionConfig
from qhybrid.diffusion.schedules import alphas_cumprod, quantum_share, signal_to_noise, terminal_snr, time_density
from qhybrid.rundir import atomic_path

_INK, _MUTED, _LINE = "#1c2330", "#667085", "#e4e7ec"
BLUE, GREEN, ORANGE = "#5b4bdb", "#0e9384", "#e0663a"
_SNAPSHOTS = 9


def schedule_figure(
    config: DiffusionConfig, image: NDArray[np.float32], gaussian: NDArray[np.float32], quantum: NDArray[np.float32]
) -> Figure:
    """The three curves of a tailored schedule and one image along them.

    Args:
        config: The schedule.
        image: `(H, W)` in [-1, 1].
        gaussian: `(H, W)` Gaussian noise.
        quantum: `(H, W)` noise of the configured source.
    """
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, _SNAPSHOTS, height_ratios=(2, 1))
    levels, share = alphas_cumprod(config), quantum_share(config.noise.share, config.timesteps)
    t = np.arange(config.timesteps)
    third = _SNAPSHOTS // 3
    axes = [figure.add_subplot(grid[0, k * third : (k + 1) * third]) for k in range(3)]
    axes[0].plot(t, np.log(signal_to_noise(levels)), color=BLUE)
    dress(axes[0], f"Log signal-to-noise ratio\n({config.schedule.kind}; it ends at {terminal_snr(config):.1e})", "t")
    axes[1].plot(t, time_density(config) * config.timesteps, color=GREEN)
    dress(axes[1], f"Density of training times\n({config.times.kind}; 1 is uniform)", "t")
    axes[2].plot(t, share, color=ORANGE)
    dress(axes[2], f"Quantum share of the noise\n({config.noise.source}, {config.noise.share.kind})", "t")
    for axis in axes[1:]:
        axis.set_ylim(bottom=0)
    for column, step in enumerate(np.linspace(0, config.timesteps - 1, _SNAPSHOTS).round().astype(int)):
        noise = np.sqrt(1 - share[step]) * gaussian + np.sqrt(share[step]) * quantum
        axis = figure.add_subplot(grid[1, column])
        noisy = np.sqrt(levels[step]) * image + np.sqrt(1 - levels[step]) * noise
        axis.imshow(noisy, cmap="gray", vmin=-1.5, vmax=1.5)
        axis.set_title(f"t = {step}", fontsize=9, color=_MUTED)
        axis.set_axis_off()
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG atomically."""
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def dress(axes: Axes, title: str, xlabel: str) -> None:
    """The look that all charts share."""
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    axes.set_xlabel(xlabel, fontsize=9, color=_MUTED)
    axes.tick_params(which="both", colors=_MUTED, labelsize=8, length=0)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
