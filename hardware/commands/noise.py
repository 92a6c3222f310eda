"""`qhybrid hardware noise`: draw a bank of quantum noise from a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hardware.commands.options import (
    BackendOption,
    BudgetOption,
    CostOption,
    ModeOption,
    PriceOption,
    ResumeOption,
    WaitOption,
    YesOption,
    ignore,
    named_budget,
    say,
    wait_limit,
    with_budget,
)

if TYPE_CHECKING:
    from hardware.noise.plan import NoisePlan
    from qhybrid.config import NoiseBankConfig
    from qhybrid.diffusion.certify import Certificate

_console = Console()


def noise(
    backend: BackendOption = None,
    normals: Annotated[int | None, typer.Option(help="Noise values wanted.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.npz", help="The bank (default: that of --config).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="CONFIG", help="Options from its `noise_bank` section.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="quantum_bits|quantum_intrinsic", help="Kind of noise.")] = None,
    extractor: Annotated[
        str | None, typer.Option(metavar="none|von_neumann|toeplitz", help="quantum_bits: how bits are debiased.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="quantum_bits: bits per normal number.")] = None,
    max_readout_error: Annotated[float | None, typer.Option(help="Qubits that are read worse are left out.")] = None,
    max_gate_error: Annotated[
        float | None, typer.Option(help="Qubits whose one-qubit gates are worse are left out.")
    ] = None,
    qubits: Annotated[
        int | None, typer.Option(help="At most so many; quantum_intrinsic: of one circuit, the pixels of a tile.")
    ] = None,
    shots: Annotated[int | None, typer.Option(help="quantum_intrinsic: shots per expectation value.")] = None,
    places: Annotated[
        str | None, typer.Option(metavar="auto|K", help="quantum_intrinsic: circuits side by side.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="quantum_intrinsic: images of so many pixels a side are made of its patches.")
    ] = None,
    mode: ModeOption = None,
    budget_seconds: BudgetOption = None,
    budget_cost: CostOption = None,
    price_per_second: PriceOption = None,
    seed: Annotated[int | None, typer.Option(help="Of a local simulation.")] = None,
    name: Annotated[str | None, typer.Option(help="By which a configuration may accept the bank.")] = None,
    yes: YesOption = False,
    resume: ResumeOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop; nothing is sent.")] = False,
    wait_seconds: WaitOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plan and certificate as JSON.")] = False,
) -> None:
    """Draw a bank of quantum noise from a device by Sampler, and certify it.

    The bank is FILE.npz, its record FILE.json; FILE.hardware keeps the plan, the jobs and their raw bits, from which
    --resume goes on. Use it with `diffusion.noise: {source: quantum_bits, bank: FILE.npz}`.
    """
    from hardware.noise.bank import carry_out
    from hardware.noise.draw import is_complete, plan_noise
    from qhybrid.diffusion.making import certify

    given = {
        "backend": backend,
        "normals": normals,
        "source": source,
        "extractor": extractor,
        "resolution": resolution,
        "max_readout_error": max_readout_error,
        "max_gate_error": max_gate_error,
        "qubits": qubits,
        "shots": shots,
        "places": int(places) if places is not None and places.isdecimal() else places,
        "image_size": image_size,
        "mode": mode,
        "seed": seed,
        "name": name,
    }
    path, wanted = _wanted(config, out, {key: value for key, value in given.items() if value is not None})
    named = {"budget_seconds": budget_seconds, "budget_cost": budget_cost, "price_per_second": price_per_second}
    wanted, wait_seconds = with_budget(wanted, named_budget(named)), wait_limit(wait_seconds)
    draw = certificate = None
    if resume and is_complete(path):
        certificate = certify(path)
    else:
        draw = plan_noise(path, wanted, resume=resume)
        if not as_json:
            _console.print(noise_table(draw.plan))
        if not dry_run:
            certificate = carry_out(draw, yes=yes, wait_seconds=wait_seconds, echo=ignore if as_json else say)
    if as_json:
        parts = {"plan": draw and draw.plan.to_dict(), "certificate": certificate and certificate.to_dict()}
        typer.echo(json.dumps(parts, indent=2))
    elif certificate is not None:
        report_certificate(path, certificate)


def report_certificate(path: Path, certificate: Certificate) -> None:
    """Print what a bank is worth; one line says which claims it fails, if any."""
    from qhybrid.diffusion.certificate_table import certificate_lines, certificate_table

    _console.print(certificate_table(certificate))
    for line in certificate_lines(certificate):
        say(line)
    say(f"bank: {path}")
    if certificate.failed:
        failed = ", ".join(certificate.failed)
        say(f"WARNING: `{path}` FAILS ITS CERTIFICATE ({failed}); training and sampling refuse it")


def noise_table(plan: NoisePlan) -> Table:
    """The bill of a bank."""
    from hardware.commands.tables import budget_words
    from hardware.planning.bill import open_plan_words, price_words

    table = Table(show_header=False, title=f"Plan for {plan.device}")
    circuits = "" if plan.source == "quantum_bits" else f" in patches of {plan.patch[0]}x{plan.patch[1]} pixels"
    left = "unknown" if plan.remaining_seconds is None else f"{plan.remaining_seconds:.0f} s"
    rows = {
        "backend": plan.backend,
        "source": plan.source,
        "normals": f"{plan.normals:,}{circuits}",
        "qubits": f"{len(plan.qubits)} of {plan.device_qubits}: {' '.join(map(str, plan.qubits))}",
        "calibrated": plan.calibrated or "-",
        "mode": plan.mode,
        "jobs": f"{plan.jobs} of {plan.repeats} x {plan.shots:,} shots",
        "executions": f"{plan.executions:,}",
        "normals per execution": f"{plan.yield_per_execution:.3f}",
        "device time": f"{plan.seconds:.1f} s",
        **({} if plan.cost is None else {"price": price_words(plan.cost)}),
        "budget": budget_words(plan.budget),
        "share of an Open plan": open_plan_words(plan.open_plan_share),
        "left on the account": left if plan.quota_share is None else f"{left}, of which {plan.quota_share:.1%}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _wanted(config: Path | None, out: Path | None, given: dict[str, Any]) -> tuple[Path, NoiseBankConfig]:
    """Options over those of the configuration's `noise_bank` section, else over the defaults."""
    from hardware.errors import HardwareError
    from qhybrid.config import NoiseBankConfig, build_section, load_config

    base: dict[str, Any] = {}
    if config is not None:
        settings = load_config(config)
        if settings.noise_bank is None:
            raise HardwareError(f"`{config}` has no section `noise_bank`: give --backend, --normals and --out instead")
        base = settings.noise_bank.model_dump()
        out = out or Path(settings.diffusion.noise.bank or "")
    missing = [f"--{key}" for key in ("backend", "normals") if key not in given and not base]
    if out is None:
        missing.append("--out")
    if missing or out is None:
        raise HardwareError(f"{', '.join(missing)} missing: a bank needs --backend, --normals and --out, or --config")
    return out, build_section(NoiseBankConfig, {**base, **given}, "hardware noise")
