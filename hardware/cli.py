"""`qhybrid hardware ...`; everything heavy is imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from hardware.tables import (
    backends_table,
    comparison_table,
    plan_table,
    status_table,
    transpile_table,
    variants_table,
)

if TYPE_CHECKING:
    from hardware.inference import Advance
    from qhybrid.config import HardwareConfig

app = typer.Typer(help="The trained circuit on a device: plan, run, compare.", no_args_is_help=True)
_console = Console()

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory with a trained circuit.")]
BackendOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="aer, fake_torino, fake_manila, ..., or an IBM device.")
]
ImagesOption = Annotated[int | None, typer.Option(help="Images to generate.")]
StepsOption = Annotated[int | None, typer.Option(help="Denoising steps.")]
QpuStepsOption = Annotated[
    str | None, typer.Option(metavar="auto|all|0,3,5|0-3", help="Denoising steps with the circuit on the device.")
]
ModeOption = Annotated[str | None, typer.Option(metavar="auto|job|batch|session", help="Runtime's execution mode.")]
LevelOption = Annotated[int | None, typer.Option(metavar="0|1|2", help="Resilience level.")]
ShotsOption = Annotated[int | None, typer.Option(help="Shots per image.")]
PackOption = Annotated[
    str | None, typer.Option(metavar="auto|1|K", help="Images side by side in one circuit, each on a place of its own.")
]
PrimitiveOption = Annotated[str | None, typer.Option(metavar="estimator|sampler", help="Runtime's primitive.")]
BudgetOption = Annotated[float | None, typer.Option(help="Refuse a plan of more device time.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed of the first image; image i uses seed + i.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Send to a real device.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def backends(as_json: JsonOption = False) -> None:
    """List local copies of IBM devices, and what the account offers if there is one."""
    import warnings
    from dataclasses import asdict

    from hardware.backends import describe_backend, ibm_backends, local_names, open_backend
    from hardware.errors import BackendError

    with warnings.catch_warnings():
        # One snapshot warns that its errors are not typical; they are shown as they are.
        warnings.simplefilter("ignore", UserWarning)
        rows = [describe_backend(name, open_backend(name)) for name in local_names()]
    note = None
    try:
        rows += [describe_backend(backend.name, backend) for backend in ibm_backends()]
    except BackendError as error:
        note = str(error)
    if as_json:
        _print_json({"backends": [asdict(row) for row in rows], "note": note})
        return
    _console.print(backends_table(rows))
    if note:
        _say(note)


@app.command()
def transpile(
    run: RunArgument,
    backend: BackendOption = None,
    fractional_gates: Annotated[
        bool | None, typer.Option("--fractional-gates", help="Use RX and RZZ as native gates.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Place the trained circuit on a backend: candidates, layout, estimated success; writes hardware/layout.png."""
    from hardware.backends import open_backend
    from hardware.errors import HardwareError
    from hardware.figures import draw_layout
    from hardware.isa_cache import cached_transpile
    from qhybrid.rundir import RunDirectory
    from qhybrid.training.checkpoint import load_checkpoint

    config = _config(run, backend=backend, fractional_gates=fractional_gates)
    device = open_backend(config.backend, fractional_gates=config.fractional_gates)
    spec = load_checkpoint(run).spec
    if spec is None:
        raise HardwareError(f"`{run}` has no circuit: train a `quantum` arm")
    placed = cached_transpile(spec, device)
    picture = RunDirectory.open(run).hardware / "layout.png"
    draw_layout(device, placed.layouts, picture)
    if as_json:
        _print_json(placed.report)
        return
    _console.print(transpile_table(placed.report))
    _say(f"layout drawn in {picture}")


@app.command()
def plan(
    run: RunArgument,
    backend: BackendOption = None,
    images: ImagesOption = None,
    steps: StepsOption = None,
    qpu_steps: QpuStepsOption = None,
    mode: ModeOption = None,
    level: LevelOption = None,
    shots: ShotsOption = None,
    pack: PackOption = None,
    primitive: PrimitiveOption = None,
    budget_seconds: BudgetOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a run would cost on the device, and write hardware/plan.json; nothing is sent."""
    from hardware.inference import plan as make

    options = _given(backend, images, steps, qpu_steps, mode, level, shots, pack, primitive, budget_seconds, seed)
    made = make(run, _config(run, **options))
    _print_json(made.to_dict()) if as_json else _console.print(plan_table(made))


@app.command()
def submit(
    run: RunArgument,
    backend: BackendOption = None,
    images: ImagesOption = None,
    steps: StepsOption = None,
    qpu_steps: QpuStepsOption = None,
    mode: ModeOption = None,
    level: LevelOption = None,
    shots: ShotsOption = None,
    pack: PackOption = None,
    primitive: PrimitiveOption = None,
    budget_seconds: BudgetOption = None,
    seed: SeedOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send the jobs of the next denoising step that uses the device, and do not wait for them."""
    from hardware.inference import submit as send

    options = _given(backend, images, steps, qpu_steps, mode, level, shots, pack, primitive, budget_seconds, seed)
    _report(send(run, _config(run, planned=True, **options), yes=yes, echo=_ignore if as_json else _say), as_json)


@app.command()
def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Where a run stands, and each of its jobs."""
    from hardware.inference import status as look

    found = look(run)
    if as_json:
        _print_json(found)
        return
    _console.print(status_table(found))


@app.command()
def fetch(run: RunArgument, as_json: JsonOption = False) -> None:
    """Take the results that are there and go on up to the next step that needs the device; nothing is sent."""
    from hardware.inference import fetch as take

    _report(take(run, echo=_ignore if as_json else _say), as_json)


@app.command()
def infer(
    run: RunArgument,
    backend: BackendOption = None,
    images: ImagesOption = None,
    steps: StepsOption = None,
    qpu_steps: QpuStepsOption = None,
    mode: ModeOption = None,
    level: LevelOption = None,
    shots: ShotsOption = None,
    pack: PackOption = None,
    primitive: PrimitiveOption = None,
    budget_seconds: BudgetOption = None,
    seed: SeedOption = None,
    yes: YesOption = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    wait_seconds: Annotated[
        float | None, typer.Option(help="Stop waiting for a job after so long; --resume goes on [default: never].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan, submit and fetch in one: images with the circuit on the device, compared with exact simulation."""
    from hardware.inference import infer as run_all

    options = _given(backend, images, steps, qpu_steps, mode, level, shots, pack, primitive, budget_seconds, seed)
    config = _config(run, planned=resume, **options)
    comparison = run_all(
        run, config, yes=yes, resume=resume, wait_seconds=wait_seconds, echo=_ignore if as_json else _say
    )
    _print_json(comparison) if as_json else _console.print(comparison_table(comparison))


@app.command()
def compare(
    run: RunArgument,
    levels: Annotated[
        str | None,
        typer.Option(metavar="0,1,2,sampler", help="Run it at these resilience levels as well, or by Sampler."),
    ] = None,
    packs: Annotated[
        str | None, typer.Option(metavar="auto,1,K", help="With --levels: and with so many images side by side.")
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Exact simulation, noisy simulation and device on the angles of the run; writes comparison.json and .png."""
    from hardware.inference import compare_run

    if levels is None and packs is None:
        comparison = compare_run(run)
        _print_json(comparison) if as_json else _console.print(comparison_table(comparison))
        return
    from hardware.variants import compare_variants

    comparison = compare_variants(
        run,
        (levels or "0").split(","),
        [_parse_pack(pack) for pack in packs.split(",")] if packs else (),
        yes=yes,
        echo=_ignore if as_json else _say,
    )
    _print_json(comparison) if as_json else _console.print(variants_table(comparison))


def _given(
    backend: str | None,
    images: int | None,
    steps: int | None,
    qpu_steps: str | None,
    mode: str | None,
    level: int | None,
    shots: int | None,
    pack: str | None,
    primitive: str | None,
    budget_seconds: float | None,
    seed: int | None,
) -> dict[str, Any]:
    chosen = None if qpu_steps is None else _parse_steps(qpu_steps)
    return {
        "backend": backend,
        "images": images,
        "steps": steps,
        "qpu_steps": chosen,
        "mode": mode,
        "level": level,
        "shots": shots,
        "pack": None if pack is None else _parse_pack(pack),
        "primitive": primitive,
        "budget_seconds": budget_seconds,
        "seed": seed,
    }


def _config(run: Path, *, planned: bool = False, **options: Any) -> HardwareConfig:
    """Options over those of the stored plan (if `planned`), else over the run's own, else over the defaults."""
    from qhybrid.config import HardwareConfig, build_config
    from qhybrid.rundir import RunDirectory, read_json

    directory = RunDirectory.open(run)
    values = directory.config().model_dump()
    base = values["hardware"] or HardwareConfig().model_dump()
    stored = directory.hardware / "plan.json"
    if planned and stored.exists():
        base = read_json(stored)["config"]
    given = {key: value for key, value in options.items() if value is not None}
    budget = given.pop("budget_seconds", None)
    config = build_config({**values, "hardware": {**base, **given}}, f"options and `{directory.config_file}`").hardware
    config = config or HardwareConfig()
    # A copy is not validated: a budget of 0 is to be refused with the seconds that the plan takes, not as a value.
    return config if budget is None else config.model_copy(update={"budget_seconds": budget})


def _parse_steps(text: str) -> str:
    import re

    from hardware.errors import HardwareError

    if text in ("auto", "all") or re.fullmatch(r"-?\d+(-\d+)?(,-?\d+(-\d+)?)*", text):
        return text
    raise HardwareError(f"--qpu-steps `{text}`: give auto, all, or step numbers such as 0,3,5 or 0-3") from None


def _parse_pack(text: str) -> Literal["auto"] | int:
    from hardware.errors import HardwareError

    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise HardwareError(f"--pack `{text}`: give auto, or the number of images side by side") from None


def _report(advance: Advance, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        _print_json(asdict(advance))
    else:
        _say(f"{advance.step} of {advance.steps} steps done; {advance.message}")


def _say(line: str) -> None:
    _console.print(line, highlight=False, soft_wrap=True)


def _ignore(line: str) -> None:
    """Progress lines have no place in JSON output."""


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
