"""A registered thing in a configuration: its name, or a mapping of its name and its options."""

from typing import Annotated

import pytest
import yaml
from pydantic import Field

from qhybrid.config import Choice, Section, build_section
from qhybrid.config.choice import Registered
from qhybrid.errors import ConfigError
from qhybrid.registry import Registry

KIND = Registry("ansatz", "qhybrid.test", "qhybrid.errors")


class Options(Section):
    angle: float = 0.5
    gates: list[str] = Field(default=["cx"])


class FileOptions(Section):
    file: str


@KIND.register("plain")
def build_plain(options):
    return "plain"


@KIND.register("bent", section=Options)
def build_bent(options):
    return options.angle


@KIND.register("file", section=FileOptions)
def build_file(options):
    return options.file


class Holder(Section):
    ansatz: Annotated[Choice, Registered(KIND, own_key="file")] = Choice("plain")


class Root(Section):
    part: Holder = Holder()


def build(value):
    return build_section(Root, {"part": {"ansatz": value}}, "test").part


@pytest.mark.parametrize(
    ("value", "name", "options"),
    [
        ("plain", "plain", {}),
        ({"name": "plain"}, "plain", {}),
        ("bent", "bent", {"angle": 0.5, "gates": ["cx"]}),
        ({"name": "bent", "angle": 0.25}, "bent", {"angle": 0.25, "gates": ["cx"]}),
        ({"file": "a.qpy"}, "file", {"file": "a.qpy"}),
        ({"name": "file", "file": "a.qpy"}, "file", {"file": "a.qpy"}),
    ],
)
def test_a_name_alone_or_with_options(value, name, options):
    chosen = build(value).ansatz
    assert (chosen.name, chosen.options.model_dump()) == (name, options)


@pytest.mark.parametrize(
    "value", ["plain", "bent", {"name": "bent", "angle": 0.25, "gates": ["cz"]}, {"file": "a.qpy"}]
)
def test_what_is_written_is_read_back_equal(value):
    holder = build(value)
    assert build(yaml.safe_load(yaml.safe_dump(holder.model_dump()))["ansatz"]) == holder
    assert yaml.safe_load(holder.model_dump_json()) == holder.model_dump()


def test_an_entry_without_options_is_written_as_its_name():
    assert build({"name": "plain"}).model_dump() == {"ansatz": "plain"}
    assert build({"name": "bent", "angle": 0.25}).model_dump()["ansatz"] == {
        "name": "bent",
        "angle": 0.25,
        "gates": ["cx"],
    }


HERE = __name__.partition(".")[0]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (
            "bend",
            f"ansatz `bend` is unknown, did you mean `bent`? registered are plain, bent, file (package `{HERE}`)",
        ),
        (
            {"name": "bent", "angel": 1.0},
            f"ansatz `bent` of package `{HERE}`: unknown option `angel` (allowed: angle, gates)",
        ),
        (
            {"name": "plain", "angle": 1.0},
            f"ansatz `plain` of package `{HERE}`: unknown option `angle` (allowed: none)",
        ),
        (
            {"name": "bent", "angle": "1.0"},
            f"ansatz `bent` of package `{HERE}`: option `angle` is '1.0': input should be a valid number",
        ),
        ({"name": "file"}, f"ansatz `file` of package `{HERE}`: option `file` is missing"),
        (3, "expected a name or a mapping `{name: ..., option: ...}`, found 3"),
        ({"angle": 1.0}, "expected a name or a mapping `{name: ..., option: ...}`, found {'angle': 1.0}"),
        ({"name": ["bent"]}, "expected a name or a mapping `{name: ..., option: ...}`, found {'name': ['bent']}"),
    ],
)
def test_a_mistake_is_told_in_one_line(value, line):
    with pytest.raises(ConfigError) as error:
        build(value)
    assert str(error.value) == f"test: `part.ansatz`: {line}"
