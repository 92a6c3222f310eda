"""`qhybrid evaluate` and `report`: what the images of a run are worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qhybrid.commands.options import RunArgument

if TYPE_CHECKING:
    from qhybrid.rundir import RunDirectory

app = typer.Typer()


@app.command()
def evaluate(
    run: RunArgument,
    reliance: Annotated[
        bool | None,
        typer.Option(
            "--reliance/--no-reliance",
            help="Measure how much the images rely on the core in the bottleneck [default: as configured].",
        ),
    ] = None,
) -> None:
    """Judge a run's generated images: KID, FID, precision, recall, memorization, each beside its floor; reliance."""
    from qhybrid.rundir import RunDirectory

    evaluate_images(RunDirectory.open(run), reliance)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, or the folder of a study's study.json.")],
) -> None:
    """Write a run's `report.html`, one self-contained file, or a study's `study.html` from its study.json alone."""
    from qhybrid.rundir import RunDirectory

    if (run / "study.json").is_file():
        from qhybrid.studies.page import write_study_page

        typer.echo(f"report: {write_study_page(run)}")
        return
    report_on(RunDirectory.open(run))


def evaluate_images(run: RunDirectory, reliance: bool | None = None) -> None:
    """Judge the sampled images of a run and print a line per metric; `reliance` overrides the configuration."""
    from qhybrid.evaluation.evaluate import evaluate as evaluate_run
    from qhybrid.evaluation.evaluate import summary_lines

    for line in summary_lines(evaluate_run(run, reliance=reliance)):
        typer.echo(line)


def report_on(run: RunDirectory) -> None:
    """Write the report of a run and tell where it lies."""
    from qhybrid.report.page import write_report

    typer.echo(f"report: {write_report(run)}")
