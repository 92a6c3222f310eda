"""`qhybrid hardware tune`: a trained model fitted to the device that it has run on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hardware.commands.options import (
    BackendOption,
    JsonOption,
    RunArgument,
    WaitOption,
    YesOption,
    ignore,
    say,
    wait_limit,
)

_console = Console()


def tune(
    run: RunArgument,
    budget_seconds: Annotated[
        float | None, typer.Option(help="Most device time that the run may take in all; for --spsa-steps.")
    ] = None,
    spsa_steps: Annotated[int, typer.Option(metavar="K", help="Steps of the circuit's weights on the device.")] = 0,
    circuits: Annotated[int, typer.Option(metavar="N", help="Circuits of a step, evaluated three times each.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="About as far as a weight moves in a step, in radians.")] = 0.02,
    seed: Annotated[int, typer.Option(help="Seed of the images and the noise of the steps.")] = 0,
    backend: BackendOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory of the tuned model (default: RUN-tuned).")
    ] = None,
    yes: YesOption = False,
    wait_seconds: WaitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refit the map behind the circuit to stored results, for nothing; with --spsa-steps tune the circuit as well.

    The run stays as it is. After a kill the same command goes on, and pays for nothing twice.
    """
    from hardware.tuning.tuned_model import Steps
    from hardware.tuning.tuned_model import tune as fit

    made = fit(
        run,
        out=out,
        backend=backend,
        budget_seconds=budget_seconds,
        steps=Steps(spsa_steps, circuits, learning_rate, seed),
        yes=yes,
        wait_seconds=wait_limit(wait_seconds),
        echo=ignore if as_json else say,
    )
    if as_json:
        typer.echo(json.dumps({**made.record, "out": str(made.run.path)}, indent=2))
        return
    steps = made.record["steps"]
    if steps is not None:
        _console.print(_table(steps))
    say(f"tuned model: {made.run.path}; `qhybrid hardware infer {made.run.path}` runs it as it was tuned")


def _table(steps: dict[str, Any]) -> Table:
    """Losses and price, and what became of the weights."""
    best, bill = steps["best"], steps["bill"]
    table = Table("steps", "loss", "on held-out images", "jobs", "executions", "seconds", title="Circuit's weights")
    looks = {row["step"]: row["loss"] for row in steps["history"] if row["kind"] == "held out"}
    made = {row["step"] + 1: row["loss"] for row in steps["history"] if row["kind"] == "step"}
    for step in sorted({0, *looks, *made}):
        rows = [row for row in steps["history"] if row["step"] + (row["kind"] == "step") == step]
        table.add_row(
            str(step),
            f"{made[step]:.4f}" if step in made else "",
            f"{looks[step]:.4f}" if step in looks else "",
            str(sum(len(row["jobs"]) for row in rows)),
            f"{sum(row['executions'] for row in rows):,}",
            f"{sum(row['seconds'] for row in rows):.1f}",
        )
    words = f"those after {best['step']} steps are kept" if best["kept"] else "they stay as they were"
    table.caption = (
        f"{words}: {best['difference']:+.4f} ± {best['standard_error']:.4f} on held-out images; "
        f"{bill['seconds']:.1f} s planned, {bill['taken']:.1f} s charged or still to be told"
    )
    return table
