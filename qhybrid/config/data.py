"""Which images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section


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
