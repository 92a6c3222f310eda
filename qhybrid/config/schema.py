"""JSON Schema of a configuration, by which editors complete and check its keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from qhybrid.config.section import Section


@dataclass(frozen=True)
class TextOr:
    """Annotation of a field that holds a text or the mapping of a section, which is validated elsewhere.

    Attributes:
        section: Whose keys the schema offers.
    """

    section: type[Section]

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """JSON Schema of a text, or of the section."""
        return {"anyOf": [{"type": "string"}, handler(self.section.__pydantic_core_schema__)]}


class _Plain(GenerateJsonSchema):
    """Leaves out what says nothing new: titles made of keys, and the defaults of whole sections."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if isinstance(schema.get("default"), Section):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def json_schema(section: type[Section]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a section with everything under it, short forms among what it allows."""
    schema = section.model_json_schema(schema_generator=_Plain)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def schema_text(section: type[Section]) -> str:
    """The schema as the text of a file."""
    return json.dumps(json_schema(section), indent=2) + "\n"
