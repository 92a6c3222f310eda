"""Studies: a factorial plan of runs that differ in stated factors, paired by seed.

A study file names a base configuration, seeds, and two kinds of factors. Levels of a `train` factor change what is
trained; levels of a `sample` factor change only how a trained model is sampled and judged, so all of them share one
checkpoint. Seed s of every cell has the same training subset, initial weights, batches and image noise.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, model_validator

from qhybrid.checkpoints.stages import circuit_in
from qhybrid.config import (
    RunConfig,
    Section,
    apply_override,
    apply_overrides,
    build_config,
    build_section,
    read_mapping,
)
from qhybrid.config.schema import TextOr
from qhybrid.errors import ConfigError
from qhybrid.evaluation.explanations import TITLES

Kind = Literal["train", "sample"]
Levels = dict[str, str]

_NAME = r"^[A-Za-z0-9._-]+$"
_KEYS = {"type": "object", "propertyNames": {"pattern": rf"^({'|'.join(RunConfig.model_fields)})(\..+)?$"}}
Factors = dict[str, dict[str, Annotated[dict[str, Any], WithJsonSchema(_KEYS)]]]

# What sampling and evaluation read; all else belongs to the checkpoint.
_SAMPLING_KEYS = ("sampling", "evaluation", "quantum.noise", "quantum.shots", "quantum.simulator", "diffusion.noise")
# Image i of seed s is drawn from stream s * this + i, so that no two seeds share an image.
_IMAGES_PER_SEED = 1_000_000


class ReferenceConfig(Section):
    """What cells are compared with: the cell in which these factors have these levels and the others are the same."""

    train: dict[str, str] = Field(default={}, description="Level of each named `train` factor.")
    sample: dict[str, str] = Field(default={}, description="Level of each named `sample` factor.")


class StudyConfig(Section):
    """A study file. A level is a mapping of dotted keys (as in `--set`) to values; `{}` is the base itself."""

    name: str = Field(
        pattern=_NAME, description="Name of the study and of its default folder: letters, digits, `.`, `_` and `-`."
    )
    base: Annotated[str | dict[str, Any], TextOr(RunConfig)] = Field(
        description="What all runs share: the sections of a run, or the path of a configuration beside the study."
    )
    seeds: list[int] = Field(
        min_length=1, description="Seeds of the repetitions, all different, 0 or more; cells are compared seed by seed."
    )
    metric: str = Field(
        default="kid",
        description="Metric that cells are compared by, named as in `evaluation.json`.",
        json_schema_extra={"enum": list(TITLES)},
    )
    also: list[str] = Field(
        default=[],
        description="Further metrics that cells are compared by; each has a correction for its own comparisons.",
        json_schema_extra={"items": {"type": "string", "enum": list(TITLES)}},
    )
    margins: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="By metric: the largest difference that counts as none; a difference that two one-sided tests show "
        "to be smaller is reported as `equal within`.",
        json_schema_extra={"propertyNames": {"enum": list(TITLES)}},
    )
    train: Factors = Field(
        default={}, description="Factors of what is trained: factor, its levels, and the keys that each level sets."
    )
    sample: Factors = Field(
        default={}, description="Factors of how a trained model is sampled and judged; they share its checkpoint."
    )
    reference: ReferenceConfig | None = Field(
        default=None, description="Levels that every other cell is compared with; null compares no cells."
    )

    @model_validator(mode="after")
    def _names_are_usable(self) -> StudyConfig:
        for key, metric in self.metrics:
            if metric not in TITLES:
                raise ValueError(f"`{key}: {metric}`: the metrics are {', '.join(TITLES)}")
        for metric in self.margins:
            if metric not in (self.metric, *self.also):
                raise ValueError(f"`margins.{metric}`: cells are compared by {', '.join([self.metric, *self.also])}")
        if len({self.metric, *self.also}) < 1 + len(self.also):
            raise ValueError(f"`also: {self.also}` names a metric twice, or `metric: {self.metric}` again")
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"`seeds` are different numbers from 0, found {self.seeds}")
        for kind, factors in (("train", self.train), ("sample", self.sample)):
            for factor, levels in factors.items():
                if not levels:
                    raise ValueError(f"`{kind}.{factor}` has no levels")
                for name in (factor, *levels):
                    if not re.match(_NAME, name):
                        raise ValueError(f"`{name}` in `{kind}` names folders: use letters, digits, `.`, `_` and `-`")
        return self

    @model_validator(mode="after")
    def _reference_exists(self) -> StudyConfig:
        if self.reference is None:
            return self
        named = {"train": self.reference.train, "sample": self.reference.sample}
        if not any(named.values()):
            raise ValueError("`reference` names no level, e.g. `reference: {train: {arm: plain}}`")
        for kind, factors in (("train", self.train), ("sample", self.sample)):
            for factor, level in named[kind].items():
                if factor not in factors:
                    raise ValueError(f"`reference.{kind}.{factor}`: there is no such factor among {list(factors)}")
                if level not in factors[factor]:
                    raise ValueError(f"`reference.{kind}.{factor}: {level}`: its levels are {list(factors[factor])}")
        return self

    @property
    def metrics(self) -> list[tuple[str, str]]:
        """Every metric that cells are compared by, after the key that names it."""
        return [("metric", self.metric), *(("also", name) for name in self.also)]

    @property
    def factors(self) -> dict[str, list[str]]:
        """Levels of every factor by its full name, `train.circuit` or `sample.circuit`."""
        pairs = [("train", self.train), ("sample", self.sample)]
        return {f"{kind}.{name}": list(levels) for kind, factors in pairs for name, levels in factors.items()}

    @property
    def reference_levels(self) -> Levels:
        """Levels of the reference by the factor's full name; empty without a reference."""
        if self.reference is None:
            return {}
        pairs = [("train", self.reference.train), ("sample", self.reference.sample)]
        return {f"{kind}.{name}": level for kind, levels in pairs for name, level in levels.items()}


@dataclass(frozen=True)
class Cell:
    """One way to sample and judge a training.

    Attributes:
        levels: Level of every factor, by its full name.
        config: Configuration that it is sampled and judged with.
        folder: Run directory of the cell, relative to the study's folder.
    """

    levels: Levels
    config: RunConfig
    folder: Path


@dataclass(frozen=True)
class Training:
    """One training and the cells that share its checkpoint.

    Attributes:
        seed: Seed of the training, one of the study's.
        config: Configuration of the training.
        folder: Run directory of the training, relative to the study's folder.
        cells: Cells of the training, at least one; without `sample` factors, one in the training's own directory.
    """

    seed: int
    config: RunConfig
    folder: Path
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Study:
    """A study file and everything that it asks for, seed by seed.

    Attributes:
        config: Validated content of the study file.
        trainings: All trainings with their cells, one seed after the other.
    """

    config: StudyConfig
    trainings: tuple[Training, ...]


def load_study(
    path: str | Path, overrides: Sequence[str] = (), given: Mapping[str, Any] = MappingProxyType({})
) -> Study:
    """Read a study file and resolve every cell of it.

    Args:
        path: The YAML file; a path in `base` is relative to it.
        overrides: Texts `section.key=value` that change the base.
        given: Values of the base by dotted key that are not YAML, e.g. `{"data.root": "/data/set #1"}`.

    Raises:
        ConfigError: The file, its base or a cell is not valid; a sample level changes training; two cells are the same.
    """
    origin = f"study `{path}`"
    values = read_mapping(path, "study")
    if "base" not in values and "seeds" not in values and values.keys() & RunConfig.model_fields.keys() - {"name"}:
        raise ConfigError(
            f"{origin} is the configuration of one run: `qhybrid run` takes it; a study has `base` and `seeds`"
        )
    config = build_section(StudyConfig, values, origin)
    if isinstance(config.base, str):
        base = read_mapping(Path(path).parent / config.base, "base configuration")
    else:
        base = copy.deepcopy(config.base)
    apply_overrides(base, overrides, given)
    trainings = [
        _training(config, base, levels, seed) for seed in config.seeds for levels in _combinations(config, "train")
    ]
    _refuse_twins(trainings[: len(trainings) // len(config.seeds)], origin)
    return Study(config, tuple(trainings))


def describe(levels: Mapping[str, str]) -> str:
    """The levels of a cell for people: `train circuit=device share=half; sample circuit=exact`."""
    parts = []
    for kind in ("train", "sample"):
        own = [f"{name.removeprefix(kind + '.')}={level}" for name, level in levels.items() if name.startswith(kind)]
        if own:
            parts.append(f"{kind} {' '.join(own)}")
    return "; ".join(parts) or "base"


def finished(folder: Path) -> bool:
    """Whether a cell was judged to the end."""
    return cell_file(folder).exists()


def cell_file(folder: Path) -> Path:
    """What a finished cell has cost; written last."""
    return folder / "cell.json"


def failure_file(folder: Path) -> Path:
    """Why a training or a cell failed, in one line; beside its folder, which may not exist."""
    return folder.with_name(f"{folder.name}.failed")


def _combinations(config: StudyConfig, kind: Kind) -> list[Levels]:
    factors = config.train if kind == "train" else config.sample
    return [dict(zip(factors, levels, strict=True)) for levels in itertools.product(*factors.values())]


def _training(study: StudyConfig, base: Mapping[str, Any], levels: Levels, seed: int) -> Training:
    values = copy.deepcopy(dict(base))
    values |= {"name": study.name, "seed": seed, "report": False, "hardware": None, "noise_bank": None}
    apply_override(values, "data.subset_seed", seed, "study")
    apply_override(values, "sampling.seed", seed * _IMAGES_PER_SEED, "study")
    if values.get("evaluation") is None:
        values["evaluation"] = {}
    _apply_levels(values, study, "train", levels)
    full = {f"train.{name}": level for name, level in levels.items()}
    folder = Path("runs") / (_folder_name(levels) or "base") / f"seed-{seed}"
    cells = []
    for own in _combinations(study, "sample"):
        changed = copy.deepcopy(values)
        _apply_levels(changed, study, "sample", own)
        names = full | {f"sample.{name}": level for name, level in own.items()}
        place = folder / "cells" / _folder_name(own) if own else folder
        cells.append(Cell(names, build_config(changed, f"study `{study.name}`, {describe(names)}"), place))
    return Training(seed, build_config(values, f"study `{study.name}`, {describe(full)}"), folder, tuple(cells))


def _apply_levels(values: dict[str, Any], study: StudyConfig, kind: Kind, levels: Levels) -> None:
    factors = study.train if kind == "train" else study.sample
    for factor, level in levels.items():
        for key, value in factors[factor][level].items():
            origin = f"study `{study.name}`, {kind}.{factor}.{level}"
            if kind == "sample" and not any(f"{key}.".startswith(f"{allowed}.") for allowed in _SAMPLING_KEYS):
                raise ConfigError(f"{origin}: `{key}` changes what is trained: make it a level of a `train` factor")
            apply_override(values, key, copy.deepcopy(value), origin)


def _folder_name(levels: Levels) -> str:
    return ",".join(f"{name}={level}" for name, level in levels.items())


def _refuse_twins(trainings: Sequence[Training], origin: str) -> None:
    """Two cells of one seed that are trained and sampled alike belong to a factor that changes nothing."""
    known: dict[str, Levels] = {}
    for training in trainings:
        for cell in training.cells:
            sampled = circuit_in(cell.config, "sampling")
            key = training.config.model_dump_json() + sampled.model_dump_json()
            if key in known:
                raise ConfigError(
                    f"{origin}: `{describe(known[key])}` and `{describe(cell.levels)}` are the same run: a level "
                    "of one factor changes nothing (see also `diffusion.noise.circuit`)"
                )
            known[key] = cell.levels
