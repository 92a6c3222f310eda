"""`qhybrid inspect`: the circuit of a configuration and what it can learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qhybrid.commands.options import ConfigArgument, SetOption, read_configuration

if TYPE_CHECKING:
    from qhybrid.quantum import CircuitSpec

app = typer.Typer()


@app.command()
def inspect(
    config: ConfigArgument,
    overrides: SetOption = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tell what is left of the outputs there, e.g. fake_torino.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the circuit into a .png, .svg or .pdf file.")
    ] = None,
) -> None:
    """Show the circuit of a configuration and tell what it can learn, before any training."""
    from qhybrid.models.build import circuit_spec

    settings = read_configuration(config, overrides, None)
    spec = circuit_spec(settings)
    if spec is None:
        typer.echo(f"the `{settings.model.bottleneck.core.name}` core has no circuit")
        return
    if picture is not None:
        from qhybrid.quantum.analysis.tables import save_picture

        save_picture(spec, picture)
    typer.echo(str(spec.circuit.draw("text", fold=110)))
    _print_diagnosis(spec, device)
    if picture is not None:
        typer.echo(f"picture: {picture}")


def _print_diagnosis(spec: CircuitSpec, device: str | None) -> None:
    from rich.console import Console

    from qhybrid.quantum import device_shrinkage, diagnose, measure_capability
    from qhybrid.quantum.analysis import tables as show

    found = diagnose(spec)
    left = None if device is None else device_shrinkage(spec, device)
    console = Console()
    console.print(show.circuit_table(spec))
    console.print(show.parameter_table(spec, found))
    console.print(show.output_table(spec, found, left))
    capability = measure_capability(spec, pairs=show.affordable_pairs(spec.num_qubits))
    for line in show.summary_lines(found, capability, left):
        typer.echo(line)
