"""Configurations as YAML files, and `--set` overrides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from qhybrid.config.run import RunConfig, build_config
from qhybrid.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats (`3e-4` is a number) and no duplicate keys, which YAML forbids and PyYAML accepts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f"key `{key}` stands twice in the configuration (line {node.start_mark.line + 1})")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d+\.\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


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


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML configuration and apply `a.b=c` overrides in order.

    Args:
        path: The YAML file.
        overrides: Texts `section.key=value`; the value is YAML.

    Raises:
        ConfigError: The file cannot be read, or a key or value is not allowed.
    """
    values = read_mapping(path, "configuration")
    for override in overrides:
        key, value = parse_override(override)
        apply_override(values, key, value, f"--set `{override}`")
    return build_config(values, f"configuration `{path}`")


def read_mapping(path: str | Path, what: str) -> dict[str, Any]:
    """The sections of a YAML file, not yet validated.

    Args:
        path: The file.
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
        raise ConfigError(f"{what} `{path}`: expected sections (`data:`, `training:`, ...), found {values!r}")
    return values


def dump_config(config: RunConfig) -> str:
    """The resolved configuration as YAML; `load_config` reads it back to an equal object."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False)


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from None
