"""The bottleneck on a device, and noise drawn from one."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from qhybrid.config.section import Section, Seed, check_seeds

_RANGES = r"^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$"
_STEPS_SCHEMA = {
    "anyOf": [
        {"enum": ["auto", "all"]},
        {"type": "string", "pattern": _RANGES},
        {"type": "array", "items": {"type": "integer"}},
    ]
}
MOST_NOISE = 50
"""Largest noise factor. A circuit is folded to so many times its gates: at a factor of 99 a job of 4 qubits and 3
layers took 20 s to prepare, and nothing is left of a signal long before."""

BudgetSeconds = Annotated[
    float | None,
    Field(gt=0, description="Most seconds of device time that may be spent, above 0; null sets no limit of its own."),
]
BudgetCost = Annotated[
    float | None,
    Field(
        gt=0,
        description=(
            "Most money that may be spent, above 0, in the currency of `price_per_second`, which it needs; null sets "
            "no limit. Of two budgets the stricter one holds."
        ),
    ),
]
Price = Annotated[
    float | None,
    Field(
        gt=0,
        description=(
            "What a second of device time costs by your contract, above 0, in any currency; null shows no prices. It "
            "changes nothing that is sent."
        ),
    ),
]
BUDGET_KEYS = ("budget_seconds", "budget_cost", "price_per_second")
"""Keys that limit what is paid, and decide no result."""


def check_price(budget_cost: float | None, price_per_second: float | None) -> None:
    """Refuse a budget in money that no seconds can be held against.

    Args:
        budget_cost: Most money that may be spent; `None` sets no limit.
        price_per_second: Price of a second of device time; `None` if it is not known.

    Raises:
        ValueError: There is no price.
    """
    if budget_cost is not None and price_per_second is None:
        raise ValueError(f"`budget_cost: {budget_cost:g}` needs `price_per_second`, what a second of the device costs")


class HardwareConfig(Section):
    """The bottleneck on a device: which one, which denoising steps, how mitigated, at what cost."""

    backend: str = Field(
        default="fake_torino",
        description=(
            "Name of an IBM device such as `ibm_torino`, `least_busy` for the account's one with the shortest queue, a "
            "local copy of a device such as `fake_torino`, or `aer` for a simulator without noise."
        ),
    )
    images: int = Field(default=16, ge=1, le=1_000_000, description="Number of images to generate, 1 to 1,000,000.")
    steps: int = Field(default=8, ge=1, description="Reverse steps per image, at least 1.")
    qpu_steps: Annotated[Literal["auto", "all"] | list[int], WithJsonSchema(_STEPS_SCHEMA)] = Field(
        default="auto",
        description=(
            "Reverse steps whose circuit runs on the device, counted from 0 (pure noise): a list, a text such as "
            "`0-3,6`, `all`, or `auto` for those that carry 90 % of the circuit's influence and fit into the budget."
        ),
    )
    mode: Literal["auto", "job", "batch", "session"] = Field(
        default="auto",
        description="Execution mode of Qiskit Runtime; `auto` takes the best that the account's plan allows.",
    )
    primitive: Literal["estimator", "sampler"] = Field(
        default="estimator",
        description="Which primitive runs the circuit: `estimator` returns expectation values, `sampler` bit strings.",
    )
    level: Literal[0, 1, 2] = Field(
        default=0,
        description=(
            "Resilience level of the estimator: 0 none, 1 readout mitigation (TREX), 2 also twirling and zero-noise "
            "extrapolation."
        ),
    )
    shots: int = Field(default=1024, ge=1, description="Shots per circuit, at least 1.")
    pack: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        default="auto",
        description=(
            "Copies of the circuit side by side on the device, at least 1; `auto` takes as many good places as there "
            "are."
        ),
    )
    pack_floor: float = Field(
        default=0.85,
        gt=0,
        le=1,
        description="Least estimated success of a place, relative to the best one's, above 0 and at most 1.",
    )
    pack_spacing: int = Field(default=1, ge=0, description="Copies lie more than this many couplings apart, 0 or more.")
    twirling: bool | None = Field(
        default=None, description="Whether gates are Pauli-twirled; null does as `level` has it."
    )
    dynamical_decoupling: Literal["XX", "XpXm", "XY4"] | None = Field(
        default=None, description="Sequence of pulses on idle qubits; null sends none."
    )
    trex: bool | None = Field(
        default=None,
        description="Whether readout is mitigated by twirled readout error extinction; null does as `level` has it.",
    )
    zne: bool | None = Field(
        default=None,
        description="Whether expectation values are extrapolated to zero noise; null does as `level` has it.",
    )
    zne_factors: list[Annotated[float, Field(ge=1, le=MOST_NOISE)]] | None = Field(
        default=None,
        description=(
            f"Noise factors of the extrapolation, at least three different numbers from 1 to {MOST_NOISE}; null takes "
            "Runtime's own."
        ),
    )
    readout_mitigation: bool = Field(
        default=True,
        description="Whether the bit strings of `primitive: sampler` are corrected for measured readout errors.",
    )
    rescale: bool = Field(
        default=False,
        description=(
            "Whether expectation values are rescaled by a factor and a shift for each observable and copy, learned "
            "from reference points that are simulated exactly: the run's own where its angles are known beforehand, "
            "else at most 10 % more executions."
        ),
    )
    fractional_gates: bool = Field(
        default=False,
        description=(
            "Whether rotations RX and RZZ are native gates: shorter circuits, but neither twirled nor extrapolated."
        ),
    )
    budget_seconds: BudgetSeconds = None
    budget_cost: BudgetCost = None
    price_per_second: Price = None
    seed: Seed = Field(default=0, description="Seed of image 0, 0 or more; image i uses `seed` + i.")

    @field_validator("qpu_steps", mode="before")
    @classmethod
    def _ranges_of_steps(cls, value: Any) -> Any:
        """`0-3,6` is short for `[0, 1, 2, 3, 6]`.

        Raises:
            ValueError: A range runs backwards.
        """
        if not isinstance(value, str) or not re.fullmatch(_RANGES, value):
            return value
        bounds = [[int(number) for number in part.split("-")] for part in value.split(",")]
        for first, last in ((bound[0], bound[-1]) for bound in bounds):
            if first > last:
                raise ValueError(f"the range {first}-{last} runs backwards: write {last}-{first}")
        return [step for bound in bounds for step in range(bound[0], bound[-1] + 1)]

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> HardwareConfig:
        check_price(self.budget_cost, self.price_per_second)
        return self

    @model_validator(mode="after")
    def _every_image_has_a_seed(self) -> HardwareConfig:
        check_seeds(self.seed, self.images, "seed")
        return self

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

    `extractor` and `resolution` belong to `quantum_bits`; `shots`, `places`, `floor`, `spacing` and `image_size` to
    `quantum_intrinsic`, where copies of one circuit run side by side and their tiles form a patch of an image.
    """

    backend: str = Field(
        default="fake_torino",
        description=(
            "Name of an IBM device such as `ibm_torino`, `least_busy` for the one with the shortest queue, or a "
            "local copy of a device such as `fake_torino`."
        ),
    )
    source: Literal["quantum_bits", "quantum_intrinsic"] = Field(
        default="quantum_bits", description="Law of the noise; the same as `diffusion.noise.source`."
    )
    normals: int = Field(default=100_000, ge=1, description="Number of noise values wanted, at least 1.")
    extractor: Literal["none", "von_neumann", "toeplitz"] = Field(
        default="von_neumann", description="How `quantum_bits` removes bias from measured bits."
    )
    resolution: int = Field(default=16, ge=4, le=16, description="Bits per normal number of `quantum_bits`, 4 to 16.")
    max_readout_error: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Largest readout error of a good qubit in the calibration, above 0 and at most 1.",
    )
    max_gate_error: float = Field(
        default=0.005,
        gt=0,
        le=1,
        description="Largest gate error of a good qubit in the calibration, above 0 and at most 1.",
    )
    qubits: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Most qubits of `quantum_bits` (null takes all good ones), or qubits of one circuit of `quantum_intrinsic`,"
            " the pixels of a tile, at most 12 (null takes 4)."
        ),
    )
    shots: int = Field(
        default=64, ge=2, le=65535, description="Shots per expectation value of `quantum_intrinsic`, 2 to 65535."
    )
    places: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        default="auto",
        description=(
            "Copies of the circuit of `quantum_intrinsic` side by side, at least 1; `auto` takes as many good places as"
            " there are."
        ),
    )
    floor: float = Field(
        default=0.85,
        gt=0,
        le=1,
        description="Least estimated success of a place, relative to the best one's, above 0 and at most 1.",
    )
    spacing: int = Field(default=1, ge=0, description="Copies lie more than this many couplings apart, 0 or more.")
    image_size: int = Field(
        default=28,
        ge=1,
        description="Side in pixels of the images that patches of `quantum_intrinsic` must tile, at least 1.",
    )
    mode: Literal["auto", "job", "batch", "session"] = Field(
        default="auto",
        description="Execution mode of Qiskit Runtime; `auto` takes the best that the account's plan allows.",
    )
    budget_seconds: BudgetSeconds = None
    budget_cost: BudgetCost = None
    price_per_second: Price = None
    name: str | None = Field(
        default=None,
        description="Name by which a configuration may accept the bank; null joins the names of file and device.",
    )
    seed: Seed = Field(
        default=0, description="Seed of a draw from a local copy, 0 or more; a device draws anew each time."
    )

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> NoiseBankConfig:
        check_price(self.budget_cost, self.price_per_second)
        return self

    @model_validator(mode="after")
    def _circuits_are_small(self) -> NoiseBankConfig:
        if self.source == "quantum_intrinsic" and self.qubits is not None and self.qubits > 12:
            raise ValueError(f"`quantum_intrinsic` takes circuits of at most 12 qubits, found `qubits: {self.qubits}`")
        return self
