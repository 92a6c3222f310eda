"""The network and what sits in its bottleneck."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section


class ModelConfig(Section):
    """The U-Net and the arm in its bottleneck."""

    channels: list[int] = Field(default=[32, 64, 128], min_length=3, max_length=3)
    time_dim: int = Field(default=128, ge=8, multiple_of=2)
    bottleneck: Literal["plain", "se", "quantum", "published"] = "quantum"

    @model_validator(mode="after")
    def _channels_fit_group_norm(self) -> ModelConfig:
        if any(channels < 8 or channels % 8 for channels in self.channels):
            raise ValueError("every entry of `channels` must be a positive multiple of 8 (group normalization)")
        return self
