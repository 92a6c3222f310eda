"""The reference page: every key of a configuration with what it allows, its default and what it means."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from qhybrid.config.choice import Choice
from qhybrid.config.schema import json_schema
from qhybrid.config.section import Section
from qhybrid.registry import REGISTRIES

_BOUNDS = {
    "minimum": "at least {:g}",
    "exclusiveMinimum": "above {:g}",
    "maximum": "at most {:g}",
    "exclusiveMaximum": "below {:g}",
    "multipleOf": "a multiple of {:g}",
}
_OPTIONS = """\
Where a key takes the name of a registered circuit, data set, noise source, sampler or core, a mapping `{name: ...}`
takes that entry's own options as well. Entries that are not named here have none; those of another package are told in
its documents."""
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false", "null": "null"}


def chapter(section: type[Section], title: str) -> str:
    """A chapter of the reference page in Markdown: a table for the section and for every section under it.

    Args:
        section: The root of a YAML file, e.g. `RunConfig`.
        title: Heading of the chapter.
    """
    definitions = json_schema(section).get("$defs", {})
    parts = [f"## {title}", inspect.cleandoc(section.__doc__ or ""), _table(section, definitions)]
    for path, part in _sections_under(section, ""):
        parts += [f"### `{path}`", inspect.cleandoc(part.__doc__ or ""), _table(part, definitions)]
    return "\n\n".join(parts) + "\n"


def options_chapter(title: str) -> str:
    """A chapter in Markdown: the options that our registered circuits, data sets and so on have beside `name`.

    Args:
        title: Heading of the chapter.
    """
    parts = [f"## {title}", _OPTIONS]
    for registry in REGISTRIES:
        for name, package in registry.packages().items():
            section = registry.find(name).section
            if package == "qhybrid" and issubclass(section, Section) and section.model_fields:
                definitions = json_schema(section).get("$defs", {})
                heading = f"### {registry.kind[0].upper()}{registry.kind[1:]} `{name}`"
                parts += [heading, inspect.cleandoc(section.__doc__ or ""), _table(section, definitions)]
    return "\n\n".join(parts) + "\n"


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a field's annotation names, e.g. `[DataConfig]` for `DataConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in typing.get_args(annotation) for section in sections_in(part)]


def _sections_under(section: type[Section], prefix: str) -> Iterator[tuple[str, type[Section]]]:
    for name, field in section.model_fields.items():
        for part in sections_in(field.annotation):
            yield prefix + name, part
            yield from _sections_under(part, f"{prefix}{name}.")


def _table(section: type[Section], definitions: dict[str, Any]) -> str:
    schema = json_schema(section)
    # A section with a short form is one of two alternatives.
    parts = [part for part in (schema, *schema.get("anyOf", ())) if "properties" in part]
    properties: dict[str, Any] = parts[0]["properties"] if parts else {}
    rows = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        allowed = _allowed(properties[name], definitions)
        cells = [f"`{name}`", allowed, _default(field), field.description or ""]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return "its own"
    if isinstance(value, Choice):
        value = value.dump()
    return f"`{json.dumps(value, default=str)}`" if not isinstance(value, str) else f"`{value}`"


def _allowed(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a JSON Schema allows, in words."""
    if "$ref" in schema:
        found = definitions.get(schema["$ref"].rpartition("/")[2], {})
        return _allowed({key: found[key] for key in ("anyOf", "type", "properties") if key in found}, definitions)
    if "anyOf" in schema:
        words = dict.fromkeys(_allowed(part, definitions) for part in schema["anyOf"])
        return "; ".join(words)
    if "const" in schema or "enum" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        return ", ".join(f"`{value}`" for value in values)
    if schema.get("type") == "array":
        return f"list of: {_allowed(schema.get('items', {}), definitions)}"
    if schema.get("type") == "object":
        return "section" if "properties" in schema else "mapping"
    if "examples" in schema:
        return ", ".join(f"`{value}`" for value in schema["examples"])
    bounds = [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return ", ".join([_TYPES.get(schema.get("type", ""), "anything"), *bounds])
