"""The command line: reads a configuration, calls the stages, turns a user's mistakes into one line and exit code 2.

The composition root: the only module of `qhybrid` that knows of `hardware`, whose commands it mounts. Everything heavy
is imported inside the commands, there as here, so that `qhybrid --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware.commands.main import app as hardware_app
from qhybrid.commands.noise import app as noise_app
from qhybrid.errors import Interrupted, QHybridError

if TYPE_CHECKING:
    from qhybrid.config import HardwareConfig, RunConfig
    from qhybrid.quantum import CircuitSpec
    from qhybrid.rundir import RunDirectory

USER_ERROR = 2
INTERRUPTED = 130


app = typer.Typer(
    help="Hybrid quantum-classical image diffusion: train on a simulator, run on an IBM quantum device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(hardware_app, name="hardware")
bench_app = typer.Typer(help="Measure how fast this installation is.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
app.add_typer(noise_app, name="noise")

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, e.g. configs/quickstart.yaml.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory made by `run` or `train`.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a key of the configuration; repeatable.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Run directory [default: runs/<name>-<time>].")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out from its last checkpoint.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved configuration, model sizes and estimated time, and stop.")
]
DataRootOption = Annotated[
    str | None,
    typer.Option("--data-root", metavar="DIR", help="Folder of data sets [default: QHYBRID_DATA or a cache]."),
]


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
    settings = _configuration(config, overrides, data_root)
    _check_hardware(settings)
    _check_reliance(settings)
    if dry_run:
        _print_dry_run(settings)
        return
    _draw_bank(settings, resume)
    from qhybrid.training.loop import train as train_model

    directory = train_model(settings, out, resume=resume)
    if settings.sampling is not None:
        _sample(directory)
    if settings.evaluation is not None:
        _evaluate(directory)
    if settings.hardware is not None:
        _run_on_device(directory, settings.hardware, resume)
    if settings.report:
        _report(directory)
    _say(f"run directory: {directory.path}")


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
    settings = _configuration(config, overrides, data_root)
    if dry_run:
        _print_dry_run(settings)
        return
    from qhybrid.training.loop import train as train_model

    directory = train_model(settings, out, resume=resume)
    _say(f"run directory: {directory.path}")


@app.command()
def sample(
    run: RunArgument,
    images: Annotated[int | None, typer.Option(help="Number of images.")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpm-solver++, unipc, or a registered one.")] = None,
    steps: Annotated[int | None, typer.Option(help="Reverse steps.")] = None,
    eta: Annotated[float | None, typer.Option(help="Noise level of ddim, 0 to 1.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first image; image i uses seed + i.")] = None,
    classes: Annotated[
        str | None, typer.Option("--class", metavar="C,C,...", help="Classes to take in turn, e.g. 3,7.")
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Weight of classifier-free guidance; 1 is none.")] = None,
) -> None:
    """Generate images from the last checkpoint of a run."""
    chosen = None if classes is None else _class_numbers(classes)
    given = {"images": images, "sampler": sampler, "steps": steps, "eta": eta, "seed": seed}
    _sample(_open(run), **given, classes=chosen, guidance=guidance)


@app.command()
def evaluate(
    run: RunArgument,
    reliance: Annotated[
        bool | None,
        typer.Option(
            "--reliance/--no-reliance",
            help="Measure how much the images rely on the core in the bottleneck [default: as configured].",
        ),
    ] = None,
) -> None:
    """Judge a run's generated images: KID, FID, precision, recall, memorization, each beside its floor; reliance."""
    _evaluate(_open(run), reliance)


@app.command()
def report(run: RunArgument) -> None:
    """Write a run's `report.html`, one self-contained file, from the stages that it has."""
    _report(_open(run))


@app.command()
def study(
    file: Annotated[
        Path, typer.Argument(metavar="STUDY", help="YAML file, e.g. configs/studies/noise_factorial.yaml.")
    ],
    overrides: SetOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="[default: runs/<name>]")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time, each in a process of its own.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cells and the estimated time, and stop.")
    ] = False,
    data_root: DataRootOption = None,
) -> None:
    """Train, sample and judge every cell of a factorial study, paired by seed; run again, it goes on."""
    from qhybrid.studies.plan import load_study

    plan = load_study(file, overrides or (), _given(overrides, data_root))
    if dry_run:
        from qhybrid.studies.report import plan_lines

        for line in plan_lines(plan, jobs):
            _say(line)
        return
    from qhybrid.studies.run import run_study

    run_study(plan, out or Path("runs") / plan.config.name, jobs=jobs, echo=_say)


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

    settings = _configuration(config, overrides, None)
    spec = circuit_spec(settings)
    if spec is None:
        _say(f"the `{settings.model.bottleneck.core.name}` core has no circuit")
        return
    if picture is not None:
        from qhybrid.quantum.analysis.tables import save_picture

        save_picture(spec, picture)
    _say(str(spec.circuit.draw("text", fold=110)))
    _print_diagnosis(spec, device)
    if picture is not None:
        _say(f"picture: {picture}")


@app.command()
def doctor() -> None:
    """Tell what this machine and this installation can do."""
    from qhybrid.commands.doctor import print_findings

    print_findings()


@bench_app.command()
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

    measure_layer(qubits, peers=peers, growth=growth, repeats=repeats, budget=budget, json_file=json_file, echo=_say)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except Interrupted as interruption:
        print(f"interrupted: {interruption}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except QHybridError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)


def _configuration(path: Path, overrides: list[str] | None, data_root: str | None) -> RunConfig:
    from qhybrid.config import load_config

    return load_config(path, overrides or (), _given(overrides, data_root))


def _given(overrides: list[str] | None, data_root: str | None) -> dict[str, str]:
    """Keys that have an option of their own, which is no YAML; all that changes the configuration is echoed."""
    given = {} if data_root is None else {"data.root": data_root}
    for line in [*(overrides or []), *(f"{key}={value}" for key, value in given.items())]:
        _say(f"set {line}")
    return given


def _open(path: Path) -> RunDirectory:
    from qhybrid.rundir import RunDirectory

    return RunDirectory.open(path)


def _sample(run: RunDirectory, **overrides: Any) -> None:
    from qhybrid.config import SamplingConfig, build_section
    from qhybrid.sampling.generate import sample as generate_images

    stored = (run.config().sampling or SamplingConfig()).model_dump()
    given = {key: value for key, value in overrides.items() if value is not None}
    if "images" in given and isinstance(stored["classes"], dict):
        # Another number of images than the counts of the run's own section: its classes in turn.
        stored["classes"] = list(stored["classes"])
    images = generate_images(run, build_section(SamplingConfig, stored | given, "sampling"))
    _say(f"{len(images)} images: {run.images_file}, {run.grid_file}")


def _class_numbers(text: str) -> list[int]:
    """The classes of `--class 3,7`.

    Raises:
        ConfigError: Not numbers separated by commas.
    """
    from qhybrid.errors import ConfigError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--class `{text}`: expected class numbers separated by commas, e.g. 3,7")
    return [int(part) for part in parts]


def _evaluate(run: RunDirectory, reliance: bool | None = None) -> None:
    from qhybrid.evaluation.evaluate import evaluate as evaluate_run
    from qhybrid.evaluation.evaluate import summary_lines

    for line in summary_lines(evaluate_run(run, reliance=reliance)):
        _say(line)


def _report(run: RunDirectory) -> None:
    from qhybrid.report.page import write_report

    _say(f"report: {write_report(run)}")


def _check_hardware(config: RunConfig) -> None:
    """Find out before hours of training whether the devices of its stages exist, and fit each other.

    Raises:
        QHybridError: There is no such device; or the circuit is trained under the noise of another than it runs on.
    """
    stages = [stage for stage in (config.noise_bank, config.hardware) if stage is not None]
    if not stages:
        return
    from hardware.service.backends import IDEAL, device_name, open_backend

    for stage in stages:
        open_backend(stage.backend)
    noise = config.quantum.noise
    if config.hardware is None or noise is None or config.hardware.backend == IDEAL:
        return
    from qhybrid.errors import ConfigError
    from qhybrid.quantum.devices.snapshots import snapshot

    if device_name(snapshot(noise.device)) != device_name(open_backend(config.hardware.backend)):
        raise ConfigError(
            f"`quantum.noise.device: {noise.device}` is the noise of another device than `hardware.backend: "
            f"{config.hardware.backend}`: name the same device twice, or leave out `hardware` and run "
            "`qhybrid hardware infer` afterwards, which goes to any"
        )


def _check_reliance(config: RunConfig) -> None:
    """Find out as early whether the device that the evaluation names exists.

    Raises:
        CircuitError: There is no such device.
    """
    if config.evaluation is not None and config.evaluation.reliance is not None and config.evaluation.reliance.device:
        from qhybrid.quantum.devices.snapshots import snapshot

        snapshot(config.evaluation.reliance.device)


def _run_on_device(directory: RunDirectory, config: HardwareConfig, resume: bool) -> None:
    """The hardware stage; for a real device the bill alone, since sending wants a yes of its own."""
    from hardware.runs.stages import infer, plan
    from hardware.service.backends import is_local, open_backend

    if is_local(open_backend(config.backend, fractional_gates=config.fractional_gates)):
        infer(directory, config, resume=resume, echo=_say)
    elif not (resume and (directory.hardware / "plan.json").exists()):
        _say(f"hardware plan: {plan(directory, config).summary()}")
        _say(f"nothing was sent: `qhybrid hardware infer {directory.path} --yes` sends it")


def _draw_bank(config: RunConfig, resume: bool) -> None:
    """Draw the noise bank of the configuration, unless it is there."""
    path = _bank_to_draw(config)
    if path is None or config.noise_bank is None:
        return
    from hardware.commands.noise import report_certificate
    from hardware.noise.bank import draw_noise

    report_certificate(path, draw_noise(path, config.noise_bank, resume=resume, echo=_say))


def _bank_to_draw(config: RunConfig) -> Path | None:
    """The file of the configuration's noise bank, if it is to be drawn and is not there yet."""
    bank = config.diffusion.noise.bank
    if config.noise_bank is None or bank is None or Path(bank).exists():
        return None
    return Path(bank)


def _print_dry_run(config: RunConfig) -> None:
    from qhybrid.config import dump_config
    from qhybrid.studies.time_estimate import estimate

    _say(dump_config(config).rstrip())
    if _bank_to_draw(config) is not None:
        _say("the noise bank is drawn first (its cost: `qhybrid hardware noise --config CONFIG --dry-run`)")
        _say("the times of training and sampling are measured with it, so they can be told once it is there")
        return
    for line in estimate(config):
        _say(line)


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
        _say(line)


def _say(text: str) -> None:
    typer.echo(text)


if __name__ == "__main__":
    main()
