"""`qhybrid export`: a trained model for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qhybrid.commands.options import RunArgument

app = typer.Typer()


@app.command()
def export(
    run: RunArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the model; new or empty.")],
    license: Annotated[
        str | None, typer.Option(help="Licence of the weights for the model card, e.g. apache-2.0.")
    ] = None,
) -> None:
    """Write a run's model in Hugging Face's layout: weights, configuration, circuit and model card."""
    from qhybrid.hub.folder import export as export_model

    target = export_model(run, folder, license=license)
    for name in sorted(path.name for path in target.iterdir()):
        typer.echo(f"written: {target / name}")
