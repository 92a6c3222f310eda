"""What plan, submit, fetch and infer share: the checkpoint, its circuit on the device, the plan, and their files."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.providers import BackendV2
from torch import Tensor

from hardware.errors import HardwareError, OtherOptionsError
from hardware.inference.reverse_process import ReverseProcess, circuit_weights
from hardware.inference.sensitivity import measure_sensitivity
from hardware.jobs.budget import Budget, RunBudget
from hardware.placement.isa_cache import cached_transpile
from hardware.placement.layout_figure import draw_layout
from hardware.placement.packing import pack, patch_lines
from hardware.placement.transpilation import Program, Transpiled
from hardware.planning.bill import Plan, check_budget, make_plan, plan_key
from hardware.service.account import is_local, known_seconds_left
from hardware.service.backends import device_name, known_device, open_backend, with_chosen_device, without_device
from hardware.service.modes import has_sessions, resolve_mode
from qhybrid.checkpoints.checkpoint import Checkpoint, load_checkpoint
from qhybrid.config import BUDGET_KEYS, HardwareConfig, build_section, changed_keys
from qhybrid.data.images import to_uint8
from qhybrid.errors import CircuitError
from qhybrid.files import atomic_path, write_json
from qhybrid.quantum.devices.calibration import SavedBackend, read_calibration, save_calibration
from qhybrid.rundir import RunDirectory

SENSITIVITY_IMAGES = 4
CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True)
class Workload:
    """A planned run.

    Attributes:
        run: Directory of the run.
        checkpoint: The trained model.
        process: Reverse diffusion of the plan's images.
        transpiled: Circuit as transpiled for the device.
        device: Program for the whole device, which the plan prices.
        executed: Program that runs: the same, or on the simulated part of the device.
        plan: Plan with the costs of the run.
    """

    run: RunDirectory
    checkpoint: Checkpoint
    process: ReverseProcess
    transpiled: Transpiled
    device: Program
    executed: Program
    plan: Plan

    @property
    def local(self) -> bool:
        """Whether jobs are simulated here."""
        return is_local(self.device.backend)

    @property
    def state_file(self) -> Path:
        """Where the reverse process stores its state."""
        return self.run.hardware / "state.npz"

    @property
    def images_file(self) -> Path:
        """`images` and `exact` as uint8 `(N, H, W)` or `(N, H, W, 3)`, `seeds` and, if conditional, `labels`."""
        return self.run.hardware / "images.npz"

    @property
    def crop_note(self) -> str | None:
        """Says which part of a device is simulated, if it is a part."""
        whole, used = self.device.backend.num_qubits, self.transpiled.used_qubits()
        if not self.local or self.device.backend.coupling_map is None or len(used) == whole:
            return None
        apart = f", as {self.plan.pack} circuits one by one" if self.plan.pack > 1 else ""
        return (
            f"simulating qubits {', '.join(map(str, used))} of the {whole} of "
            f"{self.plan.backend}, with their errors and couplings{apart}"
        )

    def save_images(self, images: Tensor) -> None:
        """Write images.npz: the device's images and, from the same seeds, those of exact simulation."""
        exact = self.process.simulate().images
        arrays: dict[str, Any] = {
            "images": to_uint8(images),
            "exact": to_uint8(images.new_tensor(exact)),
            "seeds": np.array(self.process.seeds, dtype=np.int64),
        }
        if self.process.labels is not None:
            arrays["labels"] = self.process.labels
        with atomic_path(self.images_file) as temporary:
            np.savez(temporary, **arrays)


def plan_workload(run: RunDirectory, config: HardwareConfig, backend: BackendV2 | None = None) -> Workload:
    """Transpile and price; writes nothing.

    Args:
        run: Run directory with a checkpoint that has a circuit.
        config: Backend, images, steps, shots, ...
        backend: The configuration's backend where it has been opened before.

    Raises:
        HardwareError: Unknown backend, no circuit, circuit that does not fit, plan over the budget.
    """
    checkpoint = load_checkpoint(run.path)
    process = _process(checkpoint, config)
    backend = backend or open_backend(
        config.backend, fractional_gates=config.fractional_gates, qubits=process.core.spec.num_qubits
    )
    config = _within_budget(run, with_chosen_device(config, str(backend.name)), backend)
    transpiled = pack(
        cached_transpile(process.core.spec, backend),
        process.core.spec,
        backend,
        images=_sets_at_once(process, config),
        copies=config.pack,
        floor=config.pack_floor,
        spacing=config.pack_spacing,
    )
    device, executed = _programs(transpiled, process, backend)
    sessions = has_sessions(backend)
    may_be_session = config.mode == "session" or (config.mode == "auto" and sessions and not process.together)
    plan = make_plan(
        device,
        config,
        sensitivity=lambda: measure_sensitivity(_process(checkpoint, config, most=SENSITIVITY_IMAGES)),
        identity=_identity(checkpoint, transpiled),
        unet_seconds=_unet_seconds(process) if may_be_session else 0.0,
        sessions=sessions,
        known_sets=(lambda steps: len(process.known_round(steps).angles)) if process.together else None,
        patches=patch_lines(transpiled, backend),
        calibrated=transpiled.report["calibrated"],
        remaining_seconds=known_seconds_left(backend),
    )
    return Workload(run, checkpoint, process, transpiled, device, executed, plan)


def load_workload(
    run: RunDirectory,
    config: HardwareConfig | None = None,
    *,
    offline: bool = False,
    backend: BackendV2 | None = None,
) -> Workload | None:
    """The planned run that `hardware/` holds, with its circuit as it was transpiled; `None` if nothing was planned.

    Args:
        run: Directory of the planned run.
        config: Options that it must have been planned with; mode and budget may change. By default the stored ones.
        offline: The stored calibration takes the place of the backend: nothing can be sent, no account is needed.
        backend: The backend of `config` where it has been opened before.

    Raises:
        HardwareError: Planned with other options, for another circuit or another model.
    """
    if not (run.hardware / "plan.json").exists():
        return None
    plan = Plan.load(run.hardware / "plan.json")
    stored = build_section(HardwareConfig, plan.config, f"`{run.hardware / 'plan.json'}`")
    kept = None
    # With the device at hand a damaged file is no reason to stop.
    with nullcontext() if offline else suppress(CircuitError):
        kept = _kept_calibration(run, plan)
    if offline and kept is not None:
        backend = kept
    backend = backend or known_device(plan.backend, kept, fractional_gates=stored.fractional_gates)
    if config is not None:
        plan = _with_options(plan, stored, _within_budget(run, config, backend))
    checkpoint = load_checkpoint(run.path)
    process = _process(checkpoint, stored)
    transpiled = Transpiled.load(run.hardware)
    try:
        device, executed = _programs(transpiled, process, backend)
    except HardwareError as error:
        if is_local(backend) or kept is None:
            raise
        # The device has lost a coupling or a gate since; results of jobs that were sent are of the stored circuit.
        device, executed = _programs(transpiled, process, without_device(backend, kept, str(error)))
    if plan.rounds != len(process.rounds(plan.qpu_steps)):
        raise HardwareError(
            f"`{run.hardware}` holds the plan of an earlier version, step by step, for circuits that are sent together "
            "now: plan again"
        )
    if plan_key(_identity(checkpoint, transpiled), stored, plan.qpu_steps) != plan.key:
        raise HardwareError(
            f"`{run.hardware}` holds a plan for another model than the last checkpoint: start again without --resume"
        )
    return Workload(run, checkpoint, process, transpiled, device, executed, plan)


def open_run(run: RunDirectory | str | Path) -> RunDirectory:
    """A run directory by its path, or as it is.

    Raises:
        RunDirectoryError: Not a run directory.
    """
    if isinstance(run, RunDirectory):
        RunDirectory.open(run.path)
        return run
    return RunDirectory.open(run)


def planned_workload(run: RunDirectory, *, offline: bool = False) -> Workload:
    """`load_workload` of a run for which something was planned.

    Raises:
        HardwareError: Nothing was.
    """
    workload = load_workload(run, offline=offline)
    if workload is None:
        raise HardwareError(f"`{run.path}` has no hardware plan: run `qhybrid hardware plan` or `infer` first")
    return workload


def save_plan(workload: Workload) -> None:
    """Write plan.json, isa.qpy, transpiled.json, layout.png and, of a device, calibration.json."""
    folder = workload.run.hardware
    backend = workload.device.backend
    if backend.coupling_map is not None:
        save_calibration(backend, folder / CALIBRATION_FILE, workload.plan.calibrated)
    else:
        # That of an earlier plan's device would stand for the simulator in `compare` and `replay`.
        (folder / CALIBRATION_FILE).unlink(missing_ok=True)
    workload.transpiled.save(folder)
    draw_layout(workload.device.backend, workload.transpiled.layouts, folder / "layout.png")
    if not workload.local:
        RunBudget(workload.run).promise(workload.plan.budget)
    # Last, since it is what tells that a run was planned.
    write_json(folder / "plan.json", workload.plan.to_dict())


def _kept_calibration(run: RunDirectory, plan: Plan) -> SavedBackend | None:
    """The device as the run has stored it; `None` if it has not, or stored another plan's device."""
    path = run.hardware / CALIBRATION_FILE
    if not path.exists():
        return None
    kept = read_calibration(path)
    return kept if (device_name(kept), kept.calibrated) == (plan.device, plan.calibrated) else None


def _within_budget(run: RunDirectory, config: HardwareConfig, backend: BackendV2) -> HardwareConfig:
    """Options with the parts of the run's budget that they do not name."""
    if is_local(backend):
        return config
    named = Budget.of(config.model_dump())
    return config.model_copy(update=named.over(RunBudget(run).promised()).options())


def _with_options(plan: Plan, stored: HardwareConfig, config: HardwareConfig) -> Plan:
    config = with_chosen_device(config, stored.backend)
    free = {"mode", *BUDGET_KEYS}
    changed = changed_keys(stored.model_dump(exclude=free), config.model_dump(exclude=free))
    if changed:
        raise OtherOptionsError(
            f"the run was planned with other options ({', '.join(changed)}): give the same, "
            "or start again without --resume"
        )
    # `auto` has been resolved when the run was planned.
    mode = plan.mode if config.mode == "auto" else resolve_mode(config.mode, plan.jobs_per_round)
    budget = Budget.of(config.model_dump())
    changed_plan = replace(
        plan,
        mode=mode,
        budget_seconds=budget.limit,
        config=config.model_dump(),
        cost=budget.cost_of(plan.seconds),
    )
    check_budget(changed_plan)
    return changed_plan


def _process(checkpoint: Checkpoint, config: HardwareConfig, most: int | None = None) -> ReverseProcess:
    images = config.images if most is None else min(most, config.images)
    return ReverseProcess(checkpoint, config.steps, range(config.seed, config.seed + images))


def _sets_at_once(process: ReverseProcess, config: HardwareConfig) -> int:
    """Parameter sets that copies of the circuit can share out, at most."""
    if not process.together:
        return config.images
    listed = () if isinstance(config.qpu_steps, str) else config.qpu_steps
    # Steps that do not exist are refused where the plan is made.
    steps = [step for step in listed if 0 <= step < config.steps] or range(config.steps)
    return len(process.known_round(steps).angles)


def _programs(transpiled: Transpiled, process: ReverseProcess, backend: Any) -> tuple[Program, Program]:
    spec, weights = process.core.spec, circuit_weights(process.core)
    device = transpiled.program(spec, weights, backend)
    return device, transpiled.local_program(spec, weights, backend) if is_local(backend) else device


def _identity(checkpoint: Checkpoint, transpiled: Transpiled) -> str:
    """Content hash of the weights, the circuit and its place on the device."""
    digest = hashlib.sha256(f"{transpiled.spec_hash} {transpiled.layouts} {checkpoint.image_shape}".encode())
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        values: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
        # The name that plans were made with before the circuit was one core among others.
        digest.update(name.replace(".core.layer.", ".layer.").encode() + values.tobytes())
    if checkpoint.labels is not None:
        digest.update(json.dumps(checkpoint.labels.to_json(), sort_keys=True).encode())
    return digest.hexdigest()


def _unet_seconds(process: ReverseProcess) -> float:
    """Time of one denoising step at home."""
    begin = time.perf_counter()
    process.simulate()
    return (time.perf_counter() - begin) / process.steps
