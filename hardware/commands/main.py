"""`qhybrid hardware ...`; everything heavy is imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from hardware.commands.at_service import cancel, close, export, jobs, wait
from hardware.commands.evaluate import evaluate
from hardware.commands.noise import noise
from hardware.commands.options import (
    BackendOption,
    DiscardOption,
    FractionalOption,
    JsonOption,
    PartialOption,
    ResumeOption,
    RunArgument,
    WaitOption,
    YesOption,
    ignore,
    parse_pack,
    run_config,
    say,
    wait_limit,
    with_plan_options,
)
from hardware.commands.tables import (
    backends_table,
    comparison_table,
    plan_table,
    status_table,
    transpile_table,
    variants_table,
)
from hardware.commands.tune import tune

if TYPE_CHECKING:
    from hardware.runs.stages import Advance

app = typer.Typer(help="The trained circuit on a device: plan, run, compare.", no_args_is_help=True)
_console = Console()


@app.command()
def backends(as_json: JsonOption = False) -> None:
    """List what the account offers if there is one, then the local copies of IBM devices."""
    from dataclasses import asdict

    from hardware.service.backends import account_rows
    from hardware.service.local_devices import local_rows

    rows, note = account_rows()
    if not as_json:
        # Before the local copies are read, which takes a while the first time.
        if rows:
            _console.print(backends_table(rows))
        if note:
            say(note)
    local = local_rows()
    if as_json:
        _print_json({"backends": [asdict(row) for row in [*rows, *local]], "note": note})
        return
    _console.print(backends_table(local))


@app.command()
def transpile(
    run: RunArgument,
    backend: BackendOption = None,
    fractional_gates: FractionalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Place the trained circuit on a backend: candidates, layout, estimated success; writes hardware/layout.png."""
    from hardware.errors import HardwareError
    from hardware.placement.isa_cache import cached_transpile
    from hardware.placement.layout_figure import draw_layout
    from hardware.service.backends import open_backend
    from qhybrid.checkpoints.checkpoint import load_checkpoint
    from qhybrid.rundir import RunDirectory

    options = {"backend": backend, "fractional_gates": fractional_gates}
    config = run_config(run, {key: value for key, value in options.items() if value is not None})
    directory = RunDirectory.open(run)
    picture = directory.hardware / "layout.png"
    with directory.locked():
        spec = load_checkpoint(run).spec
        if spec is None:
            raise HardwareError(f"`{run}` has no circuit: train a `quantum` arm")
        device = open_backend(config.backend, fractional_gates=config.fractional_gates, qubits=spec.num_qubits)
        placed = cached_transpile(spec, device)
        draw_layout(device, placed.layouts, picture)
    if as_json:
        _print_json(placed.report)
        return
    _console.print(transpile_table(placed.report))
    say(f"layout drawn in {picture}")


@app.command()
@with_plan_options
def plan(
    run: RunArgument,
    options: dict[str, Any],
    as_json: JsonOption = False,
) -> None:
    """Say what a run would cost on the device; nothing is sent, and the plan of a run in flight stays."""
    from hardware.runs.stages import plan as make

    made = make(run, run_config(run, options), echo=ignore if as_json else say)
    _print_json(made.to_dict()) if as_json else _console.print(plan_table(made))


@app.command()
@with_plan_options
def submit(
    run: RunArgument,
    options: dict[str, Any],
    yes: YesOption = False,
    partial: PartialOption = False,
    discard: DiscardOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send all jobs that can be sent now, and do not wait for them."""
    from hardware.runs.stages import submit as send

    config = run_config(run, options, planned=True)
    _report(send(run, config, yes=yes, partial=partial, discard=discard, **_listeners(as_json)), as_json)


@app.command()
def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Where a run stands, and each of its jobs."""
    from hardware.runs.status import status as look

    found = look(run)
    if as_json:
        _print_json(found)
        return
    _console.print(status_table(found))
    if found["note"]:
        say(found["note"])


@app.command()
def fetch(run: RunArgument, as_json: JsonOption = False) -> None:
    """Take the results that are there and go on up to the next step that needs the device; nothing is sent."""
    from hardware.runs.stages import fetch as take

    _report(take(run, echo=ignore if as_json else say), as_json)


@app.command()
@with_plan_options
def infer(
    run: RunArgument,
    options: dict[str, Any],
    yes: YesOption = False,
    resume: ResumeOption = False,
    partial: PartialOption = False,
    discard: DiscardOption = False,
    wait_seconds: WaitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan, submit and fetch in one: images with the circuit on the device, compared with exact simulation."""
    from hardware.runs.stages import infer as run_all

    wait_seconds = wait_limit(wait_seconds)
    config = run_config(run, options, planned=resume)
    comparison = run_all(
        run,
        config,
        yes=yes,
        resume=resume,
        partial=partial,
        discard=discard,
        wait_seconds=wait_seconds,
        **_listeners(as_json),
    )
    _print_json(comparison) if as_json else _console.print(comparison_table(comparison))


@app.command()
def compare(
    run: RunArgument,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="0,rescale,1,2,sampler", help="Run it at these resilience levels as well, rescaled, or by Sampler."
        ),
    ] = None,
    packs: Annotated[str | None, typer.Option(metavar="auto,1,K", help="And with so many images side by side.")] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Exact simulation, noisy simulation and device on the angles of the run; writes comparison.json and .png."""
    from hardware.runs.stages import compare_run

    if levels is None and packs is None:
        comparison = compare_run(run)
        _print_json(comparison) if as_json else _console.print(comparison_table(comparison))
        return
    from hardware.runs.variants import compare_variants

    comparison = compare_variants(
        run,
        levels.split(",") if levels else (),
        [parse_pack(pack) for pack in packs.split(",")] if packs else (),
        yes=yes,
        echo=ignore if as_json else say,
    )
    _print_json(comparison) if as_json else _console.print(variants_table(comparison))


for command in (evaluate, tune, jobs, wait, cancel, close, export, noise):
    app.command()(command)


def _report(advance: Advance, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        _print_json(asdict(advance))
    else:
        from hardware.planning.bill import queue_waits

        left = f"; {queue_waits(advance.waits)} left" if advance.waits else ""
        say(f"{advance.step} of {advance.steps} steps done; {advance.message}{left}")


def _listeners(as_json: bool) -> dict[str, Any]:
    """Where a run's lines go, and the table of its plan."""
    if as_json:
        return {"echo": ignore, "show": ignore}
    return {"echo": say, "show": lambda made: _console.print(plan_table(made))}


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
