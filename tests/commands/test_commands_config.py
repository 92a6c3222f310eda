"""`qhybrid config`: the schema says what the models say, for every shipped file and every short form."""

import json
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml

from qhybrid.config import RunConfig, Section, build_config, dump_config, read_mapping
from qhybrid.config.reference import chapter, sections_in
from qhybrid.config.schema import json_schema
from qhybrid.errors import ConfigError
from qhybrid.studies.plan import StudyConfig, load_study

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "configs/studies").glob("*.yaml"))
RUNS = sorted(set((ROOT / "configs").rglob("*.yaml")) - set(STUDIES))


@cache
def validator(section):
    schema = json_schema(section)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def problems(section, values):
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator(section).iter_errors(values)]


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["schema"], "configs/schema.json"),
        (["schema", "--study"], "configs/studies/schema.json"),
        (["reference"], "docs/configuration.md"),
    ],
)
def test_the_shipped_page_and_schemas_are_what_the_models_say(command, root, arguments, file):
    code, out, _ = command("config", *arguments)
    assert code == 0
    remedy = f"bring it up to date: qhybrid config {' '.join(arguments)} > {file}"
    assert (root / file).read_text(encoding="utf-8") == out, remedy


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_shipped_run_validates_and_names_its_schema(path):
    assert problems(RunConfig, read_mapping(path, "configuration")) == []
    assert schema_named_in(path) == ROOT / "configs/schema.json"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_validates_and_names_its_schema(path):
    assert problems(StudyConfig, read_mapping(path, "study")) == []
    assert load_study(path).trainings
    assert schema_named_in(path) == ROOT / "configs/studies/schema.json"


def schema_named_in(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert named != first, f"{path} does not name its schema in the first line"
    return (path.parent / named).resolve()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "diffusion: {schedule: cosine}",
        "diffusion: {schedule: {kind: sigmoid, tau: 2}}",
        "diffusion: {times: min_snr}",
        "diffusion: {noise: gaussian}",
        "diffusion: {noise: {source: quantum_bits, simulate: {device: aer}, share: 0.5}}",
        "diffusion: {noise: {source: quantum_bits, bank: b.npz, share: {kind: linear, start: 0, end: 1}}}",
        "diffusion: {noise: {share: 1}}",
        "hardware: {qpu_steps: '0-3,6'}",
        "hardware: {qpu_steps: [0, 3], pack: 2}",
        "hardware: {qpu_steps: all, pack: auto, level: 2, zne_factors: [1, 2, 3.5]}",
        "hardware: null",
        "training: {learning_rate: 1e-3, threads: null}",
    ],
)
def test_what_the_models_take_the_schema_takes(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    values = read_mapping(path, "configuration")
    build_config(values)
    assert problems(RunConfig, values) == []


@pytest.mark.parametrize(
    "values",
    [
        {"trainings": {}},
        {"training": {"stepz": 3}},
        {"training": {"steps": "many"}},
        {"training": {"steps": 0}},
        {"training": {"device": "tpu"}},
        {"diffusion": {"schedule": "linaer"}},
        {"diffusion": {"schedule": {"kind": "linaer"}}},
        {"diffusion": {"schedule": {"kinds": "linear"}}},
        {"diffusion": {"noise": {"share": 1.5}}},
        {"diffusion": {"noise": {"share": "half"}}},
        {"hardware": {"qpu_steps": "0-3;6"}},
        {"hardware": {"qpu_steps": "some"}},
        {"quantum": {"noise": {"readout_error": True}}},
        {"name": "a/b"},
    ],
    ids=str,
)
def test_what_the_models_refuse_the_schema_refuses(values):
    with pytest.raises(ConfigError):
        build_config(values)
    assert problems(RunConfig, values)


def test_a_study_level_with_a_wrong_section_is_refused():
    values = read_mapping(STUDIES[0], "study")
    values["train"]["arm"] = {"wrong": {"modle.time_dim": 8}}
    assert any("modle.time_dim" in problem for problem in problems(StudyConfig, values))


def test_the_resolved_configuration_of_a_run_validates():
    config = build_config({"sampling": {}, "evaluation": {}, "hardware": {"qpu_steps": "0-3,6"}})
    assert problems(RunConfig, yaml.safe_load(dump_config(config))) == []


def tables(page):
    """Keys of each table of the page, by the heading above it."""
    found, heading = {}, ""
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.strip("# `")
            found[heading] = []
        elif line.startswith("| `"):
            found[heading].append(line.split("`")[1])
    return found


def sections(section, prefix=""):
    yield prefix, section
    for name, field in section.model_fields.items():
        for part in sections_in(field.annotation):
            yield from sections(part, f"{prefix}.{name}".lstrip("."))


def test_the_reference_page_has_every_key_of_every_section():
    found = tables(chapter(RunConfig, "Runs"))
    expected = {path or "Runs": list(section.model_fields) for path, section in sections(RunConfig)}
    assert found == expected
    assert {"diffusion.noise.share", "quantum.noise", "noise_bank"} <= set(found)


def test_the_reference_page_tells_bounds_choices_defaults_and_meaning():
    class Wheel(Section):
        """A wheel."""

    page = chapter(RunConfig, "Runs")
    rows = [line for line in page.splitlines() if line.startswith("| `ema_decay`")]
    assert rows == [f"| `ema_decay` | number, at least 0, below 1 | `0.999` | {describe('training', 'ema_decay')} |"]
    assert "| `device` | `auto`, `cpu`, `cuda` | `auto` |" in page
    assert "A wheel." in chapter(Wheel, "Wheel")


def describe(section, field):
    inner = sections_in(RunConfig.model_fields[section].annotation)[0]
    return inner.model_fields[field].description


def test_the_schema_is_json_with_its_dialect(command):
    _, out, _ = command("config", "schema")
    assert json.loads(out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
