"""`qhybrid bench`: how fast this installation is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure how fast this installation is.", no_args_is_help=True)


@app.command()
def layer(
    qubits: Annotated[str, typer.Option(help="Sizes, separated by commas.")] = "4,8,12,16",
    peers: Annotated[bool, typer.Option(help="Also measure the peers of the `bench` extra.")] = True,
    growth: Annotated[bool, typer.Option(help="Also measure growth, the machine's floor and precision.")] = True,
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 7,
    budget: Annotated[float, typer.Option(min=0.0, help="Seconds for one contender at one size.")] = 30.0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers there.")] = None,
) -> None:
    """The quantum layer's training step beside PennyLane, TensorCircuit-NG and the stock TorchConnector."""
    from qhybrid.benchmarks.report import measure_layer

    measure_layer(
        qubits, peers=peers, growth=growth, repeats=repeats, budget=budget, json_file=json_file, echo=typer.echo
    )
