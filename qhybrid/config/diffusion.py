"""Forward process and schedule."""

from __future__ import annotations

import itertools
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from qhybrid.config.knots import check_knots
from qhybrid.config.noise import NoiseConfig
from qhybrid.config.section import Section


def _names_of(section: type[Section], field: str) -> dict[str, Any]:
    """JSON Schema of the names that a field of literals allows."""
    return {"enum": list(get_args(section.model_fields[field].annotation))}


class ScheduleConfig(Section):
    """The noise level over time; `schedule: cosine` is short for `schedule: {kind: cosine}`.

    `exponent` belongs to `cosine_exponent`; `start`, `end` and `tau` belong to `sigmoid`, `knots` to `knots`.
    """

    kind: Literal["linear", "cosine", "sigmoid", "cosine_exponent", "knots"] = Field(
        default="cosine", description="Form of the curve; `knots` takes the curve through the points of `knots`."
    )
    exponent: float = Field(
        default=1.0,
        gt=0,
        le=4,
        description="Exponent of `cosine_exponent`, above 0 and at most 4; other kinds ignore it.",
    )
    start: float = Field(
        default=-3.0,
        description="Argument of the sigmoid at the clean end, below `end`; kinds other than `sigmoid` ignore it.",
    )
    end: float = Field(
        default=3.0,
        description="Argument of the sigmoid at the noisy end, above `start`; kinds other than `sigmoid` ignore it.",
    )
    tau: float = Field(
        default=1.0,
        gt=0,
        description=(
            "Temperature of the sigmoid, above 0: the smaller, the steeper; kinds other than `sigmoid` ignore it."
        ),
    )
    knots: list[list[float]] | None = Field(
        default=None,
        description=(
            "Points [u, log SNR] of kind `knots`, at least two: u rises from 0 (clean) to 1 (noise) and the natural "
            "logarithm of the signal-to-noise ratio falls; null for every other kind."
        ),
    )
    max_terminal_snr: float | None = Field(
        default=1e-2,
        gt=0,
        description=(
            "Largest signal-to-noise ratio that the last time step may have, above 0, since sampling starts from noise "
            "alone; null allows any."
        ),
    )

    @classmethod
    def short_form(cls) -> dict[str, Any]:
        """JSON Schema of the kind alone."""
        return _names_of(cls, "kind")

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _curve_is_monotone(self) -> ScheduleConfig:
        if self.start >= self.end:
            raise ValueError(f"`start: {self.start}` of the sigmoid must lie below `end: {self.end}`")
        check_knots(self.kind, self.knots)
        for (u, before), (v, after) in itertools.pairwise(self.knots or []):
            if after >= before:
                raise ValueError(f"log SNR must fall from knot to knot: {before} at u = {u}, then {after} at u = {v}")
        return self


class TimeDensityConfig(Section):
    """How often each time step is trained; `times: min_snr` is short for `times: {kind: min_snr}`."""

    kind: Literal["uniform", "min_snr", "knots"] = Field(
        default="uniform",
        description=(
            "Density over time steps: `uniform`, `min_snr` (in proportion to the loss weight of Hang et al. 2023) or "
            "through the points of `knots`."
        ),
    )
    gamma: float = Field(
        default=5.0,
        gt=0,
        description="Signal-to-noise ratio at which `min_snr` clips its weight, above 0; other kinds ignore it.",
    )
    knots: list[list[float]] | None = Field(
        default=None,
        description=(
            "Points [u, density] of kind `knots`, at least two: u rises from 0 (first time step) to 1 (last), densities"
            " are 0 or more, not all 0; null for every other kind."
        ),
    )

    @classmethod
    def short_form(cls) -> dict[str, Any]:
        """JSON Schema of the kind alone."""
        return _names_of(cls, "kind")

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _density_is_positive(self) -> TimeDensityConfig:
        check_knots(self.kind, self.knots)
        densities = [value for _, value in self.knots or []]
        if densities and (min(densities) < 0 or max(densities) == 0):
            raise ValueError(f"a density is nowhere negative and somewhere positive, found {densities}")
        return self


class DiffusionConfig(Section):
    """Forward process, what the network predicts, and the noise of both directions.

    The tailored schedule is three curves over time: `schedule` (noise level), `times` (how often each time step is
    trained) and `noise.share` (the quantum share of the noise).
    """

    timesteps: int = Field(
        default=1000, ge=2, le=1_000_000, description="Number T of time steps of the forward process, 2 to 1,000,000."
    )
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="Noise level over time.")
    times: TimeDensityConfig = Field(default=TimeDensityConfig(), description="How often each time step is trained.")
    prediction: Literal["epsilon", "v"] = Field(
        default="epsilon",
        description="What the network predicts: the noise `epsilon`, or the velocity `v` of Salimans and Ho 2022.",
    )
    noise: NoiseConfig = Field(default=NoiseConfig(), description="Where noise comes from and where it enters.")
