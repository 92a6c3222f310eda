"""A bottleneck core: the circuit with weights that start near zero (Grant et al. 2019, arXiv 1903.05076)."""

from __future__ import annotations

import torch
from pydantic import Field

from qhybrid.config import Section
from qhybrid.models.cores import CoreRequest, QuantumCore
from qhybrid.registry import register_bottleneck


class SmallStartOptions(Section):
    """Options of `small_start`."""

    width: float = Field(default=0.1, gt=0, description="Weights start between minus and plus this, in radians.")


@register_bottleneck("small_start", section=SmallStartOptions)
def small_start(options: SmallStartOptions, request: CoreRequest) -> QuantumCore:
    """A `QuantumCore`, so that it runs on devices as well; any module (rows, n_in) -> (rows, n_out) may be a core."""
    core = QuantumCore(request)
    with torch.no_grad():
        for weights in core.layer.parameters():
            weights.uniform_(-options.width, options.width)
    return core
