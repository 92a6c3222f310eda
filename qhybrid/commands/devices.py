"""The stages of a run that need a device: the check of its name, the noise bank, the trained circuit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qhybrid.config import HardwareConfig, RunConfig
    from qhybrid.rundir import RunDirectory


Devices = dict[tuple[str, bool], "BackendV2"]
"""Local devices that have been opened, by name and whether their gates are fractional."""


def check_devices(config: RunConfig) -> Devices:
    """Find out before hours of training whether the devices of a run's stages exist, and fit each other.

    Returns:
        The local devices of the stages, opened once for all of them. A device of an account is opened anew by its
        stage, since its token and its calibration are hours old by then.

    Raises:
        QHybridError: There is no such device; the circuit does not fit it; or the circuit is trained under the noise of
            another than it runs on.
    """
    stages: set[tuple[str, bool]] = set()
    if config.noise_bank is not None:
        stages.add((config.noise_bank.backend, False))
    if config.hardware is not None:
        stages.add((config.hardware.backend, config.hardware.fractional_gates))
    if not stages:
        return {}
    from hardware.service.account import is_local
    from hardware.service.backends import IDEAL, device_name, open_backend
    from qhybrid.models.build import circuit_spec

    spec = circuit_spec(config)
    qubits = 1 if spec is None else spec.num_qubits
    opened = {
        (name, fractional): open_backend(name, fractional_gates=fractional, qubits=qubits)
        for name, fractional in sorted(stages)
    }
    if config.hardware is not None and spec is not None:
        from hardware.placement.isa_cache import cached_transpile

        # The stage itself finds it in the cache.
        cached_transpile(spec, opened[config.hardware.backend, config.hardware.fractional_gates])
    noise = config.quantum.noise
    if config.hardware is not None and noise is not None and config.hardware.backend != IDEAL:
        from qhybrid.errors import ConfigError
        from qhybrid.quantum.devices.snapshots import snapshot

        device = opened[config.hardware.backend, config.hardware.fractional_gates]
        if device_name(snapshot(noise.device)) != device_name(device):
            raise ConfigError(
                f"`quantum.noise.device: {noise.device}` is the noise of another device than `hardware.backend: "
                f"{config.hardware.backend}`: name the same device twice, or leave out `hardware` and run "
                "`qhybrid hardware infer` afterwards, which goes to any"
            )
    return {stage: backend for stage, backend in opened.items() if is_local(backend)}


def run_on_device(directory: RunDirectory, config: HardwareConfig, resume: bool, devices: Devices) -> None:
    """The hardware stage; for a real device the bill alone, since sending wants a yes of its own.

    Args:
        directory: A run with a checkpoint.
        config: Hardware section of the run's configuration.
        resume: Whether to go on with the plan that the directory holds.
        devices: Devices that `check_devices` has opened.
    """
    from hardware.runs.stages import infer, plan

    backend = devices.get((config.backend, config.fractional_gates))
    if backend is not None:
        infer(directory, config, resume=resume, echo=typer.echo, backend=backend)
    elif not (resume and (directory.hardware / "plan.json").exists()):
        typer.echo(f"hardware plan: {plan(directory, config).summary()}")
        typer.echo(f"nothing was sent: `qhybrid hardware infer {directory.path} --yes` sends it")


def draw_bank(config: RunConfig, resume: bool, devices: Devices) -> None:
    """Draw the noise bank of the configuration, unless it is there; first make sure that it will be of use.

    Args:
        config: The whole configuration.
        resume: Whether to go on with a draw that was interrupted.
        devices: Devices that `check_devices` has opened.
    """
    path = bank_to_draw(config)
    if path is None or config.noise_bank is None:
        return
    from hardware.commands.noise import report_certificate
    from hardware.noise.bank import draw_noise

    _check_use_of_bank(config, config.noise_bank.normals)

    backend = devices.get((config.noise_bank.backend, False))
    report_certificate(path, draw_noise(path, config.noise_bank, resume=resume, echo=typer.echo, backend=backend))


def _check_use_of_bank(config: RunConfig, numbers: int) -> None:
    """Prepare the training but for its bank, so that none is drawn for a run that cannot work.

    Args:
        config: The whole configuration.
        numbers: How many numbers the bank is going to hold.

    Raises:
        QHybridError: The training or a later stage cannot work, or the bank will be too small.
    """
    from qhybrid.config import NoiseConfig
    from qhybrid.diffusion.supply import check_size, training_demands
    from qhybrid.preflight import later_demands
    from qhybrid.training.loop import prepare

    noise = config.diffusion.noise
    plain = config.diffusion.model_copy(update={"noise": NoiseConfig(circuit=noise.circuit)})
    shape = prepare(config.model_copy(update={"diffusion": plain})).image_shape
    check_size(noise, numbers, [*training_demands(config, shape), *later_demands(config, shape)])


def bank_to_draw(config: RunConfig) -> Path | None:
    """The file of the configuration's noise bank, if it is to be drawn and is not there yet."""
    bank = config.diffusion.noise.bank
    if config.noise_bank is None or bank is None or Path(bank).exists():
        return None
    return Path(bank)
