"""Figures of schedules and of noise banks, drawn without a display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qhybrid.config import DiffusionConfig
from qhybrid.diffusion.bank import Bank
from qhybrid.diffusion.randomness import autocorrelation
from qhybrid.diffusion.schedules import alphas_cumprod, quantum_share, signal_to_noise, terminal_snr, time_density
from qhybrid.files import atomic_path

_INK, _MUTED, _LINE = "#1c2330", "#667085", "#e4e7ec"
BLUE, GREEN, ORANGE = "#5b4bdb", "#0e9384", "#e0663a"
_SNAPSHOTS = 9
_SHOWN, _QUANTILES, _COVARIANCE_PIXELS = 1 << 20, 99, 16


def schedule_figure(
    config: DiffusionConfig, image: NDArray[np.float32], gaussian: NDArray[np.float32], quantum: NDArray[np.float32]
) -> Figure:
    """The three curves of a tailored schedule and one image along them.

    Args:
        config: Configuration of the schedule.
        image: Image in [-1, 1] that the noise is added to, `(H, W)`.
        gaussian: Gaussian noise of standard deviation 1, `(H, W)`.
        quantum: Standardized noise of the configured source, `(H, W)`.
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
    dress(axes[2], f"Quantum share of the noise\n({config.noise.source.name}, {config.noise.share.kind})", "t")
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
    """Give axes the look that all charts share.

    Args:
        axes: Changed in place.
        title: Text above them.
        xlabel: Text below them.
    """
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    axes.set_xlabel(xlabel, fontsize=9, color=_MUTED)
    axes.tick_params(which="both", colors=_MUTED, labelsize=8, length=0)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def bank_figure(bank: Bank) -> Figure:
    """Histogram, Q-Q plot, autocorrelation and covariance of a bank's first numbers."""
    from scipy.special import ndtri

    unit = bank.record.unit
    count = min(bank.record.numbers, _SHOWN) // unit * unit
    values = bank.normals(0, count).astype(np.float64)
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    bins = np.linspace(-5, 5, 101)
    axes[0, 0].hist(values, bins, density=True, color=BLUE, alpha=0.7)
    axes[0, 0].plot(bins, np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi), color=_INK, linewidth=1)
    figure.suptitle(f"{bank.record.name}: {count:,} numbers", fontsize=11, color=_INK)
    dress(axes[0, 0], "Histogram and the normal law", "value")
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    shares = np.concatenate([10.0 ** np.arange(-5, -2), shares, 1 - 10.0 ** np.arange(-3, -6, -1)])
    normal = ndtri(np.sort(shares))
    axes[0, 1].plot(normal, normal, color=_LINE)
    axes[0, 1].plot(normal, np.quantile(values, np.sort(shares)), ".", markersize=4, color=GREEN)
    dress(axes[0, 1], "Q-Q: quantiles against normal ones", "normal quantile")
    correlation, limit = lagged(values, unit)
    axes[1, 0].vlines(np.arange(1, len(correlation) + 1), 0, correlation, color=ORANGE)
    axes[1, 0].axhspan(-limit, limit, color=_LINE, alpha=0.6)
    successive = "evaluations of the circuit" if unit > 1 else "numbers"
    dress(axes[1, 0], f"Autocorrelation of {successive}\n(two standard errors shaded)", "lag")
    side = unit if unit > 1 else _COVARIANCE_PIXELS
    rows = values[: count // side * side].reshape(-1, side)
    shown = axes[1, 1].imshow(np.cov(rows.T).reshape(side, side), cmap="coolwarm", vmin=-1, vmax=1)
    figure.colorbar(shown, ax=axes[1, 1], shrink=0.8)
    title = "of the pixels of a patch" if unit > 1 else f"of {side} successive numbers"
    axes[1, 1].set_title(f"Covariance {title}", loc="left", fontsize=10, color=_INK)
    return figure


def lagged(values: NDArray[np.float64], unit: int) -> tuple[NDArray[np.float64], float]:
    """Autocorrelation to lag 64, over each pixel of a patch and averaged, and two of its standard errors."""
    columns = values.reshape(-1, unit).T
    rows = np.stack([autocorrelation(column) for column in columns])
    # Correlated pixels have correlated autocorrelations: the variance of their mean is that of 1 / E times this.
    shared = np.sum(np.corrcoef(columns) ** 2) / unit**2
    return rows.mean(axis=0), float(2 * np.sqrt(shared / columns.shape[1]))
