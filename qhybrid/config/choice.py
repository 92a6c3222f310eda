"""How a configuration names a registered thing: by name alone, or by a mapping of its name and its own options.

`ansatz: ladder` and `ansatz: {name: ladder}` say the same; `ansatz: {name: brick_wall, angle: 0.5}` gives an option.
The names and the sections of the options are those of the kind's registry, see `qhybrid.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from qhybrid.registry import ANSAETZE, BOTTLENECK_CORES, NOISE_SOURCES, SAMPLERS, Entry, NoOptions, Registry


@dataclass(frozen=True)
class Choice:
    """A registered entry with its options.

    Attributes:
        name: The entry's name.
        options: Validated options of the entry.
    """

    name: str
    options: BaseModel = field(default_factory=NoOptions)

    def dump(self) -> str | dict[str, Any]:
        """As in a YAML file: the name alone if the entry has no options, else the name and every option."""
        options = self.options.model_dump(mode="json")
        return {"name": self.name, **options} if options else self.name


@dataclass(frozen=True)
class Registered:
    """Annotation of a `Choice` field: which registry its name and options are validated against.

    Args:
        registry: Registry that the name and its options are looked up in.
        own_key: An entry that a mapping means if it has this key and no `name`, e.g. `{file: my.qpy}`.
    """

    registry: Registry
    own_key: str | None = None

    def choose(self, value: Any) -> Choice:
        """Validate a name, or a mapping of `name` and options.

        Raises:
            ValueError: Nobody registers the name, or an option is unknown, missing or wrong; one line.
        """
        if isinstance(value, Choice):
            return value
        values = dict(value) if isinstance(value, Mapping) else {"name": value}
        if self.own_key is not None and self.own_key in values:
            values.setdefault("name", self.own_key)
        name = values.pop("name", None)
        if not isinstance(name, str):
            # pydantic takes a ValueError for a wrong value and a TypeError for a fault of ours.
            raise ValueError(  # noqa: TRY004
                f"expected a name or a mapping `{{name: ..., option: ...}}`, found {value!r}"
            )
        entry = self.registry.find(name)
        return Choice(name, checked_options(self.registry.kind, entry, values))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by `choose`, write by `Choice.dump`."""
        return core_schema.no_info_plain_validator_function(
            self.choose, serialization=core_schema.plain_serializer_function_ser_schema(Choice.dump)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A name, or a mapping with it; names are examples only, since installed packages may add others."""
        examples = [name for name, package in self.registry.packages().items() if package == "qhybrid"]
        mapping = {"type": "object", "properties": {"name": {"type": "string", "examples": examples}}}
        if self.own_key is None:
            mapping["required"] = ["name"]
        return {"anyOf": [{"type": "string", "examples": examples}, mapping]}


def checked_options(kind: str, entry: Entry, values: Mapping[str, Any]) -> BaseModel:
    """The options of an entry, or one line that says what is wrong with them.

    Args:
        kind: What the line calls the entry, e.g. `ansatz`.
        entry: The registered entry.
        values: Options of the entry, without its name.

    Raises:
        ValueError: An option is unknown, missing or has a wrong value.
    """
    try:
        return entry.options(values)
    except ValidationError as error:
        allowed = ", ".join(entry.section.model_fields) or "none"
        problems = "; ".join(_describe(item, allowed) for item in error.errors())
        raise ValueError(f"{kind} `{entry.name}` of package `{entry.package}`: {problems}") from None


def _describe(item: Any, allowed: str) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown option `{key}` (allowed: {allowed})"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"option `{key}` is missing"
    if item["type"] == "value_error":
        return f"option `{key}`: {message}" if key else message
    return f"option `{key}` is {item['input']!r}: {message[0].lower()}{message[1:]}"


AnsatzChoice = Annotated[Choice, Registered(ANSAETZE, own_key="file")]
NoiseSourceChoice = Annotated[Choice, Registered(NOISE_SOURCES)]
SamplerChoice = Annotated[Choice, Registered(SAMPLERS)]
BottleneckCoreChoice = Annotated[Choice, Registered(BOTTLENECK_CORES)]
