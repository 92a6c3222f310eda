"""All sections of a run, validated together; errors in one line."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError, model_validator

from qhybrid.config.data import DataConfig
from qhybrid.config.diffusion import DiffusionConfig
from qhybrid.config.evaluation import EvaluationConfig
from qhybrid.config.hardware import HardwareConfig, NoiseBankConfig
from qhybrid.config.model import CLASSICAL_CORES, ModelConfig
from qhybrid.config.quantum import QuantumConfig
from qhybrid.config.sampling import SamplingConfig
from qhybrid.config.section import Section, SectionT, Seed
from qhybrid.config.tracking import TrackingConfig
from qhybrid.config.training import TrainingConfig
from qhybrid.errors import ConfigError


class RunConfig(Section):
    """Everything that a run needs to be repeated."""

    name: str = Field(
        default="run",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Name of the run and of its default folder: letters, digits, `.`, `_` and `-`.",
    )
    seed: Seed = Field(default=0, description="Seed of initial weights, batches and training noise, 0 or more.")
    data: DataConfig = Field(default=DataConfig(), description="Which images.")
    model: ModelConfig = Field(default=ModelConfig(), description="The network and the arm in its bottleneck.")
    quantum: QuantumConfig = Field(default=QuantumConfig(), description="The circuit and how it is simulated.")
    diffusion: DiffusionConfig = Field(default=DiffusionConfig(), description="Forward process, schedule and noise.")
    training: TrainingConfig = Field(default=TrainingConfig(), description="Optimization.")
    sampling: SamplingConfig | None = Field(
        default=None, description="Reverse diffusion; null ends `qhybrid run` after training."
    )
    evaluation: EvaluationConfig | None = Field(
        default=None, description="Metrics of the generated images (needs `sampling`); null leaves this stage out."
    )
    noise_bank: NoiseBankConfig | None = Field(
        default=None,
        description="How the file `diffusion.noise.bank` is drawn if it does not exist; null expects it to exist.",
    )
    hardware: HardwareConfig | None = Field(
        default=None, description="The trained circuit on a device; null leaves this stage out."
    )
    report: bool = Field(default=False, description="Whether `qhybrid run` ends by writing `report.html`.")
    tracking: TrackingConfig | None = Field(
        default=None, description="TensorBoard, MLflow or Weights & Biases beside the run directory; null is none."
    )

    @model_validator(mode="after")
    def _stages_have_what_they_need(self) -> RunConfig:
        if self.evaluation is not None and self.sampling is None:
            raise ValueError("`evaluation` judges generated images: give a `sampling` section as well")
        core = self.model.bottleneck.core.name
        if self.hardware is not None and core in CLASSICAL_CORES:
            raise ValueError(f"`hardware` runs the circuit of the bottleneck; `model.bottleneck.core: {core}` has none")
        if self.hardware is not None and self.model.bottleneck.place == "features":
            raise ValueError(
                "`hardware` runs one circuit per image and denoising step; `model.bottleneck.place: features` has one "
                "for every position: choose `gate` or `condition`"
            )
        if self.sampling is not None:
            check_sampling(self, self.sampling)
        noise = self.diffusion.noise
        if self.noise_bank is not None and (noise.bank is None or noise.source.name != self.noise_bank.source):
            raise ValueError(
                f"`noise_bank` (source {self.noise_bank.source}) draws the file that `diffusion.noise.bank` names; "
                f"found `bank: {noise.bank}` and `source: {noise.source.name}` there"
            )
        return self


def check_sampling(config: RunConfig, sampling: SamplingConfig) -> None:
    """Refuse a way to sample that the model of a run does not know.

    Args:
        config: The run; its own `sampling` section is not looked at.
        sampling: How its images are to be made.

    Raises:
        ConfigError: More reverse steps than time steps; classes or guidance asked of an unconditional model; guidance
            by a model that never learnt to do without a label.
    """
    if sampling.steps > config.diffusion.timesteps:
        raise ConfigError(
            f"`sampling.steps: {sampling.steps}` exceeds `diffusion.timesteps: {config.diffusion.timesteps}`"
        )
    conditional = config.model.condition == "class"
    if sampling.guidance != 1.0 and not conditional:
        raise ConfigError(
            f"`sampling.guidance: {sampling.guidance:g}` without a condition: the model is trained with "
            "`model.condition: none`, so there is no label to follow; set `model.condition: class`"
        )
    if sampling.guidance != 1.0 and config.training.label_dropout == 0:
        raise ConfigError(
            f"`sampling.guidance: {sampling.guidance:g}` with `training.label_dropout: 0`: the model never learns to "
            "do without a label; train with a dropout of 0.1, say"
        )
    if sampling.classes != "balanced" and not conditional:
        raise ConfigError(
            f"`sampling.classes: {sampling.classes}` asked of an unconditional model (`model.condition: none`): train "
            "one with `model.condition: class`"
        )


def build_config(values: Mapping[str, Any], origin: str = "configuration") -> RunConfig:
    """Validate a nested mapping.

    Raises:
        ConfigError: One line that names each wrong key, its value and what is allowed.
    """
    return build_section(RunConfig, values, origin)


def build_section(section: type[SectionT], values: Mapping[str, Any], origin: str) -> SectionT:
    """Validate the values of one section, e.g. a stored one with options of the command line on top.

    Args:
        section: The model, e.g. `SamplingConfig`.
        values: Keys of the section and their values.
        origin: What a message names as the place of the values, e.g. a file.

    Raises:
        ConfigError: One line that names each wrong key, its value and what is allowed.
    """
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(_describe(item, section) for item in error.errors())
        raise ConfigError(f"{origin}: {problems}") from None


def _describe(item: Any, root: type[Section]) -> str:
    """One pydantic error as `key: value is wrong, allowed is ...`."""
    # Union branches appear in the location as type names in brackets; users know only keys.
    key = ".".join(str(part) for part in item["loc"] if not re.search(r"[\[(]", str(part))) or "(top level)"
    if item["type"] == "extra_forbidden":
        return f"unknown key `{key}` (allowed here: {', '.join(_siblings(item['loc'], root))})"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"`{key}`: {message}"
    return f"`{key}` is {shortened(item['input'])}: {message[0].lower()}{message[1:]}{_hint(item)}"


def _hint(item: Any) -> str:
    """What YAML has made of a text that was meant otherwise."""
    if item["type"] == "string_type" and isinstance(item["input"], bool | int | float):
        return " (YAML reads it as a number or truth value: put it in quotes)"
    if item["type"] == "bool_type" and str(item["input"]).lower() in ("yes", "no", "on", "off", "y", "n"):
        return " (write true or false)"
    if item["type"] == "finite_number":
        return " (no limit, where there may be none, is null)"
    return ""


def shortened(value: Any) -> str:
    """A value for a message: on one line, of bounded length, whatever it is."""
    return " ".join(_bounded.repr(value).split())


_bounded = reprlib.Repr()
_bounded.maxlevel, _bounded.maxstring, _bounded.maxother = 3, 200, 200


def _siblings(location: Sequence[Any], root: type[Section]) -> list[str]:
    section: Any = root
    for part in location[:-1]:
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next(item for item in candidates if isinstance(item, type) and issubclass(item, Section))
    return list(section.model_fields)
