"""Reverse diffusion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section


class SamplingConfig(Section):
    """Reverse diffusion. `seed` is the seed of image 0; image i uses `seed + i`."""

    sampler: Literal["ddpm", "ddim", "dpm-solver++", "unipc"] = "ddim"
    steps: int = Field(default=50, ge=1)
    eta: float = Field(default=0.0, ge=0, le=1)
    images: int = Field(default=64, ge=1)
    batch_size: int = Field(default=250, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _eta_is_for_ddim(self) -> SamplingConfig:
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"`eta` is for `sampler: ddim`; `{self.sampler}` fixes its own noise level")
        return self
