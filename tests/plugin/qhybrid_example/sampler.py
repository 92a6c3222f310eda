"""A sampler: DEIS (Zhang and Chen 2022, arXiv 2204.13902)."""

from __future__ import annotations

from pydantic import Field

from qhybrid.config import Section
from qhybrid.diffusion.samplers import Respaced, Scheduled
from qhybrid.registry import register_sampler


class DeisOptions(Section):
    """Options of `deis`."""

    order: int = Field(default=2, ge=1, le=3, description="Steps that the solver looks back.")


@register_sampler("deis", section=DeisOptions)
def deis(options: DeisOptions, process: Respaced) -> Scheduled:
    """A scheduler of diffusers over the retained time steps; it draws no noise and keeps a history."""
    from diffusers.schedulers.scheduling_deis_multistep import DEISMultistepScheduler

    return Scheduled(DEISMultistepScheduler(**process.scheduler_arguments, solver_order=options.order))
