"""A bank that is planned or begun: its circuit, its bill, its folder."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from qiskit.providers import BackendV2

from hardware.errors import HardwareError
from hardware.jobs.budget import Budget
from hardware.noise.circuits import NoiseCircuit
from hardware.noise.plan import NoisePlan, check_noise_budget, make_noise_plan
from hardware.service.account import is_local
from hardware.service.backends import open_backend, with_chosen_device
from hardware.service.modes import resolve_mode
from qhybrid.config import BUDGET_KEYS, NoiseBankConfig, build_section, changed_keys
from qhybrid.files import write_json
from qhybrid.quantum.devices.calibration import save_calibration


@dataclass(frozen=True)
class NoiseDraw:
    """A planned bank.

    Attributes:
        path: The npz file to be written.
        plan: Plan with the costs of the draw.
        circuit: Circuit to be executed, on the device's qubits.
        backend: Device, or its local copy, that executes the circuit.
    """

    path: Path
    plan: NoisePlan
    circuit: NoiseCircuit
    backend: BackendV2

    @property
    def config(self) -> NoiseBankConfig:
        """Configuration that was asked for."""
        return NoiseBankConfig.model_validate(self.plan.config)

    @property
    def folder(self) -> Path:
        """Where the draw keeps its state."""
        return work_folder(self.path)

    @property
    def local_note(self) -> str | None:
        """Says what is simulated in place of the device, if anything is."""
        if not is_local(self.backend):
            return None
        groups = self.circuit.groups
        what = "unconnected qubits" if len(groups[0]) == 1 else f"unconnected groups of {len(groups[0])} qubits"
        errors = ", with the errors of their gates and of reading 0 and 1"
        ideal = self.backend.coupling_map is None
        return f"simulating {len(groups)} {what} of {self.plan.backend} one by one{'' if ideal else errors}"

    def save(self) -> None:
        """Write circuit.qpy, calibration.json and, last, plan.json."""
        self.circuit.save(self.folder / "circuit.qpy")
        if self.backend.coupling_map is not None:
            save_calibration(self.backend, self.folder / "calibration.json", self.plan.calibrated)
        write_json(self.folder / "plan.json", self.plan.to_dict())


def work_folder(path: Path) -> Path:
    """The folder beside a bank that its draw is kept in: `NAME.hardware` for `NAME.npz`."""
    return path.with_suffix(".hardware")


def plan_noise(
    path: str | Path, config: NoiseBankConfig, *, resume: bool = False, backend: BackendV2 | None = None
) -> NoiseDraw:
    """Plan a bank, or find the plan of an interrupted draw; nothing is sent and nothing written.

    Args:
        path: The npz file to be written.
        config: Options of the draw: backend, source, number of normals, budget and more.
        resume: Go on with the draw that `path` was begun with; only mode, budget and price may differ.
        backend: The configuration's backend where it has been opened before.

    Raises:
        HardwareError: Unknown backend, no good qubits, a bank or a draw is there already, over the budget.
    """
    path = Path(path)
    folder = work_folder(path)
    _check_target(path, folder, resume)
    begun = NoisePlan.load(folder / "plan.json") if (folder / "plan.json").exists() else None
    if begun is not None:
        config = with_chosen_device(config, begun.backend)
    backend = backend or open_backend(config.backend)
    if begun is None:
        config = with_chosen_device(config, str(backend.name))
        # A simulation is repeated by its seed; a device's draw is like no other, and finds no other's jobs.
        draw = f"seed {config.seed}" if is_local(backend) else secrets.token_hex(8)
        plan, circuit = make_noise_plan(backend, config, draw)
        return NoiseDraw(path, plan, circuit, backend)
    free = {"mode", *BUDGET_KEYS}
    stored = build_section(NoiseBankConfig, begun.config, f"`{folder / 'plan.json'}`")
    changed = changed_keys(stored.model_dump(exclude=free), config.model_dump(exclude=free))
    if changed:
        raise HardwareError(
            f"`{folder}` holds a draw with other options ({', '.join(changed)}): give the same, or choose another --out"
        )
    mode = begun.mode if config.mode == "auto" else resolve_mode(config.mode, begun.jobs)
    # What the draw was begun with holds until another budget is named.
    budget = Budget.of(config.model_dump()).over(begun.budget)
    config = config.model_copy(update=budget.options())
    plan = replace(
        begun,
        mode=mode,
        budget_seconds=budget.limit,
        config=config.model_dump(),
        cost=budget.cost_of(begun.seconds),
    )
    check_noise_budget(plan)
    return NoiseDraw(path, plan, NoiseCircuit.load(folder / "circuit.qpy"), backend)


def is_complete(path: Path) -> bool:
    """Whether a bank and its record are there."""
    return path.exists() and path.with_suffix(".json").exists()


def _check_target(path: Path, folder: Path, resume: bool) -> None:
    if path.suffix != ".npz":
        raise HardwareError(f"a bank is an npz file, found `{path}`: call it `{path.with_suffix('.npz')}`")
    begun = (folder / "plan.json").exists()
    if resume and begun:
        return
    for there in (path, path.with_suffix(".json")):
        if there.exists():
            raise HardwareError(f"`{there}` exists, and noise of a device is not made again: choose another --out")
    if begun:
        raise HardwareError(f"`{folder}` holds an unfinished draw: add --resume, or choose another --out")
