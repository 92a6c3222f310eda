"""Which images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from qhybrid.config.choice import checked_options
from qhybrid.config.section import Section, Seed
from qhybrid.registry import DATA_SETS, NoOptions


class DataConfig(Section):
    """Which images: a registered data set or an npz file with MedMNIST's keys, and which part of it.

    `data: digits` is short for `data: {name: digits}`. The options of a data set of another package stand beside the
    keys that all data sets have: `data: {name: my_set, my_option: 3, n_train: 100}`.
    """

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    name: str = Field(
        default="digits",
        description=(
            "Name of a registered data set: `digits` (bundled, no download), `mnist`, `fashion_mnist`, a MedMNIST set "
            "such as `pathmnist`, `npz` for a file or `folder` for image files of your own, or a set of another "
            "installed package."
        ),
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "File of images and labels with MedMNIST's keys (`npz`), or folder of image files (`folder`); null for "
            "every other `name`."
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
        description="Class numbers to keep in every split, at least one and each once; null keeps all classes.",
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

    # No field: options are written beside the other keys, and which there are depends on the data set.
    _options: BaseModel = PrivateAttr(default=NoOptions())

    @property
    def options(self) -> BaseModel:
        """The validated options of the data set itself."""
        return self._options

    @model_validator(mode="wrap")
    @classmethod
    def _own_options(cls, values: Any, handler: ModelWrapValidatorHandler[DataConfig]) -> DataConfig:
        """Take the data set's own options out of the mapping and validate them by its section."""
        if isinstance(values, str):
            values = {"name": values}
        if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
            return handler(values)
        entry = DATA_SETS.find(values["name"])
        own = set(entry.section.model_fields)
        shared = own & set(cls.model_fields)
        if shared:
            raise ValueError(
                f"data set `{entry.name}` of package `{entry.package}` has an option `{min(shared)}`, which is a key "
                "of every data set: it must rename it"
            )
        if not own:
            return handler(values)
        common = {key: value for key, value in values.items() if key in cls.model_fields}
        section = handler(common)
        rest = {key: value for key, value in values.items() if key not in common}
        section._options = checked_options(DATA_SETS.kind, entry, rest)
        return section

    @model_serializer(mode="wrap")
    def _with_own_options(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return values | self._options.model_dump(mode="json")

    @field_validator("classes")
    @classmethod
    def _each_class_once(cls, value: list[int] | None) -> list[int] | None:
        """Classes are a set: one that is named twice is a slip, and perhaps another class was meant."""
        if value is not None and len(set(value)) < len(value):
            twice = next(k for place, k in enumerate(value) if k in value[:place])
            raise ValueError(f"class {twice} is named twice: name each class once")
        return value

    @model_validator(mode="after")
    def _path_goes_with_npz(self) -> DataConfig:
        if (self.name in ("npz", "folder")) != (self.path is not None):
            raise ValueError("`path` names a file if and only if `name` is `npz`, or a folder if `name` is `folder`")
        return self
