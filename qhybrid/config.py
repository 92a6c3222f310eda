"""Strict, typed configuration: YAML file -> `RunConfig`.

A stage runs if its section is present (`sampling`, `evaluation`, `hardware`) or set (`report`). Unknown keys and
wrong types are refused with the key, the value and what is allowed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from qhybrid.errors import ConfigError


class Section(BaseModel):
    """Base of every section: unknown keys forbidden, no silent coercion, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


SectionT = TypeVar("SectionT", bound=Section)


class DataConfig(Section):
    """Which images: a registered data set or an npz file with MedMNIST's keys, and which part of it."""

    name: str = "digits"
    path: str | None = None
    root: str | None = None
    size: Literal[28, 64, 128, 224] | None = None
    classes: list[int] | None = Field(default=None, min_length=1)
    n_train: int | None = Field(default=None, ge=1)
    subset_seed: int = Field(default=0, ge=0)
    download: bool = True

    @model_validator(mode="after")
    def _path_goes_with_npz(self) -> DataConfig:
        if (self.name == "npz") != (self.path is not None):
            raise ValueError("`path` names a file if and only if `name` is `npz`")
        return self


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


class DeviceNoiseConfig(Section):
    """The noise of a device snapshot, applied to the transpiled circuit while it is simulated."""

    device: str
    readout_error: bool = True


class QuantumConfig(Section):
    """The circuit of the `quantum` arm and how it is simulated in training."""

    ansatz: Literal["ry_rz_ladder", "real_amplitudes", "reuploading"] = "ry_rz_ladder"
    qubits: int = Field(default=4, ge=1)
    layers: int = Field(default=3, ge=1)
    simulator: Literal["compiled", "aer"] = "compiled"
    noise: DeviceNoiseConfig | None = None
    shots: int | None = Field(default=None, ge=1)
    gradient: Literal["exact", "parameter_shift"] = "exact"
    allow_dead_parameters: bool = False

    @model_validator(mode="after")
    def _shifts_are_for_shots(self) -> QuantumConfig:
        if self.gradient == "parameter_shift" and (self.simulator == "aer" or self.shots is None):
            raise ValueError(
                "`gradient: parameter_shift` samples shifted circuits: it needs `simulator: compiled` and `shots` "
                "(`simulator: aer` always shifts)"
            )
        return self

    @model_validator(mode="after")
    def _noise_is_for_small_circuits(self) -> QuantumConfig:
        if self.simulator == "compiled" and self.noise is not None and self.qubits > 8:
            raise ValueError(
                f"`noise` with `qubits: {self.qubits}`: the compiled simulator follows density matrices of at most 8 "
                "qubits; use `simulator: aer` with `shots` (trajectories)"
            )
        return self


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
    accept: list[str] = []

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


class TrainingConfig(Section):
    """Optimization, counted in steps, never in epochs."""

    steps: int = Field(default=5000, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    log_every: int = Field(default=50, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mixed_precision: Literal["no", "bf16"] = "no"
    threads: int | None = Field(default=None, ge=1)


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


class EvaluationConfig(Section):
    """Metrics in the feature space of a small classifier trained on the data set."""

    kid_subsets: int = Field(default=100, ge=2)
    kid_subset_size: int = Field(default=100, ge=2)
    neighbours: int = Field(default=3, ge=1)
    seed: int = Field(default=0, ge=0)


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


class RunConfig(Section):
    """Everything that a run needs to be repeated."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9._-]+$")
    seed: int = Field(default=0, ge=0)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    quantum: QuantumConfig = QuantumConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    training: TrainingConfig = TrainingConfig()
    sampling: SamplingConfig | None = None
    evaluation: EvaluationConfig | None = None
    noise_bank: NoiseBankConfig | None = None
    hardware: HardwareConfig | None = None
    report: bool = False

    @model_validator(mode="after")
    def _stages_have_what_they_need(self) -> RunConfig:
        if self.evaluation is not None and self.sampling is None:
            raise ValueError("`evaluation` judges generated images: give a `sampling` section as well")
        if self.hardware is not None and self.model.bottleneck not in ("quantum", "published"):
            raise ValueError(
                f"`hardware` runs the circuit of the bottleneck; `model.bottleneck: {self.model.bottleneck}` has none"
            )
        noise = self.diffusion.noise
        if self.noise_bank is not None and (noise.bank is None or noise.source != self.noise_bank.source):
            raise ValueError(
                f"`noise_bank` (source {self.noise_bank.source}) draws the file that `diffusion.noise.bank` names; "
                f"found `bank: {noise.bank}` and `source: {noise.source}` there"
            )
        if self.sampling is not None and self.sampling.steps > self.diffusion.timesteps:
            raise ValueError(
                f"`sampling.steps: {self.sampling.steps}` exceeds `diffusion.timesteps: {self.diffusion.timesteps}`"
            )
        return self


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats (`3e-4` is a number) and no duplicate keys, which YAML forbids and PyYAML accepts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f"key `{key}` stands twice in the configuration (line {node.start_mark.line + 1})")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d+\.\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def parse_override(text: str) -> tuple[str, Any]:
    """Split `a.b=c` into the dotted key and its YAML value.

    Raises:
        ConfigError: There is no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set `{text}`: expected `section.key=value`")
    return key.strip(), _parse_yaml(value, f"--set `{text}`")


def apply_override(values: dict[str, Any], key: str, value: Any, origin: str) -> None:
    """Set the dotted `key` of nested sections, in place.

    Raises:
        ConfigError: A part of the key is empty, or is a value where a section is needed.
    """
    *path, last = key.split(".")
    if not all([*path, last]):
        raise ConfigError(f"{origin}: expected `section.key`, found `{key}`")
    section = values
    for part in path:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise ConfigError(f"{origin}: `{part}` is a value, not a section")
    section[last] = value


def build_config(values: Mapping[str, Any], origin: str = "configuration") -> RunConfig:
    """Validate a nested mapping.

    Raises:
        ConfigError: One line that names each wrong key, its value and what is allowed.
    """
    return build_section(RunConfig, values, origin)


def build_section(section: type[SectionT], values: Mapping[str, Any], origin: str) -> SectionT:
    """Validate the values of one section, e.g. a stored one with options of the command line on top.

    Raises:
        ConfigError: One line that names each wrong key, its value and what is allowed.
    """
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(_describe(item, section) for item in error.errors())
        raise ConfigError(f"{origin}: {problems}") from None


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML configuration and apply `a.b=c` overrides in order.

    Args:
        path: The YAML file.
        overrides: Texts `section.key=value`; the value is YAML.

    Raises:
        ConfigError: The file cannot be read, or a key or value is not allowed.
    """
    values = read_mapping(path, "configuration")
    for override in overrides:
        key, value = parse_override(override)
        apply_override(values, key, value, f"--set `{override}`")
    return build_config(values, f"configuration `{path}`")


def read_mapping(path: str | Path, what: str) -> dict[str, Any]:
    """The sections of a YAML file, not yet validated.

    Args:
        path: The file.
        what: What a message calls it, e.g. `configuration`.

    Raises:
        ConfigError: The file cannot be read, or holds no sections.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{what} `{path}` cannot be read: {reason}") from None
    values = _parse_yaml(text, f"{what} `{path}`") or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{what} `{path}`: expected sections (`data:`, `training:`, ...), found {values!r}")
    return values


def dump_config(config: RunConfig) -> str:
    """The resolved configuration as YAML; `load_config` reads it back to an equal object."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False)


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from None


def _describe(item: Any, root: type[Section]) -> str:
    """One pydantic error as `key: value is wrong, allowed is ...`."""
    # Union branches appear in the location as type names in brackets; users know only keys.
    key = ".".join(str(part) for part in item["loc"] if not re.search(r"[\[(]", str(part))) or "(top level)"
    if item["type"] == "extra_forbidden":
        return f"unknown key `{key}` (allowed here: {', '.join(_siblings(item['loc'], root))})"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"`{key}`: {message}"
    return f"`{key}` is {item['input']!r}: {message[0].lower()}{message[1:]}"


def _siblings(location: Sequence[Any], root: type[Section]) -> list[str]:
    section: Any = root
    for part in location[:-1]:
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next(item for item in candidates if isinstance(item, type) and issubclass(item, Section))
    return list(section.model_fields)
