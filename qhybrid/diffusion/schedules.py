"""The tailored schedule: three curves over the T time steps.

The noise level (`alphas_cumprod`), how often each time step is trained (`time_density`) and the quantum share of the
noise (`quantum_share`). Time runs over u = (t + 1) / T for the noise level, so that u = 0 is the clean image, and over
u = t / (T - 1) for the two others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import DiffusionConfig, ScheduleConfig, ShareConfig
from qhybrid.errors import ConfigError

Curve = NDArray[np.float64]

# Nichol and Dhariwal 2021 (arXiv 2102.09672), equation 17 and the text below it.
_COSINE_OFFSET = 0.008
_MAX_BETA = 0.999


def alphas_cumprod(config: DiffusionConfig) -> Curve:
    """The share of signal left at each of the T time steps: `x_t = sqrt(a[t]) x_0 + sqrt(1 - a[t]) epsilon`.

    `linear` is Ho et al. 2020 (arXiv 2006.11239), its betas scaled by 1000 / T so that the end is equally noisy for
    any T; `cosine` is Nichol and Dhariwal 2021; `cosine_exponent` is cos(pi u / 2) ** (2 exponent) and `sigmoid` the
    sigmoid schedule, both of Chen 2023 (arXiv 2301.10972); `knots` interpolates log(a / (1 - a)) monotonically.

    Returns:
        Array of shape (T,), strictly falling in (0, 1).

    Raises:
        ConfigError: The last time step keeps more signal than `schedule.max_terminal_snr`, or neighbouring time steps
            cannot be told apart.
    """
    steps, schedule = config.timesteps, config.schedule
    # What an extreme curve makes of double precision is judged by `_check`, in one line instead of several warnings.
    with np.errstate(all="ignore"):
        if schedule.kind == "linear":
            scale = 1000 / steps
            betas = np.minimum(np.linspace(scale * 1e-4, scale * 0.02, steps), _MAX_BETA)
            levels = np.cumprod(1 - betas)
        elif schedule.kind == "knots":
            levels = _sigmoid(_through_knots(schedule, np.arange(1, steps + 1) / steps))
        else:
            signal = _signal(schedule, np.arange(steps + 1) / steps)
            levels = np.cumprod(1 - np.minimum(1 - signal[1:] / signal[:-1], _MAX_BETA))
        _check(levels, schedule)
    return np.asarray(levels, dtype=np.float64)


def signal_to_noise(levels: Curve) -> Curve:
    """a / (1 - a)."""
    return levels / (1 - levels)


def terminal_snr(config: DiffusionConfig) -> float:
    """Signal-to-noise ratio of the last time step, which training shows and sampling, from noise alone, does not."""
    return float(signal_to_noise(alphas_cumprod(config))[-1])


def time_density(config: DiffusionConfig) -> Curve:
    """Probability of each time step in training.

    `min_snr` is the loss weight of Hang et al. 2023 (arXiv 2303.09556), drawn instead of multiplied: min(SNR, gamma) /
    SNR for epsilon-prediction, min(SNR, gamma) / (SNR + 1) for v-prediction. The expected gradient is that of the
    weighted loss, up to a factor.

    Returns:
        Array of shape (T,), sum 1.
    """
    times, steps = config.times, config.timesteps
    if times.kind == "uniform":
        weights = np.ones(steps)
    elif times.kind == "knots":
        weights = _along(times.knots or [], steps)
    else:
        ratio = signal_to_noise(alphas_cumprod(config))
        weights = np.minimum(ratio, times.gamma) / (ratio if config.prediction == "epsilon" else ratio + 1)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def quantum_share(share: ShareConfig, timesteps: int) -> Curve:
    """lambda(t) in `epsilon = sqrt(1 - lambda) epsilon_gauss + sqrt(lambda) epsilon_quantum`.

    Returns:
        Array of shape (T,), in [0, 1].
    """
    if share.kind == "knots":
        return _along(share.knots or [], timesteps)
    if share.end is None:
        return np.full(timesteps, share.start)
    u = np.linspace(0, 1, timesteps)
    way = u if share.kind == "linear" else (1 - np.cos(np.pi * u)) / 2
    return np.asarray(np.clip(share.start + (share.end - share.start) * way, 0, 1), dtype=np.float64)


def _signal(schedule: ScheduleConfig, u: Curve) -> Curve:
    """A falling curve from 1 (up to a factor) to 0 at u = 1; the largest allowed beta keeps the last level above 0."""
    if schedule.kind == "cosine":
        return np.asarray(np.cos((u + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * np.pi / 2) ** 2)
    if schedule.kind == "cosine_exponent":
        return np.asarray(np.maximum(np.cos(u * np.pi / 2), 0) ** (2 * schedule.exponent))
    first, last = _sigmoid(np.array([schedule.start, schedule.end]) / schedule.tau)
    now = _sigmoid((u * (schedule.end - schedule.start) + schedule.start) / schedule.tau)
    return np.asarray((last - now) / (last - first))


def _through_knots(schedule: ScheduleConfig, u: Curve) -> Curve:
    from scipy.interpolate import PchipInterpolator

    # Fritsch and Carlson's cubics: smooth, and strictly monotone between strictly monotone knots.
    positions, values = np.array(schedule.knots).T
    return np.asarray(PchipInterpolator(positions, values)(u), dtype=np.float64)


def _along(knots: list[list[float]], steps: int) -> Curve:
    positions, values = np.array(knots).T
    return np.asarray(np.interp(np.linspace(0, 1, steps), positions, values), dtype=np.float64)


def _sigmoid(x: Curve) -> Curve:
    return np.asarray(1 / (1 + np.exp(-x)))


def _check(levels: Curve, schedule: ScheduleConfig) -> None:
    if not (np.all(np.diff(levels) < 0) and levels[-1] > 0 and levels[0] < 1):
        raise ConfigError(
            f"`diffusion.schedule` ({schedule.kind}): neighbouring time steps have the same noise level in double "
            "precision; choose a less extreme curve or fewer time steps"
        )
    terminal = float(signal_to_noise(levels)[-1])
    if schedule.max_terminal_snr is not None and terminal > schedule.max_terminal_snr:
        raise ConfigError(
            f"`diffusion.schedule` ({schedule.kind}) ends with a signal-to-noise ratio of {terminal:.3g}, above "
            f"`max_terminal_snr: {schedule.max_terminal_snr}`: sampling would start from noise that training never "
            "shows; let the curve end lower"
        )
