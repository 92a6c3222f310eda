"""The network and what sits in its bottleneck."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from qhybrid.config.choice import BottleneckCoreChoice, Choice
from qhybrid.config.notices import notice
from qhybrid.config.section import Section

CLASSICAL_CORES = ("se", "se_frozen", "sine", "fourier", "none")
"""Cores of this package without a circuit, which no device can run."""

SIGHTS = ("image", "class", "time")


class BottleneckConfig(Section):
    """The core between the halves of the U-Net, where its outputs go and what it sees.

    `gate` multiplies the deepest features, channel by channel, by 1 + a linear map of the outputs; `condition` adds the
    map to the time embedding of the decoder, which gets a residual block of its own; with `features` each position of
    the deepest features goes through the core, and no path leads around it.
    """

    core: BottleneckCoreChoice = Field(
        default=Choice("quantum"),
        description="What stands between the two linear maps: `quantum`, `quantum_frozen`, `quantum_product`, "
        "`published` (circuits), `se`, `se_frozen`, `sine`, `fourier` (classical), `none`, or another package's core, "
        "by name or as `{name: ..., option: ...}`.",
    )
    place: Literal["gate", "condition", "features"] = Field(
        default="gate", description="Where the core's outputs go: `gate`, `condition` or `features`."
    )
    sees: list[Literal["image", "class", "time"]] | None = Field(
        default=None,
        description="What the core sees, a part of [image, class, time]; null is [image], and with `condition: class` "
        "all three. Not for `place: features`, where it sees its position of the features and, with `condition: "
        "class`, the class.",
    )

    @classmethod
    def short_form(cls) -> dict[str, Any]:
        """JSON Schema of the old spelling, the core alone."""
        return {"enum": ["plain", "se", "quantum", "published"], "deprecated": True}

    @field_validator("sees")
    @classmethod
    def _in_one_order(cls, value: list[str] | None) -> list[str] | None:
        if value is None:
            return None
        if not value:
            raise ValueError("`sees: []`: a core that sees nothing is a constant; name image, class or time")
        if len(set(value)) != len(value):
            raise ValueError(f"`sees: {value}` names something twice")
        return [sight for sight in SIGHTS if sight in value]

    @model_validator(mode="after")
    def _place_and_core_fit(self) -> BottleneckConfig:
        if self.place == "features" and self.sees is not None:
            raise ValueError(
                f"`sees: {self.sees}` with `place: features`, where the core always sees its position of the features "
                "(and the class, if there is a condition): leave `sees` out"
            )
        if self.place == "features" and self.core.name == "none":
            raise ValueError("`core: none` with `place: features`: nothing would pass; choose a core, or another place")
        return self


class ModelConfig(Section):
    """The U-Net, what it is conditioned on, and its bottleneck."""

    channels: list[Annotated[int, Field(le=16384)]] = Field(
        default=[32, 64, 128],
        min_length=3,
        max_length=3,
        description="Channels of the three resolutions of the U-Net, finest first; each a multiple of 8 up to 16384.",
    )
    time_dim: int = Field(
        default=128,
        ge=8,
        le=16384,
        multiple_of=2,
        description="Length of the time embedding, and of that of the classes, an even number from 8 to 16384.",
    )
    condition: Literal["none", "class"] = Field(
        default="none",
        description="`class`: images of a class that is asked for. The label reaches the network through the core of "
        "the bottleneck and nowhere else.",
    )
    bottleneck: BottleneckConfig = Field(
        default=BottleneckConfig(sees=["image"]), description="The core between the halves of the U-Net."
    )

    @model_validator(mode="before")
    @classmethod
    def _old_spelling_and_default_sight(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        bottleneck = values.get("bottleneck", {})
        if isinstance(bottleneck, str):
            core = "none" if bottleneck == "plain" else bottleneck
            notice(
                "bottleneck",
                f"`model.bottleneck: {bottleneck}` is the old spelling of `model.bottleneck: {{core: {core}}}`",
            )
            bottleneck = {"core": core}
        if isinstance(bottleneck, Mapping) and bottleneck.get("sees") is None:
            bottleneck = dict(bottleneck)
            if bottleneck.get("place") != "features":
                bottleneck["sees"] = list(SIGHTS) if values.get("condition") == "class" else ["image"]
        values["bottleneck"] = bottleneck
        return values

    @model_validator(mode="after")
    def _channels_fit_group_norm(self) -> ModelConfig:
        if any(channels < 8 or channels % 8 for channels in self.channels):
            raise ValueError("every entry of `channels` must be a positive multiple of 8 (group normalization)")
        return self

    @model_validator(mode="after")
    def _label_has_one_way_in(self) -> ModelConfig:
        sees, core = self.bottleneck.sees, self.bottleneck.core.name
        if self.condition == "none" and sees is not None and "class" in sees:
            raise ValueError(f"`bottleneck.sees: {sees}` without a condition: set `condition: class`")
        if self.condition == "class" and core == "none":
            raise ValueError("`condition: class` with `core: none`: the label would have no way into the network")
        if self.condition == "class" and sees is not None and "class" not in sees:
            raise ValueError(
                f"`condition: class` with `bottleneck.sees: {sees}`: the label would have no way into the network; "
                "add class to `sees`"
            )
        return self

    @property
    def sees(self) -> tuple[Literal["image", "class", "time"], ...]:
        """What the core sees, at every place."""
        if self.bottleneck.sees is not None:
            return tuple(self.bottleneck.sees)
        return ("image", "class") if self.condition == "class" else ("image",)
