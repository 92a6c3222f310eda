"""What every section of a configuration has in common."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""A seed: what fits a signed 64-bit integer, since seeds are stored as such beside the images they made."""


class Section(BaseModel):
    """Base of every section: unknown keys forbidden, no silent coercion, no infinite or undefined number, immutable.

    A number that may be unlimited is `float | None`, and `null` in YAML.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def short_form(cls) -> dict[str, Any] | None:
        """JSON Schema of a value that may stand for the whole section, e.g. a name; None if only a mapping may."""
        return None

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """JSON Schema of the mapping of the section's keys, or of its short form."""
        mapping = handler(core_schema)
        short = cls.short_form()
        if short is None:
            return mapping
        content = handler.resolve_ref_schema(mapping)
        described: dict[str, Any] = {key: content.pop(key) for key in ("title", "description") if key in content}
        alternatives: dict[str, Any] = described | {"anyOf": [short, dict(content)]}
        content.clear()
        content.update(alternatives)
        return mapping


SectionT = TypeVar("SectionT", bound=Section)


def check_seeds(seed: int, count: int, key: str) -> None:
    """Refuse a first seed after which there are not enough seeds for all images.

    Args:
        seed: Seed of image 0; image i uses `seed + i`.
        count: Number of images.
        key: What a message calls the seed, e.g. `seed`.

    Raises:
        ValueError: The last image's seed would not be a `Seed`.
    """
    if seed + count > 2**63:
        raise ValueError(f"`{key}: {seed}` leaves no seeds for {count} images: image i uses seed + i, below 2**63")
