"""What a bank of noise will cost on a device, before anything is sent: executions, jobs, seconds."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from qiskit.providers import BackendV2

from hardware.errors import HardwareError
from hardware.jobs.budget import Budget
from hardware.noise.circuits import TILE_QUBITS, NoiseCircuit, fluctuation, superposition
from hardware.noise.yields import JobSize, bit_rate, executions_for_bits, job_seconds, split
from hardware.planning.bill import require_budget
from hardware.service import limits
from hardware.service.account import known_seconds_left
from hardware.service.backends import calibration_date, device_name
from hardware.service.modes import Mode, has_sessions, resolve_mode
from hardware.stored_plans import StoredPlan
from qhybrid.config import BUDGET_KEYS, NoiseBankConfig
from qhybrid.diffusion.certify import LEAST_BITS, LEAST_EVALUATIONS
from qhybrid.diffusion.simulate import patch_of
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint


@dataclass(frozen=True)
class NoisePlan(StoredPlan):
    """The bill of a bank; `to_dict` is its `plan.json`.

    Attributes:
        backend: Name of the backend, as asked for.
        device: The real device that the costs hold for.
        source: Noise source, `quantum_bits` or `quantum_intrinsic`.
        normals: Number of noise values wanted.
        qubits: Number of measured qubits of the device.
        device_qubits: Number of all qubits of the device.
        patch: Height and width of the pixels of one evaluation (`quantum_intrinsic`), else (1, 1).
        mode: Execution mode: `job`, `batch` or `session`.
        jobs: Number of jobs in all; they are all alike.
        repeats: Number of circuits in each job.
        shots: Shots of each circuit.
        executions: Circuit executions in all.
        seconds: Estimated device time in seconds.
        yield_per_execution: Noise values that an execution is expected to give.
        budget_seconds: Limit of the device time in seconds; `None` sets no limit.
        open_plan_share: Device time as a part of the 600 s per 28 days that the Open plan gives.
        remaining_seconds: Seconds left of the account's quota; `None` if unknown, or for a local backend.
        quota_share: Device time as a part of `remaining_seconds`; `None` where that is unknown or 0.
        calibrated: Date of the calibration that the qubits were chosen by.
        draw: Text that tells this draw from others with equal options: random for a real device, from the seed for a
            local one.
        config: Options that were asked for, JSON-able.
        key: Hash of all options except mode, budget and price.
        cost: Price of the device time; `None` where that of a second is not known.
    """

    AGAIN = "draw again without --resume"

    backend: str
    device: str
    source: str
    normals: int
    qubits: tuple[int, ...]
    device_qubits: int
    patch: tuple[int, int]
    mode: Mode
    jobs: int
    repeats: int
    shots: int
    executions: int
    seconds: float
    yield_per_execution: float
    budget_seconds: float | None
    open_plan_share: float
    remaining_seconds: float | None
    quota_share: float | None
    calibrated: str | None
    draw: str
    config: dict[str, Any]
    key: str
    cost: float | None = None

    @property
    def budget(self) -> Budget:
        """Budgets of the draw's options; `budget_seconds` is the limit that they set."""
        return Budget.of(self.config)

    @property
    def size(self) -> JobSize:
        """Shots and number of circuits of each job."""
        return JobSize(self.shots, self.repeats)


def make_noise_plan(backend: BackendV2, config: NoiseBankConfig, draw: str) -> tuple[NoisePlan, NoiseCircuit]:
    """Choose the qubits and price a bank; nothing is sent.

    Args:
        backend: Device, local copy, or ideal simulator.
        config: Options of the draw: source, number of normals, budget and more.
        draw: Text that no other draw has.

    Raises:
        BudgetError: It takes more than the budget.
        HardwareError: No good qubits, or too few numbers for a certificate.
    """
    if config.source == "quantum_bits":
        circuit, patch = superposition(backend, config), (1, 1)
        _require_certifiable(config, config.normals * config.resolution, LEAST_BITS, "bits", config.resolution)
        # Von Neumann looks at pairs of shots.
        size, jobs = split(executions_for_bits(backend, circuit, config), backend, multiple=2)
        rate = bit_rate(backend, circuit, config, shots=size.executions)
    else:
        circuit, patch = _tiled(backend, config)
        rate = len(circuit.qubits) / config.shots
        evaluations = math.ceil(config.normals / len(circuit.qubits))
        size, jobs = split(evaluations * config.shots, backend, multiple=config.shots, least=1)
    seconds = jobs * job_seconds(backend, circuit, size)
    left = known_seconds_left(backend)
    mode = resolve_mode(config.mode, jobs, sessions=has_sessions(backend))
    named = [config.model_dump(exclude={"mode", *BUDGET_KEYS}), circuit_fingerprint(circuit.circuit), draw]
    budget = Budget.of(config.model_dump())
    plan = NoisePlan(
        backend=config.backend,
        device=device_name(backend),
        source=config.source,
        normals=config.normals,
        qubits=circuit.qubits,
        device_qubits=circuit.circuit.num_qubits,
        patch=patch,
        mode=mode,
        jobs=jobs,
        repeats=size.repeats,
        shots=size.shots,
        executions=jobs * size.executions,
        seconds=seconds,
        yield_per_execution=rate,
        budget_seconds=budget.limit,
        open_plan_share=seconds / limits.OPEN_PLAN_SECONDS,
        remaining_seconds=left,
        quota_share=seconds / left if left else None,
        calibrated=calibration_date(backend),
        draw=draw,
        config=config.model_dump(),
        key=hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16],
        cost=budget.cost_of(seconds),
    )
    check_noise_budget(plan)
    return plan, circuit


def check_noise_budget(plan: NoisePlan) -> None:
    """Refuse a plan over its budget.

    Raises:
        BudgetError: Names both numbers.
    """
    what = f"drawing {plan.normals:,} normals ({plan.jobs} jobs)"
    require_budget(plan.budget, plan.seconds, what, plan.backend, "ask for fewer normals")


def _tiled(backend: BackendV2, config: NoiseBankConfig) -> tuple[NoiseCircuit, tuple[int, int]]:
    """As many copies as there are good places, form a patch that the images are made of, and leave enough evaluations.

    Returns:
        The circuit, and height and width of the patch.
    """
    tile = patch_of(config.qubits or TILE_QUBITS)
    pixels = tile[0] * tile[1]
    _require_certifiable(config, math.ceil(config.normals / pixels), LEAST_EVALUATIONS, "evaluations", 1 / pixels)
    most = backend.num_qubits // pixels if config.places == "auto" else config.places
    circuit = fluctuation(backend, config, max(most, 1))
    found = len(circuit.groups)
    if config.places != "auto" and found < config.places:
        raise HardwareError(
            f"places {config.places}: `{backend.name}` has {found} good ones with floor {config.floor:g} and spacing "
            f"{config.spacing}: take fewer, or places auto"
        )
    for places in range(found, 0 if config.places == "auto" else found - 1, -1):
        patch = _patch_of_tiles(tile, places, config.image_size)
        if patch is not None and math.ceil(config.normals / (places * pixels)) >= LEAST_EVALUATIONS:
            return (circuit if places == found else fluctuation(backend, config, places)), patch
    raise HardwareError(
        f"{'no number of' if config.places == 'auto' else found} places of {tile[0]}x{tile[1]} pixels form a patch "
        f"that images of {config.image_size}x{config.image_size} are made of, with at least {LEAST_EVALUATIONS:,} "
        f"evaluations for {config.normals:,} normals: take other qubits, places or image_size, or more normals"
    )


def _patch_of_tiles(tile: tuple[int, int], places: int, image_size: int) -> tuple[int, int] | None:
    """The squarest patch of so many tiles of which images can be made."""
    patches = [
        (rows * tile[0], places // rows * tile[1])
        for rows in range(1, places + 1)
        if places % rows == 0 and not image_size % (rows * tile[0]) and not image_size % (places // rows * tile[1])
    ]
    return min(patches, key=lambda patch: abs(patch[0] - patch[1]), default=None)


def _require_certifiable(config: NoiseBankConfig, found: int, least: int, what: str, per_normal: float) -> None:
    if found < least:
        raise HardwareError(
            f"{config.normals:,} normals are {found:,} {what}, too few for a certificate: ask for at least "
            f"{math.ceil(least / per_normal):,}"
        )
