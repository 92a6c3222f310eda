"""Noise levels over time: `alphas_cumprod` of shape (T,), float64, strictly decreasing in (0, 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import DiffusionConfig

# Nichol and Dhariwal 2021 (arXiv 2102.09672), equation 17 and the text below it.
_COSINE_OFFSET = 0.008
_MAX_BETA = 0.999


def alphas_cumprod(config: DiffusionConfig) -> NDArray[np.float64]:
    """The share of signal left at each of the T time steps.

    `linear` is Ho et al. 2020 (arXiv 2006.11239), its betas scaled by 1000 / T so that the end is equally noisy for
    any T; `cosine` is Nichol and Dhariwal 2021.

    Returns:
        Array of shape (T,): `x_t = sqrt(a[t]) x_0 + sqrt(1 - a[t]) epsilon`.
    """
    steps = config.timesteps
    if config.schedule == "linear":
        scale = 1000 / steps
        betas = np.minimum(np.linspace(scale * 1e-4, scale * 0.02, steps), _MAX_BETA)
    else:
        angle = (np.arange(steps + 1) / steps + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * np.pi / 2
        signal = np.cos(angle) ** 2
        betas = np.minimum(1 - signal[1:] / signal[:-1], _MAX_BETA)
    return np.cumprod(1 - betas)
