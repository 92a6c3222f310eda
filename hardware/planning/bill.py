"""What a run will cost, before anything is sent: jobs, executions, seconds, and the denoising steps that are worth it.

Costs are those of the real device, also where the run is only simulated on its local copy, so that a rehearsal shows
the bill; `hardware.planning.costs` has the numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware.errors import BudgetError, HardwareError
from hardware.placement.program import Program
from hardware.planning.costs import costs_by_level, step_cost
from hardware.service.backends import device_name
from hardware.service.modes import Mode, resolve_mode
from hardware.stored_plans import StoredPlan
from qhybrid.config import HardwareConfig

# Device time that IBM's Open plan gives in 28 days (https://quantum.cloud.ibm.com/docs/guides/plans-overview).
OPEN_PLAN_SECONDS = 600.0
# `auto` stops adding steps once these carry so much of the output's dependence on the bottleneck.
SENSITIVITY_SHARE = 0.9


def open_plan_words(share: float) -> str:
    """A part of the Open plan's device time, for people; `share` is 1 for all of it."""
    return f"{share:.1%} of {OPEN_PLAN_SECONDS:.0f} s per 28 days"


@dataclass(frozen=True)
class Plan(StoredPlan):
    """The bill of a run; `to_dict` is `plan.json`.

    Attributes:
        backend: As asked for.
        device: The real device that the costs hold for.
        mode: `job`, `batch` or `session`.
        jobs: Jobs in all.
        shots: Per parameter set.
        executions: Circuit executions in all.
        seconds: Estimated device time.
        budget_seconds: Limit, if any.
        images: Images of the run.
        steps: Denoising steps.
        qpu_steps: Those with the bottleneck on the device.
        primitive: `estimator` or `sampler`.
        level: Resilience level of the Estimator.
        pack: Copies of the circuit side by side.
        patches: A line of each copy: `patch`, `layout`, `estimated_success`, ...
        calibrated: Date of the calibration that the circuit was placed by; `None` for a simulator.
        jobs_per_step: Jobs of one such step.
        parameter_bytes: Parameter values of the largest request.
        open_plan_share: Part of the Open plan's 600 s per 28 days.
        remaining_seconds: What is left of the account's quota; `None` if unknown, or for a local backend.
        quota_share: `seconds` as part of that.
        levels: What the same steps would take at each resilience level and with the Sampler: `primitive`, `level`,
            `jobs`, `executions`, `seconds`, `parameter_bytes`.
        sensitivity: Per step, the output's dependence on the bottleneck; `None` where it was not needed.
        config: What was asked for.
        key: Names the run that the plan is for: model, circuit, layout, options but for mode and budget.
    """

    AGAIN = "plan again"

    backend: str
    device: str
    mode: Mode
    jobs: int
    shots: int
    executions: int
    seconds: float
    budget_seconds: float | None
    images: int
    steps: int
    qpu_steps: tuple[int, ...]
    primitive: str
    level: int
    pack: int
    patches: tuple[dict[str, Any], ...]
    calibrated: str | None
    jobs_per_step: int
    parameter_bytes: int
    open_plan_share: float
    remaining_seconds: float | None
    quota_share: float | None
    levels: tuple[dict[str, Any], ...]
    sensitivity: tuple[float, ...] | None
    config: dict[str, Any]
    key: str

    def summary(self) -> str:
        """One line for people."""
        packed = f", {self.pack} images at a time" if self.pack > 1 else ""
        left = "" if self.quota_share is None else f", {self.quota_share:.0%} of what is left"
        return (
            f"{self.jobs} jobs, {self.executions:,} executions{packed}, {self.seconds:.0f} s on {self.device} "
            f"({self.open_plan_share:.0%} of an Open plan's {OPEN_PLAN_SECONDS:.0f} s per 28 days{left}); "
            f"denoising steps on the device: {', '.join(map(str, self.qpu_steps))} of 0 to {self.steps - 1}"
        )


def make_plan(
    program: Program,
    config: HardwareConfig,
    *,
    sensitivity: Callable[[], Sequence[float]],
    identity: str,
    unet_seconds: float = 0.0,
    sessions: bool = False,
    patches: Sequence[dict[str, Any]] = (),
    calibrated: str | None = None,
    remaining_seconds: float | None = None,
) -> Plan:
    """Plan a reverse diffusion; pure, no network.

    Args:
        program: The trained circuit on the whole device.
        config: Images, steps, shots, level, mode, budget.
        sensitivity: Called if `qpu_steps` is `auto`: one number per denoising step.
        identity: Content hash of model, circuit and layout.
        unet_seconds: Time of the classical network per step; counts in a session.
        sessions: Whether the account's plan has sessions.
        patches: Lines of the copies of the circuit.
        calibrated: Date of the calibration.
        remaining_seconds: What is left of the account's quota.

    Raises:
        BudgetError: The plan, or with `auto` even a single step, takes more than the budget.
        HardwareError: `qpu_steps` names a step that does not exist, or a job cannot be split far enough.
    """
    cost = step_cost(program, config)
    single = config.steps == 1 or (isinstance(config.qpu_steps, list) and len(set(config.qpu_steps)) == 1)
    mode = resolve_mode(config.mode, cost.jobs, dependent=not single, sessions=sessions)
    seconds_per_step = cost.seconds + (unet_seconds if mode == "session" else 0.0)
    measured = tuple(float(value) for value in sensitivity()) if config.qpu_steps == "auto" else None
    chosen = choose_steps(config, seconds_per_step, measured, str(program.backend.name))
    seconds = seconds_per_step * len(chosen)
    plan = Plan(
        backend=config.backend,
        device=device_name(program.backend),
        mode=mode,
        jobs=cost.jobs * len(chosen),
        shots=config.shots,
        executions=cost.executions * len(chosen),
        seconds=seconds,
        budget_seconds=config.budget_seconds,
        images=config.images,
        steps=config.steps,
        qpu_steps=chosen,
        primitive=config.primitive,
        level=config.level,
        pack=program.copies,
        patches=tuple(patches),
        calibrated=calibrated,
        jobs_per_step=cost.jobs,
        parameter_bytes=cost.parameter_bytes,
        open_plan_share=seconds / OPEN_PLAN_SECONDS,
        remaining_seconds=remaining_seconds,
        quota_share=None if not remaining_seconds else seconds / remaining_seconds,
        levels=tuple(costs_by_level(program, config, cost, len(chosen), unet_seconds)),
        sensitivity=measured,
        config=config.model_dump(),
        key=plan_key(identity, config, chosen),
    )
    check_budget(plan)
    return plan


def check_budget(plan: Plan) -> None:
    """Refuse a plan over its budget.

    Raises:
        BudgetError: Names both numbers.
    """
    if plan.budget_seconds is not None and plan.seconds > plan.budget_seconds:
        raise BudgetError(_too_small(plan.budget_seconds, plan.seconds, f"the plan ({plan.jobs} jobs)", plan.backend))


def choose_steps(
    config: HardwareConfig, seconds_per_step: float, sensitivity: Sequence[float] | None, backend: str
) -> tuple[int, ...]:
    """Denoising steps that use the device, in order.

    `auto` takes the steps with the largest sensitivity until they carry 90 % of it, as far as the budget goes.

    Args:
        config: Steps and budget.
        seconds_per_step: Device time of one step in seconds.
        sensitivity: How much the images depend on the core, one number per step; needed for `auto`.
        backend: Name of the device, for messages.

    Raises:
        HardwareError: A step in the list does not exist.
        BudgetError: With `auto`, no step fits into the budget.
    """
    if config.qpu_steps == "all":
        return tuple(range(config.steps))
    if not isinstance(config.qpu_steps, str):
        foreign = [step for step in config.qpu_steps if not 0 <= step < config.steps]
        if foreign or not config.qpu_steps:
            raise HardwareError(f"qpu_steps {config.qpu_steps}: name at least one of the steps 0 to {config.steps - 1}")
        return tuple(sorted(set(config.qpu_steps)))
    weights = np.asarray(sensitivity, dtype=np.float64)
    affordable = config.steps
    if config.budget_seconds is not None:
        affordable = int(config.budget_seconds / seconds_per_step + 1e-9)
        if affordable < 1:
            raise BudgetError(_too_small(config.budget_seconds, seconds_per_step, "a single denoising step", backend))
    order = np.argsort(-weights, kind="stable")
    carried = np.cumsum(weights[order])
    enough = int(np.searchsorted(carried, SENSITIVITY_SHARE * carried[-1])) + 1
    return tuple(sorted(int(step) for step in order[: min(enough, affordable)]))


def plan_key(identity: str, config: HardwareConfig, chosen: tuple[int, ...]) -> str:
    """The name of a run: a hash of what decides its images, so neither mode nor budget.

    Args:
        identity: What the checkpoint and the transpiled circuit are.
        config: Options of the run.
        chosen: Steps that use the device.
    """
    content = [identity, config.model_dump(exclude={"mode", "budget_seconds", "qpu_steps"}), chosen]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _too_small(budget: float, seconds: float, what: str, backend: str) -> str:
    return (
        f"budget_seconds {budget:g} is too small: {what} takes {seconds:.1f} s of device time on `{backend}`; "
        "raise it, or take fewer images, shots or QPU steps"
    )
