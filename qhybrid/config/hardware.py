"""The bottleneck on a device, and noise drawn from one."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from qhybrid.config.section import Section


class HardwareConfig(Section):
    """The bottleneck on a device: which one, which denoising steps, how mitigated, at what cost.

    Copies of the circuit run side by side (`pack`) on places whose estimated success is at least `pack_floor` times the
    best one's, more than `pack_spacing` couplings apart. `None` for twirling, trex and zne means: as `level` has it.
    """

    backend: str = "fake_torino"
    images: int = Field(default=16, ge=1)
    steps: int = Field(default=8, ge=1)
    qpu_steps: Literal["auto", "all"] | list[int] = "auto"
    mode: Literal["auto", "job", "batch", "session"] = "auto"
    primitive: Literal["estimator", "sampler"] = "estimator"
    level: Literal[0, 1, 2] = 0
    shots: int = Field(default=1024, ge=1)
    pack: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    pack_floor: float = Field(default=0.85, gt=0, le=1)
    pack_spacing: int = Field(default=1, ge=0)
    twirling: bool | None = None
    dynamical_decoupling: Literal["XX", "XpXm", "XY4"] | None = None
    trex: bool | None = None
    zne: bool | None = None
    zne_factors: list[Annotated[float, Field(ge=1)]] | None = None
    readout_mitigation: bool = True
    fractional_gates: bool = False
    budget_seconds: float | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0)

    @field_validator("qpu_steps", mode="before")
    @classmethod
    def _ranges_of_steps(cls, value: Any) -> Any:
        """`0-3,6` is short for `[0, 1, 2, 3, 6]`."""
        if not isinstance(value, str) or not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", value):
            return value
        bounds = [[int(number) for number in part.split("-")] for part in value.split(",")]
        return [step for bound in bounds for step in range(bound[0], bound[-1] + 1)]

    @model_validator(mode="after")
    def _mitigation_is_of_the_primitive(self) -> HardwareConfig:
        if self.primitive == "sampler" and (self.level or self.trex or self.zne):
            raise ValueError(
                "`level`, `trex` and `zne` are the estimator's; `primitive: sampler` mitigates readout by "
                "`readout_mitigation`"
            )
        extrapolated = self.level == 2 if self.zne is None else self.zne
        if self.zne_factors is not None and not extrapolated:
            raise ValueError("`zne_factors` need `zne: true` or `level: 2`")
        if self.zne_factors is not None and len(set(self.zne_factors)) < 3:
            # A line or an exponential through two points leaves nothing to estimate its error from.
            raise ValueError(f"`zne_factors: {self.zne_factors}`: give at least three different ones")
        twirled = self.level == 2 if self.twirling is None else self.twirling
        if self.fractional_gates and (twirled or extrapolated):
            # A fractional gate is no Clifford gate, and has no inverse among the native ones.
            raise ValueError(
                "`fractional_gates` can be neither twirled nor folded: leave out `level: 2`, `twirling`, `zne`"
            )
        return self


class NoiseBankConfig(Section):
    """A bank of noise drawn from a device by `qhybrid hardware noise`, or by `qhybrid run` from a local copy of one.

    Qubits count as good up to `max_readout_error` and `max_gate_error` of the calibration. `qubits` are at most so many
    of them for `quantum_bits` (all, if `None`), and for `quantum_intrinsic` those of one circuit, the pixels of a tile
    (4, if `None`). `extractor` and `resolution` (bits per normal number) belong to `quantum_bits`. To
    `quantum_intrinsic` belong `shots` per expectation value, and where copies of its circuit run: `places` of them,
    more than `spacing` couplings apart, with an estimated success of at least `floor` times the best one's. Their
    tiles form a patch that images of `image_size` are made of.
    """

    backend: str = "fake_torino"
    source: Literal["quantum_bits", "quantum_intrinsic"] = "quantum_bits"
    normals: int = Field(default=100_000, ge=1)
    extractor: Literal["none", "von_neumann", "toeplitz"] = "von_neumann"
    resolution: int = Field(default=16, ge=4, le=16)
    max_readout_error: float = Field(default=0.05, gt=0, le=1)
    max_gate_error: float = Field(default=0.005, gt=0, le=1)
    qubits: int | None = Field(default=None, ge=1)
    shots: int = Field(default=64, ge=2, le=65535)
    places: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    floor: float = Field(default=0.85, gt=0, le=1)
    spacing: int = Field(default=1, ge=0)
    image_size: int = Field(default=28, ge=1)
    mode: Literal["auto", "job", "batch", "session"] = "auto"
    budget_seconds: float | None = Field(default=None, gt=0)
    name: str | None = None
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _circuits_are_small(self) -> NoiseBankConfig:
        if self.source == "quantum_intrinsic" and self.qubits is not None and self.qubits > 12:
            raise ValueError(f"`quantum_intrinsic` takes circuits of at most 12 qubits, found `qubits: {self.qubits}`")
        return self
