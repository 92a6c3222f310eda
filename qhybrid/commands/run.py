"""`qhybrid run`, `train` and `sample`: the stages that make images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhybrid.commands import devices, judge
from qhybrid.commands.options import (
    ConfigArgument,
    DataRootOption,
    DryRunOption,
    OutOption,
    ResumeOption,
    SetOption,
    read_configuration,
)
from qhybrid.errors import ConfigError

if TYPE_CHECKING:
    from qhybrid.config import RunConfig

app = typer.Typer()


@app.command()
def run(
    config: ConfigArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    data_root: DataRootOption = None,
) -> None:
    """Every stage that the configuration names: noise bank, train, sample, evaluate, hardware, report."""
    settings = read_configuration(config, overrides, data_root)
    opened = devices.check_devices(settings)
    if dry_run:
        _print_dry_run(settings)
        return
    from qhybrid.processes import launched_processes
    from qhybrid.training.loop import check_start
    from qhybrid.training.loop import train as train_model

    if launched_processes() > 1:
        raise ConfigError(
            f"`qhybrid run` is for one process, not {launched_processes()}: several train with `qhybrid train CONFIG "
            "--out DIR`, then `qhybrid run CONFIG --out DIR --resume` does the other stages"
        )
    check_start(settings, out, resume=resume)
    devices.draw_bank(settings, resume, opened)
    if resume:
        _say_where_it_begins(out)
    directory = train_model(settings, out, resume=resume)
    with directory.locked():
        if settings.sampling is not None:
            _sample(directory.path)
        if settings.evaluation is not None:
            judge.evaluate_images(directory)
        if settings.hardware is not None:
            devices.run_on_device(directory, settings.hardware, resume, opened)
        if settings.report:
            judge.report_on(directory)
    typer.echo(f"run directory: {directory.path}")


@app.command()
def train(
    config: ConfigArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    data_root: DataRootOption = None,
) -> None:
    """Train only; `--resume` goes on after an interruption, with the same result as without one."""
    settings = read_configuration(config, overrides, data_root)
    if dry_run:
        _print_dry_run(settings)
        return
    from qhybrid.processes import is_main_process
    from qhybrid.training.loop import train as train_model

    if resume and is_main_process():
        _say_where_it_begins(out)
    directory = train_model(settings, out, resume=resume)
    if is_main_process():
        typer.echo(f"run directory: {directory.path}")


@app.command()
def sample(
    source: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run directory, exported model, or one of the package (digits).")
    ],
    images: Annotated[int | None, typer.Option(help="Number of images.")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpm-solver++, unipc, or a registered one.")] = None,
    steps: Annotated[int | None, typer.Option(help="Reverse steps.")] = None,
    eta: Annotated[float | None, typer.Option(help="Noise level of ddim, 0 to 1.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first image; image i uses seed + i.")] = None,
    classes: Annotated[
        str | None, typer.Option("--class", metavar="C,C,...", help="Classes to take in turn, e.g. 3,7.")
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Weight of classifier-free guidance; 1 is none.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for `samples/` [default: the run or model itself; for the package's: runs/<name>-<time>].",
        ),
    ] = None,
) -> None:
    """Generate images with the last checkpoint of a run, an exported model, or one that comes with the package."""
    chosen = None if classes is None else _class_numbers(classes)
    given = {"images": images, "sampler": sampler, "steps": steps, "eta": eta, "seed": seed}
    _sample(source, out, **given, classes=chosen, guidance=guidance)


def _say_where_it_begins(out: Path | None) -> None:
    """A line where `--resume` finds nothing to go on with, so that a mistyped --out is noticed."""
    from qhybrid.checkpoints.checkpoint import latest_checkpoint
    from qhybrid.rundir import RunDirectory

    if out is not None and latest_checkpoint(RunDirectory(out)) is None:
        there = "has no checkpoint yet" if (out / "config.yaml").exists() else "holds no run yet"
        typer.echo(f"--resume: `{out}` {there}, so training starts at step 0")


def _sample(source: str | Path, out: Path | None = None, **given: Any) -> None:
    from qhybrid.errors import RunDirectoryError
    from qhybrid.hub.pretrained import from_pretrained
    from qhybrid.rundir import RunDirectory, default_place
    from qhybrid.sampling.generate import sample_checkpoint

    if out is not None and (out / "config.yaml").exists() and out.resolve() != Path(source).resolve():
        raise RunDirectoryError(f"`{out}` holds a run, whose samples would be lost: choose another --out")
    model = from_pretrained(source)
    target = RunDirectory(out or model.place or default_place(model.checkpoint.config))
    images = sample_checkpoint(model.checkpoint, model.options(**given), target)
    typer.echo(f"{len(images)} images: {target.images_file}, {target.grid_file}")


def _class_numbers(text: str) -> list[int]:
    """The classes of `--class 3,7`.

    Raises:
        ConfigError: Not numbers separated by commas.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--class `{text}`: expected class numbers separated by commas, e.g. 3,7")
    return [int(part) for part in parts]


def _print_dry_run(config: RunConfig) -> None:
    from qhybrid.config import dump_config
    from qhybrid.studies.time_estimate import estimate

    typer.echo(dump_config(config).rstrip())
    if devices.bank_to_draw(config) is not None:
        typer.echo("the noise bank is drawn first (its cost: `qhybrid hardware noise --config CONFIG --dry-run`)")
        typer.echo("the times of training and sampling are measured with it, so they can be told once it is there")
        return
    for line in estimate(config):
        typer.echo(line)
