"""Reverse diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from qhybrid.config.choice import Choice, SamplerChoice
from qhybrid.config.section import Section, Seed, check_seeds


class SamplingConfig(Section):
    """Reverse diffusion: how images are generated from noise."""

    sampler: SamplerChoice = Field(
        default=Choice("ddim"),
        description="Reverse process: the name of a registered one, or a mapping of its name and its options. Of ours, "
        "`ddpm` and `ddim` with `eta` above 0 draw noise in every step, `dpm-solver++` and `unipc` none.",
    )
    steps: int = Field(
        default=50, ge=1, description="Reverse steps per image, at least 1 and at most `diffusion.timesteps`."
    )
    eta: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Noise level of `ddim`: 0 is deterministic, 1 is DDPM; other samplers allow 0 only.",
    )
    images: int = Field(default=64, ge=1, le=10_000_000, description="Number of images to generate, 1 to 10,000,000.")
    batch_size: int = Field(
        default=250,
        ge=1,
        le=1_048_576,
        description="Images generated at a time, 1 to 1,048,576; an image does not depend on it.",
    )
    seed: Seed = Field(default=0, description="Seed of image 0, 0 or more; image i uses `seed` + i.")
    guidance: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Weight w of classifier-free guidance, from 0 to 100: no label + w (label - no label); 1 is none. "
        "Needs `model.condition: class` and a `training.label_dropout` above 0.",
    )
    guidance_rescale: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="How far a guided prediction is brought back to the standard deviation of the one with the label, "
        "from 0 (not at all) to 1 (wholly); without it, images of a guidance of 2 and more are overexposed. Without "
        "guidance it changes nothing.",
    )
    classes: Literal["balanced"] | list[int] | dict[int, int] = Field(
        default="balanced",
        description="Classes of the images of a conditional model: `balanced`, a list of classes to take in turn, or "
        "a mapping of classes to numbers of images, whose sum is `images`. A class that a list names twice "
        "has its turn twice.",
    )

    @model_validator(mode="before")
    @classmethod
    def _counts_give_the_number(cls, values: Any) -> Any:
        """Counts need no `images`; JSON has made texts of their keys."""
        if not isinstance(values, Mapping) or not isinstance(values.get("classes"), Mapping):
            return values
        counts = {int(k) if isinstance(k, str) and k.isdigit() else k: n for k, n in values["classes"].items()}
        if len(counts) < len(values["classes"]):
            raise ValueError("`classes` counts a class twice, as a number and as a text: name each class once")
        given = {**values, "classes": counts}
        if "images" not in given and all(type(n) is int for n in counts.values()):
            given["images"] = sum(counts.values())
        return given

    @model_validator(mode="after")
    def _classes_are_classes(self) -> SamplingConfig:
        if isinstance(self.classes, str):
            return self
        if not self.classes or min(self.classes) < 0:
            raise ValueError(f"`classes: {self.classes}`: name at least one class, by its number from 0 on")
        if isinstance(self.classes, dict):
            if min(self.classes.values()) < 1:
                raise ValueError(f"`classes: {self.classes}`: every count is at least 1")
            if sum(self.classes.values()) != self.images:
                total = sum(self.classes.values())
                raise ValueError(
                    f"`classes: {self.classes}` are {total} images, and `images: {self.images}`: leave one of them out"
                )
        return self

    @model_validator(mode="after")
    def _every_image_has_a_seed(self) -> SamplingConfig:
        check_seeds(self.seed, self.images, "seed")
        return self

    @model_validator(mode="after")
    def _eta_is_for_ddim(self) -> SamplingConfig:
        if self.eta and self.sampler.name != "ddim":
            raise ValueError(f"`eta` is for `sampler: ddim`; `{self.sampler.name}` fixes its own noise level")
        return self
