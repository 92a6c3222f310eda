"""`qhybrid runs` and `compare`: what run directories hold, one by one and side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder with run directories.")] = Path("runs"),
) -> None:
    """List the run directories under a folder: data, core, steps, metrics, device results, report."""
    from qhybrid.errors import RunDirectoryError
    from qhybrid.report.run_list import list_runs, table_lines

    if not folder.is_dir():
        raise RunDirectoryError(f"`{folder}` is no folder: name the one that holds the run directories")
    rows = list_runs(folder)
    for line in table_lines(rows) if rows else [f"no run directories in `{folder}`"]:
        typer.echo(line)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories, two or more.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Page to write.")] = Path("comparison.html"),
) -> None:
    """Write one self-contained page with runs side by side: curves, metrics, images of equal seeds."""
    from qhybrid.report.comparison import write_comparison

    typer.echo(f"comparison: {write_comparison(runs, out)}")
