"""Where the noise of the diffusion comes from, and where it enters."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from qhybrid.config.choice import Choice, NoiseSourceChoice
from qhybrid.config.knots import check_knots
from qhybrid.config.section import Section

# Sources that are read from a bank or simulated on a circuit; every other one is built from its own options.
QUANTUM_SOURCES = ("quantum_bits", "quantum_intrinsic")


class ShareConfig(Section):
    """The quantum share lambda(t) in [0, 1]; `share: 0.5` is short for `share: {kind: constant, start: 0.5}`."""

    kind: Literal["constant", "linear", "cosine", "knots"] = Field(
        default="constant",
        description="Form of the curve over time steps; `knots` takes the curve through the points of `knots`.",
    )
    start: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share at the first time step, 0 to 1; with `constant`, at every time step.",
    )
    end: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description=(
            "Share at the last time step, 0 to 1; given if and only if `kind` is `linear` or `cosine`, otherwise null."
        ),
    )
    knots: list[list[float]] | None = Field(
        default=None,
        description=(
            "Points [u, share] of kind `knots`, at least two: u rises from 0 (first time step) to 1 (last), shares lie "
            "in 0 to 1; null for every other kind."
        ),
    )

    @classmethod
    def short_form(cls) -> dict[str, Any]:
        """JSON Schema of a constant share."""
        return {"type": "number", "minimum": 0, "maximum": 1}

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {"kind": "constant", "start": value} if number else value

    @model_validator(mode="after")
    def _share_is_a_share(self) -> ShareConfig:
        if (self.end is not None) != (self.kind in ("linear", "cosine")):
            raise ValueError(f"`end` is given if and only if `kind` is linear or cosine, found `kind: {self.kind}`")
        check_knots(self.kind, self.knots)
        for u, value in self.knots or []:
            if not 0 <= value <= 1:
                raise ValueError(f"the quantum share lies in [0, 1], found {value} at u = {u}")
        return self


class SimulatedNoiseConfig(Section):
    """Quantum noise simulated while it is needed."""

    device: str = Field(
        default="aer",
        description=(
            "Where the circuit runs: `aer` simulates without noise, the name of a device snapshot such as `fake_torino`"
            " with its noise."
        ),
    )
    qubits: int = Field(
        default=8,
        ge=1,
        le=12,
        description="Number of measured qubits, 1 to 12; for `quantum_intrinsic` also the number of pixels of a patch.",
    )
    shots: int = Field(
        default=64,
        ge=2,
        le=65535,
        description="Shots per expectation value, 2 to 65535; only `quantum_intrinsic` uses it.",
    )
    resolution: int = Field(
        default=16, ge=4, le=16, description="Bits per normal number, 4 to 16; only `quantum_bits` uses it."
    )
    extractor: Literal["none", "von_neumann", "toeplitz"] = Field(
        default="von_neumann",
        description="How `quantum_bits` removes bias from measured bits; other sources ignore it.",
    )


class NoiseConfig(Section):
    """Where noise comes from and where it enters; `noise: gaussian` is short for `noise: {source: gaussian}`.

    A quantum source is read from a `bank` file or simulated (`simulate`).
    """

    source: NoiseSourceChoice = Field(
        default=Choice("gaussian"),
        description=(
            "Law of the noise: the name of a registered source, or a mapping of its name and its options. Ours are "
            "`gaussian` (pseudo-random normal numbers), `quantum_bits` (measured bits turned into normal numbers) and "
            "`quantum_intrinsic` (the fluctuation of finite-shot expectation values)."
        ),
    )
    bank: str | None = Field(
        default=None,
        description="File (npz, its record in json beside it) that numbers are read from; null simulates them instead.",
    )
    simulate: SimulatedNoiseConfig | None = Field(
        default=None, description="Circuit that a quantum source simulates when no `bank` is given; null otherwise."
    )
    device: str | None = Field(
        default=None, description="Name of the device that `bank` must come from; null accepts any."
    )
    share: ShareConfig = Field(
        default=ShareConfig(),
        description=(
            "Quantum share lambda of the noise over the time steps: epsilon = sqrt(1 - lambda) gaussian + sqrt(lambda) "
            "quantum."
        ),
    )
    forward: bool = Field(
        default=True, description="Whether the source takes its share of the noise that is added to images in training."
    )
    latent: bool = Field(
        default=True, description="Whether the source takes its share of the initial latents of sampling."
    )
    reverse: bool = Field(
        default=True, description="Whether the source takes its share of the noise of stochastic reverse steps."
    )
    circuit: Literal["both", "training", "sampling"] = Field(
        default="both",
        description=(
            "Stage in which the shots and device noise of the `quantum` section act on the circuit of the bottleneck; "
            "the other stage computes it exactly."
        ),
    )
    reuse: int = Field(default=1, ge=1, description="How often each number of the bank may be used in all, at least 1.")
    accept: list[str] = Field(
        default_factory=list, description="Names of banks that are taken although their certificate fails."
    )

    @classmethod
    def short_form(cls) -> dict[str, Any]:
        """JSON Schema of the source alone, ours or another package's."""
        return {"type": "string", "examples": ["gaussian", *QUANTUM_SOURCES]}

    @model_validator(mode="before")
    @classmethod
    def _source_alone(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _source_has_an_origin(self) -> NoiseConfig:
        name = self.source.name
        if name in QUANTUM_SOURCES:
            if (self.bank is None) == (self.simulate is None):
                raise ValueError(f"`{name}` needs either `bank: FILE` or `simulate: {{device: aer}}`")
        elif self.simulate is not None:
            raise ValueError(f"`simulate` is for {' and '.join(QUANTUM_SOURCES)}; `{name}` takes options of its own")
        elif self.bank is not None and name != "gaussian":
            raise ValueError(f"`bank` holds numbers of gaussian, {' or '.join(QUANTUM_SOURCES)}, none of `{name}`")
        if self.device is not None and self.bank is None:
            raise ValueError("`device` is what a `bank` must come from; a simulated one stands in `simulate.device`")
        return self

    @property
    def plain(self) -> bool:
        """Whether all noise is pseudo-random and Gaussian, from no bank."""
        return self.source.name == "gaussian" and self.bank is None
