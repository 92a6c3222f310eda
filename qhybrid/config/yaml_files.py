"""Configurations as YAML files, and `--set` overrides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from qhybrid.config.run import RunConfig, build_config, shortened
from qhybrid.errors import ConfigError

# A number that no setting has; longer ones Python does not even print (`sys.set_int_max_str_digits`).
_INTEGER_LIMIT = 2**64

_BOOL, _INT, _FLOAT, _NULL = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "null"))
# What a plain scalar can be besides text: the core schema of YAML 1.2. PyYAML's own rules, of YAML 1.1, make 2024-02-30
# a date, 1:30 the number 90, 010 eight, `no` false and leave 3e-4 a text.
_CORE_SCHEMA = (
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    (_FLOAT, r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars, merge keys (`<<: *base`), and no duplicate keys, which YAML forbids and PyYAML accepts."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping, before merge keys are resolved: what `<<` brings may be overridden."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise ConfigError(f"key `{key[1]}` stands twice in the configuration (line {line})")
        return node

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Decimal, `0o17` or `0x1f`."""
        text = self.construct_scalar(node)
        digits = text.lstrip("+-")
        base = {"0o": 8, "0x": 16}.get(digits[:2], 10)
        # 2**64 has 20 digits, or at most 22 of another base.
        value = int(text, base) if len(digits.lstrip("0")) <= 24 else _INTEGER_LIMIT
        if abs(value) >= _INTEGER_LIMIT:
            raise yaml.constructor.ConstructorError(
                None, None, f"the number {text[:12]}... has more than 64 bits", node.start_mark
            )
        return value


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would take for something else."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _CORE_SCHEMA:
    for _schema in (_Loader, _Dumper):
        _schema.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor(_INT, _Loader.construct_int)


def parse_override(text: str) -> tuple[str, Any]:
    """Split `a.b=c` into the dotted key and its YAML value.

    Raises:
        ConfigError: There is no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set `{text}`: expected `section.key=value`")
    return key.strip(), _parse_yaml(value, f"--set `{text}`")


def apply_override(values: dict[str, Any], key: str, value: Any, origin: str) -> None:
    """Set the dotted `key` of nested sections, in place.

    Args:
        values: Nested sections, not yet validated.
        key: Dotted key, e.g. `training.steps`; sections that are missing are made.
        value: What the key is set to.
        origin: What a message names as the place of the key, e.g. `--set a.b=c`.

    Raises:
        ConfigError: A part of the key is empty, or is a value where a section is needed.
    """
    *path, last = key.split(".")
    if not all([*path, last]):
        raise ConfigError(f"{origin}: expected `section.key`, found `{key}`")
    section = values
    for part in path:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise ConfigError(f"{origin}: `{part}` is a value, not a section")
    section[last] = value


def apply_overrides(values: dict[str, Any], overrides: Sequence[str], given: Mapping[str, Any]) -> None:
    """Apply what the command line changes in a configuration, in place.

    Args:
        values: Nested sections, not yet validated.
        overrides: Texts `section.key=value`; the value is YAML.
        given: Values by dotted key, taken as they are, after the overrides.

    Raises:
        ConfigError: An override is not of this form, or sets a key inside a value.
    """
    for override in overrides:
        key, value = parse_override(override)
        apply_override(values, key, value, f"--set `{override}`")
    for key, value in given.items():
        apply_override(values, key, value, f"`{key}`")


def load_config(
    path: str | Path, overrides: Sequence[str] = (), given: Mapping[str, Any] = MappingProxyType({})
) -> RunConfig:
    """Read a YAML configuration, apply `a.b=c` overrides in order and then values as they are.

    Args:
        path: The YAML file.
        overrides: Texts `section.key=value`; the value is YAML.
        given: Values by dotted key that are not YAML, e.g. `{"data.root": "/data/set #1"}`.

    Raises:
        ConfigError: The file cannot be read, or a key or value is not allowed.
    """
    values = read_mapping(path, "configuration")
    if "base" in values and "seeds" in values:
        raise ConfigError(f"configuration `{path}` is a study, which `qhybrid study` takes")
    apply_overrides(values, overrides, given)
    return build_config(values, f"configuration `{path}`")


def read_mapping(path: str | Path, what: str) -> dict[str, Any]:
    """The sections of a YAML file, not yet validated.

    Args:
        path: YAML file to be read.
        what: What a message calls it, e.g. `configuration`.

    Raises:
        ConfigError: The file cannot be read, or holds no sections.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{what} `{path}` cannot be read: {reason}") from None
    values = _parse_yaml(text, f"{what} `{path}`") or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{what} `{path}`: expected sections (`data:`, `training:`, ...), found {shortened(values)}")
    return values


def dump_config(config: RunConfig) -> str:
    """The resolved configuration as YAML; `load_config` reads it back to an equal object."""
    return yaml.dump(config.model_dump(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    # An unfinished escape or a date of an explicit `!!timestamp` tag makes PyYAML raise ValueError.
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{origin} is not valid YAML: it is nested too deeply") from None
