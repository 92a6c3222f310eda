"""Reverse diffusion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section, Seed, check_seeds


class SamplingConfig(Section):
    """Reverse diffusion: how images are generated from noise."""

    sampler: Literal["ddpm", "ddim", "dpm-solver++", "unipc"] = Field(
        default="ddim",
        description="Reverse process: `ddpm` and `ddim` with `eta` above 0 draw noise in every step, the others none.",
    )
    steps: int = Field(
        default=50, ge=1, description="Reverse steps per image, at least 1 and at most `diffusion.timesteps`."
    )
    eta: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Noise level of `ddim`: 0 is deterministic, 1 is DDPM; other samplers allow 0 only.",
    )
    images: int = Field(default=64, ge=1, description="Number of images to generate, at least 1.")
    batch_size: int = Field(
        default=250, ge=1, description="Images generated at a time, at least 1; an image does not depend on it."
    )
    seed: Seed = Field(default=0, description="Seed of image 0, 0 or more; image i uses `seed` + i.")

    @model_validator(mode="after")
    def _every_image_has_a_seed(self) -> SamplingConfig:
        check_seeds(self.seed, self.images, "seed")
        return self

    @model_validator(mode="after")
    def _eta_is_for_ddim(self) -> SamplingConfig:
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"`eta` is for `sampler: ddim`; `{self.sampler}` fixes its own noise level")
        return self
