"""`qhybrid study`: every cell of a factorial study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qhybrid.commands.options import DataRootOption, SetOption, echoed_options

app = typer.Typer()


@app.command()
def study(
    file: Annotated[
        Path, typer.Argument(metavar="STUDY", help="YAML file, e.g. configs/studies/noise_factorial.yaml.")
    ],
    overrides: SetOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="[default: runs/<name>]")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time, each in a process of its own.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS|FILE",
            help="Run on the workers of a Dask cluster: tcp://host:port, or the scheduler file that it wrote.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cells and the estimated time, and stop.")
    ] = False,
    data_root: DataRootOption = None,
) -> None:
    """Train, sample and judge every cell of a factorial study, paired by seed; run again, it goes on."""
    from qhybrid.studies.plan import load_study

    plan = load_study(file, overrides or (), echoed_options(overrides, data_root))
    folder = out or Path("runs") / plan.config.name
    if dry_run:
        from qhybrid.studies.report import plan_lines
        from qhybrid.studies.run import check_cells

        check_cells(plan, folder)
        for line in plan_lines(plan, jobs):
            typer.echo(line)
        return
    from qhybrid.studies.run import run_study

    run_study(plan, folder, jobs=jobs, scheduler=scheduler, echo=typer.echo)
