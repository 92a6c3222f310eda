"""The `qhybrid noise` commands: make, certify and show banks, show a schedule, compare noisy circuits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from qhybrid.diffusion.certify import Certificate

app = typer.Typer(help="Quantum noise: banks of it, what they are worth, tailored schedules.", no_args_is_help=True)

BankArgument = Annotated[Path, typer.Argument(metavar="BANK", help="npz file with its json beside it.")]


@app.command()
def make(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.npz", help="The bank; its record goes beside it.")],
    source: Annotated[
        str, typer.Option(help="quantum_bits, quantum_intrinsic, or gaussian (pseudo-random, of the same law).")
    ] = "quantum_bits",
    device: Annotated[str, typer.Option(help="aer (no noise) or a device snapshot, e.g. fake_torino.")] = "aer",
    numbers: Annotated[int, typer.Option(help="Noise values wanted.", min=1)] = 1_000_000,
    qubits: Annotated[int, typer.Option(help="Measured qubits; for quantum_intrinsic, pixels of a patch.")] = 8,
    shots: Annotated[int, typer.Option(help="quantum_intrinsic: shots per expectation value.")] = 64,
    resolution: Annotated[int, typer.Option(help="quantum_bits: bits per normal number.")] = 16,
    extractor: Annotated[str, typer.Option(help="quantum_bits: none, von_neumann or toeplitz.")] = "von_neumann",
    seed: Annotated[int, typer.Option(help="Of the simulation.", min=0)] = 0,
    name: Annotated[str | None, typer.Option(help="By which a configuration may accept it.")] = None,
) -> None:
    """Simulate a bank of noise, write it and certify it."""
    from qhybrid.config import NoiseConfig, SimulatedNoiseConfig, build_section
    from qhybrid.diffusion.making import make_bank

    values = {
        "device": device,
        "qubits": qubits,
        "shots": shots,
        "resolution": resolution,
        "extractor": extractor,
    }
    settings = build_section(SimulatedNoiseConfig, values, "noise make")
    build_section(
        NoiseConfig, {"source": source} | ({} if source == "gaussian" else {"simulate": values}), "noise make"
    )
    certificate = make_bank(out, source, settings, numbers, seed=seed, name=name)
    typer.echo(f"bank: {out}")
    print_certificate(certificate)


@app.command()
def certify(bank: BankArgument) -> None:
    """Test a bank against what it claims, and write the certificate into its record."""
    from qhybrid.diffusion.making import certify as certify_bank

    print_certificate(certify_bank(bank))


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A bank (npz), or a configuration (yaml).")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.png", help="[default: beside PATH]")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a key of the configuration.")
    ] = None,
) -> None:
    """Draw a bank (histogram, Q-Q, autocorrelation, covariance) or the three curves of a tailored schedule."""
    target = out or path.with_suffix(".png")
    if path.suffix in (".yaml", ".yml"):
        _show_schedule(path, overrides or [], target)
    else:
        _show_bank(path, target)
    typer.echo(f"figure: {target}")


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory with a trained circuit.")],
    device: Annotated[str, typer.Option(help="Device snapshot whose noise the circuit gets.")],
    shots: Annotated[int, typer.Option(help="Shots per expectation value.", min=1)] = 1024,
    images: Annotated[int | None, typer.Option(help="Images in each way.", min=10)] = None,
) -> None:
    """Sample a checkpoint exactly, with shots, and under a device's noise: the same seeds, judged side by side."""
    from qhybrid.rundir import RunDirectory
    from qhybrid.studies.noise_comparison import compare_circuits

    result = compare_circuits(RunDirectory.open(run), device, shots, images)
    from rich.console import Console
    from rich.table import Table

    title = f"{result['images']} images of the same seeds, {shots} shots, noise of {device}"
    table = Table("circuit", "KID [95 %]", "mean pixel difference from exact, of 255", title=title)
    for name, row in result["ways"].items():
        low, high = row["interval"]
        difference = f"{row['pixel_difference']:.2f}"
        table.add_row(name.replace("_", " "), f"{row['kid']:.4f} [{low:.4f}, {high:.4f}]", difference)
    if result["floor"] is not None:
        table.add_row("real images", f"{result['floor']:.4f}", "")
    Console().print(table)


def _show_bank(path: Path, target: Path) -> None:
    from qhybrid.diffusion.bank import Bank
    from qhybrid.diffusion.charts import bank_figure, save_figure

    bank = Bank(path)
    record = bank.record
    typer.echo(f"{record.name}: {record.source} of {record.provenance.get('backend')}, {record.numbers:,} numbers")
    typer.echo(f"used {record.uses:.2f} times, by {len(record.drawn)} consumers")
    for consumer, count in record.drawn.items():
        typer.echo(f"  {count:>14,}  {consumer}")
    failed = None if record.certificate is None else record.certificate["failed"]
    typer.echo("not certified" if failed is None else f"failed: {', '.join(failed)}" if failed else "certified")
    save_figure(bank_figure(bank), target)


def _show_schedule(path: Path, overrides: list[str], target: Path) -> None:
    from qhybrid.config import load_config
    from qhybrid.data import load_data, to_tensor
    from qhybrid.diffusion.charts import save_figure, schedule_figure
    from qhybrid.diffusion.noise import GaussianNoise
    from qhybrid.diffusion.schedules import terminal_snr
    from qhybrid.diffusion.sources import open_source
    from qhybrid.seeds import Stream

    config = load_config(path, overrides)
    image = to_tensor(load_data(config.data).train[:1])[0]
    noise, name = config.diffusion.noise, Stream("image", 0, 0)
    quantum = GaussianNoise().draw(name, image.shape)
    if not noise.plain:
        purposes: tuple[Literal["forward", "latent", "reverse"], ...] = ("forward", "latent", "reverse")
        purpose = next((item for item in purposes if getattr(noise, item)), None)
        if purpose is not None:
            quantum = open_source(noise, purpose).draw(name, image.shape)
    gaussian = GaussianNoise().draw(name, image.shape)
    typer.echo(f"terminal signal-to-noise ratio: {terminal_snr(config.diffusion):.3g}")
    figure = schedule_figure(config.diffusion, image[0].numpy(), gaussian[0].numpy(), quantum[0].numpy())
    save_figure(figure, target)


def print_certificate(certificate: Certificate) -> None:
    """Print a line per check, what else was measured, and whether the claim is kept."""
    from rich.console import Console

    from qhybrid.diffusion.certificate_table import certificate_lines, certificate_table

    Console().print(certificate_table(certificate))
    for line in certificate_lines(certificate):
        typer.echo(line)
