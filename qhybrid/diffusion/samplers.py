"""Reverse diffusion on diffusers' schedulers.

A sampler of N steps is the scheduler of a *respaced* process: the N retained time steps with the betas that give
them the same noise levels (Nichol and Dhariwal 2021, arXiv 2102.09672, section 4). So each step ends exactly at the
noise level where the next begins, for any N; diffusers' own spacing of DDIM does so only if N divides T.

A registered sampler is a function `(options, process: Respaced) -> Scheduled`; see `qhybrid.registry`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.config import Choice, DiffusionConfig
from qhybrid.config.choice import Registered
from qhybrid.diffusion.process import Denoiser
from qhybrid.diffusion.schedules import alphas_cumprod
from qhybrid.errors import ConfigError
from qhybrid.registry import SAMPLERS, NoOptions, register_sampler

_PREDICTION_TYPE = {"epsilon": "epsilon", "v": "v_prediction"}
# With a maximum of 1, diffusers' dynamic thresholding is clipping of the predicted image to [-1, 1].
_CLIPPING = {"thresholding": True, "sample_max_value": 1.0}


@dataclass(frozen=True)
class Scheduled:
    """What a registered sampler builds: a scheduler, and how its steps are to be called.

    Attributes:
        scheduler: An object with the interface of diffusers' schedulers: `set_timesteps(N)`, `timesteps`, and
            `step(prediction, timestep, x).prev_sample`; with an `eta` its `step` also takes `eta` and `variance_noise`.
        eta: Noise level that the steps are called with, 0 draws none; `None` for schedulers that know no such thing.
        resumable: Whether a reverse step depends on nothing but the present image.
    """

    scheduler: Any
    eta: float | None = None
    resumable: bool = False


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


@dataclass(frozen=True)
class Respaced:
    """The process of the N retained time steps, as a registered sampler gets it.

    Attributes:
        betas: `(N,)` float64, the variance that each step adds, from the clean image to noise.
        prediction: What the network predicts, the noise `epsilon` or the velocity `v`.
        eta: `sampling.eta`; 0 for every sampler but `ddim`.
    """

    betas: NDArray[np.float64]
    prediction: str
    eta: float = 0.0

    @property
    def scheduler_arguments(self) -> dict[str, Any]:
        """What the constructor of every scheduler of diffusers takes."""
        return {
            "num_train_timesteps": len(self.betas),
            "trained_betas": self.betas,
            "prediction_type": _PREDICTION_TYPE[self.prediction],
            "timestep_spacing": "trailing",
        }


def build_sampler(config: DiffusionConfig, sampler: str | Choice, steps: int, eta: float = 0.0) -> Sampler:
    """A sampler of `steps` reverse steps.

    Args:
        config: The trained process.
        sampler: A registered name, or the name with options. Ours are `ddpm` (ancestral, Ho et al. 2020, posterior
            variance), `ddim` (Song et al. 2021), `dpm-solver++` (2M, Lu et al. 2022) and `unipc` (Zhao et al. 2023).
        steps: Number of reverse steps, from 1 to T.
        eta: Noise level of `ddim`.

    Raises:
        ConfigError: Unknown sampler or options, more steps than the process has, or a registered sampler that builds
            no `Scheduled`.
    """
    if steps > config.timesteps:
        raise ConfigError(f"{steps} sampling steps asked of a process of {config.timesteps}: take at most that many")
    try:
        choice = Registered(SAMPLERS).choose(sampler)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    entry = SAMPLERS.find(choice.name)
    # Evenly spaced, and always from the last time step, where the latents are pure noise.
    retained = np.round(np.linspace(config.timesteps / steps, config.timesteps, steps)).astype(np.int64) - 1
    levels = alphas_cumprod(config)[retained]
    betas = 1 - levels / np.concatenate([[1.0], levels[:-1]])
    scheduled = entry.builder(choice.options, Respaced(betas, config.prediction, eta))
    if not isinstance(scheduled, Scheduled):
        raise ConfigError(
            f"sampler `{entry.name}` of package `{entry.package}` builds a {type(scheduled).__name__}, not a Scheduled"
        )
    scheduler = scheduled.scheduler
    # diffusers rebuilds the levels from float32 betas, whose resolution is too coarse where hardly any signal is left
    # (1 - beta near the end of a cosine schedule; the square root of DDIM's equation 12 with eta = 1 turns NaN).
    scheduler.alphas_cumprod = torch.from_numpy(levels)
    scheduler.set_timesteps(steps)
    return Sampler(scheduler, torch.from_numpy(retained[::-1].copy()), scheduled.eta, scheduled.resumable)


@register_sampler("ddpm")
def _ddpm(_options: NoOptions, process: Respaced) -> Scheduled:
    """DDIM with eta = 1 is DDPM (equation 16 of Song et al.); unlike DDPMScheduler it takes the noise from outside."""
    return _ddim(_options, replace(process, eta=1.0))


@register_sampler("ddim")
def _ddim(_options: NoOptions, process: Respaced) -> Scheduled:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return Scheduled(DDIMScheduler(**process.scheduler_arguments, clip_sample=True), process.eta, resumable=True)


@register_sampler("dpm-solver++")
def _dpm_solver(_options: NoOptions, process: Respaced) -> Scheduled:
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    return Scheduled(DPMSolverMultistepScheduler(**process.scheduler_arguments, **_CLIPPING))


@register_sampler("unipc")
def _unipc(_options: NoOptions, process: Respaced) -> Scheduled:
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    return Scheduled(UniPCMultistepScheduler(**process.scheduler_arguments, **_CLIPPING))


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
        denoise: Network that gives a prediction `(B, C, H, W)` for noisy images x `(B, C, H, W)` and time steps t
            `(B,)`.
        sampler: Sampler that `build_sampler` made; used for one run at a time, since multistep solvers keep a history.
        latents: `(B, C, H, W)`: pure noise, or the images after `start` steps.
        noise: Function that gives the noise `(B, C, H, W)` of reverse step k; called only by stochastic samplers.
        start: Number of the first step to run.
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
