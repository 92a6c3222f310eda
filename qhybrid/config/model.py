"""The network and what sits in its bottleneck."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section


class ModelConfig(Section):
    """The U-Net and the arm in its bottleneck."""

    channels: list[int] = Field(
        default=[32, 64, 128],
        min_length=3,
        max_length=3,
        description="Channels of the three resolutions of the U-Net, the finest first; each a positive multiple of 8.",
    )
    time_dim: int = Field(
        default=128, ge=8, multiple_of=2, description="Length of the sinusoidal time embedding, an even number from 8."
    )
    bottleneck: Literal["plain", "se", "quantum", "published"] = Field(
        default="quantum",
        description=(
            "Arm in the bottleneck: no gate, a classical gate of as many parameters, the circuit, or the circuit as "
            "published (which cannot learn)."
        ),
    )

    @model_validator(mode="after")
    def _channels_fit_group_norm(self) -> ModelConfig:
        if any(channels < 8 or channels % 8 for channels in self.channels):
            raise ValueError("every entry of `channels` must be a positive multiple of 8 (group normalization)")
        return self
