"""`qhybrid hardware jobs | wait | cancel | close | export`: what a run has at the service, and what others can send."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hardware.commands.options import JsonOption, RunArgument, WaitOption, ignore, say, wait_limit
from hardware.commands.tables import jobs_table

_console = Console()


def jobs(run: RunArgument, as_json: JsonOption = False) -> None:
    """All jobs of a run: their state at the service, when they were sent, seconds planned and charged."""
    from hardware.runs.at_service import list_jobs

    found = list_jobs(run)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    _console.print(jobs_table(found))
    for job in found:
        if job["note"]:
            say(f"{job['job']}: {job['note']}")


def wait(run: RunArgument, wait_seconds: WaitOption = None, as_json: JsonOption = False) -> None:
    """Wait until every job of a run has ended; Ctrl-C leaves the jobs alone."""
    from hardware.runs.at_service import wait as wait_for

    states = wait_for(run, seconds=wait_limit(wait_seconds), echo=ignore if as_json else say)
    if as_json:
        typer.echo(json.dumps(states, indent=2))
    elif states:
        say(f"`qhybrid hardware fetch {run}` takes the results")


def cancel(run: RunArgument, as_json: JsonOption = False) -> None:
    """Cancel the jobs of a run that have not ended; what is done keeps its results."""
    from hardware.runs.at_service import cancel as cancel_all

    done = cancel_all(run, echo=ignore if as_json else say)
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))


def close(run: RunArgument, as_json: JsonOption = False) -> None:
    """Close the batches and sessions that a run left open at the service."""
    from hardware.runs.at_service import close as close_all

    closed = close_all(run, echo=ignore if as_json else say)
    if as_json:
        typer.echo(json.dumps({"closed": closed}, indent=2))


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files.")],
) -> None:
    """Write the run's circuit as QPY and OpenQASM 3, with a script that sends it with qiskit-ibm-runtime alone."""
    from hardware.runs.export import export as write

    write(run, out, echo=say)
