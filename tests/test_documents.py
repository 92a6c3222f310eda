"""README, CONTRIBUTING and docs tell what can be done: Python runs, YAML is valid, all that they name exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

import hardware
from qhybrid.commands.main import app
from qhybrid.config import RunConfig
from qhybrid.config.reference import sections_in
from qhybrid.config.yaml_files import build_config
from qhybrid.studies.plan import StudyConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
WRITTEN = [page for page in PAGES if page.name != "configuration.md"]  # that page is the program's own
EXCERPT = "# tests/plugin/"  # code of the tested package, see test_contributing.py


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page, language):
    found = re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in found if not block.startswith(EXCERPT)]


def inline(page):
    """What stands between single backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL))


def pages_with(language):
    return [pytest.param(page, id=name_of(page)) for page in WRITTEN if blocks(page, language)]


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_blocks_run(page, tmp_path):
    """Each without the names of the others; in one process, since most of the time goes into imports."""
    code = "".join(
        f"exec(compile({block!r}, 'block {i}', 'exec'), {{}})\n" for i, block in enumerate(blocks(page, "python"))
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_yaml_blocks_are_valid_configurations(page):
    for block in blocks(page, "yaml"):
        build_config({"name": "page", **yaml.safe_load(block)})


def commands(page):
    """Every command line of the program that a page shows, without comments and prompts."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    lines += [text for text in inline(page) if text.startswith("qhybrid ")]
    for line in lines:
        for part in re.split(r"&&|\||;", line.partition("#")[0].replace("[", "").replace("]", "")):
            if part.strip().startswith("qhybrid "):
                yield shlex.split(part)[1:]


def test_commands_and_their_options_exist():
    program = typer.main.get_command(app)
    shown = 0
    for page in WRITTEN:
        for words in commands(page):
            command, rest = program, list(words)
            while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
                assert rest[0] in command.commands, f"{name_of(page)}: qhybrid {' '.join(words)}"
                command = command.commands[rest.pop(0)]
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            for word in rest:
                if word.startswith("--"):
                    assert word.partition("=")[0] in {*known, "--help"}, f"{name_of(page)}: qhybrid {' '.join(words)}"
            shown += 1
    assert shown > 30


def test_files_that_they_name_exist():
    for page in WRITTEN:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"(?<![\w/-])(?:configs|tests|notebooks)/[\w/.-]+\.(?:yaml|py|json|ipynb|png)\b", text):
            if not path.endswith("/NAME.yaml"):
                assert (ROOT / path).is_file() or (page.parent / path).is_file(), f"{name_of(page)}: {path}"
        for path in re.findall(r"`((?:hardware/|studies/)?\w+\.yaml)`", text):
            assert (ROOT / "configs" / path).is_file(), f"{name_of(page)}: {path}"


def keys_of(section, prefix=""):
    for name, field in section.model_fields.items():
        yield prefix + name
        for part in sections_in(field.annotation):
            yield from keys_of(part, f"{prefix}{name}.")


def test_keys_of_the_configuration_that_they_name_exist():
    known = {*keys_of(RunConfig), *keys_of(StudyConfig)}
    functions = {f"hardware.{name}" for name in hardware.__all__}
    options = {"data.resize", "data.channels", "data.val_share", "data.test_share", "data.split_seed"}
    sections = "|".join(RunConfig.model_fields)
    for page in WRITTEN:
        for text in inline(page):
            for key in re.findall(rf"^(?:--set )?((?:{sections})(?:\.[a-z_]+)+)\b(?!\()", text):
                if not key.endswith((".yaml", ".json", ".html", ".py", ".safetensors")):
                    assert key in known | options | functions, f"{name_of(page)}: `{text}`"
