"""Which images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section, Seed


class DataConfig(Section):
    """Which images: a registered data set or an npz file with MedMNIST's keys, and which part of it."""

    name: str = Field(
        default="digits",
        description=(
            "Name of a registered data set: `digits` (bundled, no download), `mnist`, `fashion_mnist`, a MedMNIST set "
            "such as `pathmnist`, or `npz` for a file of your own."
        ),
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "File of images and labels with MedMNIST's keys; given if and only if `name` is `npz`, otherwise null."
        ),
    )
    root: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "Folder of downloaded data sets; null takes the environment's QHYBRID_DATA, else the user's cache folder."
        ),
    )
    size: Literal[28, 64, 128, 224] | None = Field(
        default=None,
        description="Side of the images in pixels, for MedMNIST sets that come in several sizes; null takes 28.",
    )
    classes: list[int] | None = Field(
        default=None,
        min_length=1,
        description="Class numbers to keep in every split, at least one; null keeps all classes.",
    )
    n_train: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Number of training images to draw, at least 1, as evenly over the classes as their sizes allow; null keeps"
            " all."
        ),
    )
    subset_seed: Seed = Field(
        default=0,
        description=(
            "Seed of the draw of `n_train` images, 0 or more; with one seed a smaller subset is part of a larger one."
        ),
    )
    download: bool = Field(
        default=True,
        description=(
            "Whether a file that is not in the data folder may be downloaded; its checksum is verified either way."
        ),
    )

    @model_validator(mode="after")
    def _classes_are_different(self) -> DataConfig:
        twice = [number for number in self.classes or [] if (self.classes or []).count(number) > 1]
        if twice:
            raise ValueError(f"`classes: {self.classes}` names class {twice[0]} more than once: name each class once")
        return self

    @model_validator(mode="after")
    def _path_goes_with_npz(self) -> DataConfig:
        if (self.name == "npz") != (self.path is not None):
            raise ValueError("`path` names a file if and only if `name` is `npz`")
        return self
