"""The stages of a run that need a device: the check of its name, the noise bank, the trained circuit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from qhybrid.config import HardwareConfig, RunConfig
    from qhybrid.rundir import RunDirectory


def check_devices(config: RunConfig) -> None:
    """Find out before hours of training whether the devices of a run's stages exist, and fit each other.

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


def check_reliance(config: RunConfig) -> None:
    """Find out as early whether the device that the evaluation names exists.

    Raises:
        CircuitError: There is no such device.
    """
    if config.evaluation is not None and config.evaluation.reliance is not None and config.evaluation.reliance.device:
        from qhybrid.quantum.devices.snapshots import snapshot

        snapshot(config.evaluation.reliance.device)


def run_on_device(directory: RunDirectory, config: HardwareConfig, resume: bool) -> None:
    """The hardware stage; for a real device the bill alone, since sending wants a yes of its own.

    Args:
        directory: A run with a checkpoint.
        config: Its hardware section.
        resume: Go on with the plan that lies there.
    """
    from hardware.runs.stages import infer, plan
    from hardware.service.backends import is_local, open_backend

    if is_local(open_backend(config.backend, fractional_gates=config.fractional_gates)):
        infer(directory, config, resume=resume, echo=typer.echo)
    elif not (resume and (directory.hardware / "plan.json").exists()):
        typer.echo(f"hardware plan: {plan(directory, config).summary()}")
        typer.echo(f"nothing was sent: `qhybrid hardware infer {directory.path} --yes` sends it")


def draw_bank(config: RunConfig, resume: bool) -> None:
    """Draw the noise bank of the configuration, unless it is there."""
    path = bank_to_draw(config)
    if path is None or config.noise_bank is None:
        return
    from hardware.commands.noise import report_certificate
    from hardware.noise.bank import draw_noise

    report_certificate(path, draw_noise(path, config.noise_bank, resume=resume, echo=typer.echo))


def bank_to_draw(config: RunConfig) -> Path | None:
    """The file of the configuration's noise bank, if it is to be drawn and is not there yet."""
    bank = config.diffusion.noise.bank
    if config.noise_bank is None or bank is None or Path(bank).exists():
        return None
    return Path(bank)
