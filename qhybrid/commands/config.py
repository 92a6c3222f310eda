"""`qhybrid config`: what a configuration may hold."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="What a configuration may hold: reference page, JSON Schema.", no_args_is_help=True)

_TITLE = """\
# Configuration

Every key of a configuration, printed by `qhybrid config reference`. A section that is left out has its defaults; one
whose default is `null` is a stage that is not run. `--set section.key=value` overrides a key from the command line.
"""


@app.command()
def reference() -> None:
    """Print the reference page in Markdown: every key, what it allows, its default and its meaning."""
    from qhybrid.config import RunConfig
    from qhybrid.config.reference import chapter, options_chapter
    from qhybrid.studies.plan import StudyConfig

    chapters = [
        _TITLE,
        chapter(RunConfig, "Runs"),
        options_chapter("Options beside `name`"),
        chapter(StudyConfig, "Studies"),
    ]
    typer.echo("\n".join(chapters), nl=False)


@app.command()
def schema(
    study: Annotated[bool, typer.Option("--study", help="The schema of study files instead.")] = False,
) -> None:
    """Print the JSON Schema by which editors complete and check a configuration."""
    from qhybrid.config import RunConfig
    from qhybrid.config.schema import schema_text
    from qhybrid.studies.plan import StudyConfig

    typer.echo(schema_text(StudyConfig if study else RunConfig), nl=False)
