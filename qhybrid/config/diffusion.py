"""Forward process, schedule and noise."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section


def _check_knots(kind: str, knots: list[list[float]] | None) -> None:
    """Knots exist if asked for and run over u from 0 to 1."""
    if (knots is not None) != (kind == "knots"):
        raise ValueError(f"`knots` are given if and only if `kind` is knots, found `kind: {kind}`")
    if knots is None:
        return
    if len(knots) < 2 or any(len(knot) != 2 for knot in knots):
        raise ValueError(f"`knots` are at least two pairs [u, value], found {knots}")
    positions = [u for u, _ in knots]
    rising = all(u < v for u, v in itertools.pairwise(positions))
    if positions[0] != 0 or positions[-1] != 1 or not rising:
        raise ValueError(f"the u of the knots must rise from 0 to 1, found {positions}")
    if not all(math.isfinite(value) for _, value in knots):
        raise ValueError(f"the values of the knots must be finite, found {[value for _, value in knots]}")


class ScheduleConfig(Section):
    """The noise level over time; `schedule: cosine` is short for `schedule: {kind: cosine}`.

    `exponent` belongs to `cosine_exponent`, `start`, `end` and `tau` to `sigmoid`. `knots` are pairs [u, log SNR], u
    from 0 (clean) to 1 (noise), log SNR falling. What the last time step still shows of the image, its signal-to-noise
    ratio, may not exceed `max_terminal_snr`, since sampling starts from noise alone.
    """

    kind: Literal["linear", "cosine", "sigmoid", "cosine_exponent", "knots"] = "cosine"
    exponent: float = Field(default=1.0, gt=0, le=4)
    start: float = -3.0
    end: float = 3.0
    tau: float = Field(default=1.0, gt=0)
    knots: list[list[float]] | None = None
    max_terminal_snr: float = Field(default=1e-2, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _curve_is_monotone(self) -> ScheduleConfig:
        if self.start >= self.end:
            raise ValueError(f"`start: {self.start}` of the sigmoid must lie below `end: {self.end}`")
        _check_knots(self.kind, self.knots)
        for (u, before), (v, after) in itertools.pairwise(self.knots or []):
            if after >= before:
                raise ValueError(f"log SNR must fall from knot to knot: {before} at u = {u}, then {after} at u = {v}")
        return self


class TimeDensityConfig(Section):
    """How often each time step is trained; `times: min_snr` is short for `times: {kind: min_snr}`.

    `min_snr` draws in proportion to the weight of Hang et al. 2023 with `gamma`; `knots` are pairs [u, density >= 0].
    """

    kind: Literal["uniform", "min_snr", "knots"] = "uniform"
    gamma: float = Field(default=5.0, gt=0)
    knots: list[list[float]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _density_is_positive(self) -> TimeDensityConfig:
        _check_knots(self.kind, self.knots)
        densities = [value for _, value in self.knots or []]
        if densities and (min(densities) < 0 or max(densities) == 0):
            raise ValueError(f"a density is nowhere negative and somewhere positive, found {densities}")
        return self


class ShareConfig(Section):
    """The quantum share lambda(t) in [0, 1]; `share: 0.5` is short for `share: {kind: constant, start: 0.5}`.

    From `start` at the first time step to `end` at the last (`linear`, `cosine`); `knots` are pairs [u, lambda].
    """

    kind: Literal["constant", "linear", "cosine", "knots"] = "constant"
    start: float = Field(default=1.0, ge=0, le=1)
    end: float | None = Field(default=None, ge=0, le=1)
    knots: list[list[float]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {"kind": "constant", "start": value} if number else value

    @model_validator(mode="after")
    def _share_is_a_share(self) -> ShareConfig:
        if (self.end is not None) != (self.kind in ("linear", "cosine")):
            raise ValueError(f"`end` is given if and only if `kind` is linear or cosine, found `kind: {self.kind}`")
        _check_knots(self.kind, self.knots)
        for u, value in self.knots or []:
            if not 0 <= value <= 1:
                raise ValueError(f"the quantum share lies in [0, 1], found {value} at u = {u}")
        return self


class SimulatedNoiseConfig(Section):
    """Quantum noise simulated while it is needed: `aer` is noiseless Aer, else the name of a device snapshot.

    `shots` (per expectation value) belongs to `quantum_intrinsic`, `resolution` (bits per normal number) and
    `extractor` to `quantum_bits`.
    """

    device: str = "aer"
    qubits: int = Field(default=8, ge=1, le=12)
    shots: int = Field(default=64, ge=2, le=65535)
    resolution: int = Field(default=16, ge=4, le=16)
    extractor: Literal["none", "von_neumann", "toeplitz"] = "von_neumann"


class NoiseConfig(Section):
    """Where noise comes from and where it enters; `noise: gaussian` is short for `noise: {source: gaussian}`.

    A quantum source is read from a `bank` file or simulated (`simulate`). It takes the share lambda(t) of the noise in
    the forward process of training (`forward`), in the initial latents (`latent`) and in stochastic reverse steps
    (`reverse`). `circuit` says in which stage the shots and the device noise of the `quantum` section act on the
    circuit of the bottleneck. `device` is what a bank must come from, `reuse` how often each of its numbers may be
    used, and `accept` names sources that are taken although their certificate fails.
    """

    source: Literal["gaussian", "quantum_bits", "quantum_intrinsic"] = "gaussian"
    bank: str | None = None
    simulate: SimulatedNoiseConfig | None = None
    device: str | None = None
    share: ShareConfig = ShareConfig()
    forward: bool = True
    latent: bool = True
    reverse: bool = True
    circuit: Literal["both", "training", "sampling"] = "both"
    reuse: int = Field(default=1, ge=1)
    accept: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _source_alone(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _source_has_an_origin(self) -> NoiseConfig:
        if self.source == "gaussian":
            if self.simulate is not None:
                raise ValueError(
                    "`simulate` is for quantum sources; `gaussian` is pseudo-random (with or without `bank`)"
                )
        elif (self.bank is None) == (self.simulate is None):
            raise ValueError(f"`{self.source}` needs either `bank: FILE` or `simulate: {{device: aer}}`")
        if self.device is not None and self.bank is None:
            raise ValueError("`device` is what a `bank` must come from; a simulated one stands in `simulate.device`")
        return self


class DiffusionConfig(Section):
    """Forward process, what the network predicts, and the noise of both directions.

    The tailored schedule is three curves over time: `schedule` (noise level), `times` (how often each time step is
    trained) and `noise.share` (the quantum share of the noise).
    """

    timesteps: int = Field(default=1000, ge=2)
    schedule: ScheduleConfig = ScheduleConfig()
    times: TimeDensityConfig = TimeDensityConfig()
    prediction: Literal["epsilon", "v"] = "epsilon"
    noise: NoiseConfig = NoiseConfig()
