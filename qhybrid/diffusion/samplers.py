"""Reverse diffusion on diffusers' schedulers.

A sampler of N steps is the scheduler of a *respaced* process: the N retained time steps with the betas that give
them the same noise levels (Nichol and Dhariwal 2021, arXiv 2102.09672, section 4). So each step ends exactly at the
noise level where the next begins, for any N; diffusers' own spacing of DDIM does so only if N divides T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qhybrid.config import DiffusionConfig
from qhybrid.diffusion.process import Denoiser
from qhybrid.diffusion.schedules import alphas_cumprod
from qhybrid.errors import ConfigError

_PREDICTION_TYPE = {"epsilon": "epsilon", "v": "v_prediction"}


@dataclass(frozen=True)
class Sampler:
    """A scheduler and what it needs from outside.

    Attributes:
        scheduler: diffusers scheduler over the N retained time steps.
        timesteps: `(N,)` int64, decreasing: the time step of the trained process at each reverse step.
        eta: 0 is deterministic DDIM, 1 is DDPM; `None` for samplers that draw no noise.
        resumable: Whether a reverse step depends on nothing but the present image.
    """

    scheduler: Any
    timesteps: Tensor
    eta: float | None
    resumable: bool

    @property
    def stochastic(self) -> bool:
        """Whether reverse steps draw noise."""
        return bool(self.eta)


def build_sampler(config: DiffusionConfig, sampler: str, steps: int, eta: float = 0.0) -> Sampler:
    """A sampler of `steps` reverse steps.

    Args:
        config: The trained process.
        sampler: `ddpm` (ancestral, Ho et al. 2020, posterior variance), `ddim` (Song et al. 2021), `dpm-solver++`
            (2M, Lu et al. 2022) or `unipc` (Zhao et al. 2023).
        steps: N, from 1 to T.
        eta: Noise level of `ddim`.

    Raises:
        ConfigError: More steps than the process has.
    """
    if steps > config.timesteps:
        raise ConfigError(f"{steps} sampling steps asked of a process of {config.timesteps}: take at most that many")
    # Evenly spaced, and always from the last time step, where the latents are pure noise.
    retained = np.round(np.linspace(config.timesteps / steps, config.timesteps, steps)).astype(np.int64) - 1
    levels = alphas_cumprod(config)[retained]
    betas = 1 - levels / np.concatenate([[1.0], levels[:-1]])
    common = {
        "num_train_timesteps": steps,
        "trained_betas": betas,
        "prediction_type": _PREDICTION_TYPE[config.prediction],
        "timestep_spacing": "trailing",
    }
    scheduler, used_eta = _scheduler(sampler, eta, common)
    # diffusers rebuilds the levels from float32 betas, whose resolution is too coarse where hardly any signal is left
    # (1 - beta near the end of a cosine schedule; the square root of DDIM's equation 12 with eta = 1 turns NaN).
    scheduler.alphas_cumprod = torch.from_numpy(levels)
    scheduler.set_timesteps(steps)
    return Sampler(scheduler, torch.from_numpy(retained[::-1].copy()), used_eta, resumable=used_eta is not None)


def _scheduler(sampler: str, eta: float, common: dict[str, Any]) -> tuple[Any, float | None]:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    if sampler in ("ddim", "ddpm"):
        # DDIM with eta = 1 is DDPM (equation 16 of Song et al.); unlike DDPMScheduler it takes the noise from outside.
        return DDIMScheduler(**common, clip_sample=True), 1.0 if sampler == "ddpm" else eta
    # With a maximum of 1, diffusers' dynamic thresholding is clipping of the predicted image to [-1, 1].
    clipped = {**common, "thresholding": True, "sample_max_value": 1.0}
    if sampler == "dpm-solver++":
        return DPMSolverMultistepScheduler(**clipped), None
    if sampler == "unipc":
        return UniPCMultistepScheduler(**clipped), None
    raise ConfigError(f"sampler `{sampler}` is unknown: choose ddpm, ddim, dpm-solver++ or unipc")


@torch.no_grad()
def sample_images(
    denoise: Denoiser,
    sampler: Sampler,
    latents: Tensor,
    noise: Callable[[int], Tensor],
    *,
    start: int = 0,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Run the reverse process.

    Args:
        denoise: `(x (B, C, H, W), t (B,)) -> prediction (B, C, H, W)`.
        sampler: From `build_sampler`; used for one run at a time, since multistep solvers keep a history.
        latents: `(B, C, H, W)`: pure noise, or the images after `start` steps.
        noise: `k -> (B, C, H, W)`, the noise of reverse step k; called only by stochastic samplers.
        start: First step to run.
        callback: Called with (k, x) after each step k.

    Returns:
        Images `(B, C, H, W)`, in [-1, 1] up to the last step's noise.

    Raises:
        ConfigError: `start` > 0 with a sampler whose steps depend on earlier ones.
    """
    if start and not sampler.resumable:
        raise ConfigError("a multistep sampler cannot start in the middle: use ddim or ddpm")
    scheduler = sampler.scheduler
    scheduler.set_timesteps(len(sampler.timesteps))
    x = latents
    for step in range(start, len(sampler.timesteps)):
        t = sampler.timesteps[step].to(x.device)
        prediction = denoise(x, t.expand(len(x)))
        position = scheduler.timesteps[step]
        if sampler.eta is None:
            x = scheduler.step(prediction, position, x).prev_sample
        else:
            drawn = noise(step).to(x.device) if sampler.stochastic else None
            x = scheduler.step(prediction, position, x, eta=sampler.eta, variance_noise=drawn).prev_sample
        if callback is not None:
            callback(step, x)
    return x
