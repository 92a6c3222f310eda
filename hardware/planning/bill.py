"""What a run will cost, before anything is sent: jobs, executions, seconds, and the denoising steps that are worth it.

Costs are those of the real device, also where the run is only simulated on its local copy, so that a rehearsal shows
the bill; `hardware.planning.costs` has the numbers.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hardware.errors import BudgetError, HardwareError
from hardware.jobs.budget import Budget
from hardware.placement.program import Program
from hardware.planning.costs import RoundCost, costs_by_level, round_cost, run_cost
from hardware.planning.references import reference_sets, require_references
from hardware.service import limits
from hardware.service.backends import device_name
from hardware.service.modes import Mode, resolve_mode
from hardware.stored_plans import StoredPlan
from qhybrid.config import BUDGET_KEYS, HardwareConfig
from qhybrid.files import DamagedFileError

# `auto` stops adding steps once these carry so much of the output's dependence on the bottleneck.
SENSITIVITY_SHARE = 0.9
_SMALLER = "take fewer images, shots or QPU steps"


def open_plan_words(share: float) -> str:
    """A part of the Open plan's device time, for people; `share` is 1 for all of it."""
    return f"{share:.1%} of {limits.OPEN_PLAN_SECONDS:.0f} s per {limits.OPEN_PLAN_DAYS} days"


@dataclass(frozen=True)
class Plan(StoredPlan):
    """The bill of a run; `to_dict` is `plan.json`.

    Attributes:
        backend: Name of the backend, as asked for.
        device: The real device that the costs hold for.
        mode: Execution mode: `job`, `batch` or `session`.
        jobs: Number of jobs in all.
        shots: Shots per parameter set.
        executions: Circuit executions in all.
        seconds: Estimated device time in seconds.
        budget_seconds: Limit of the device time in seconds; `None` sets no limit.
        images: Number of images of the run.
        steps: Number of denoising steps.
        qpu_steps: Numbers of the denoising steps whose bottleneck runs on the device.
        primitive: Primitive of Runtime, `estimator` or `sampler`.
        level: Resilience level of the Estimator, 0, 1 or 2.
        pack: Number of copies of the circuit side by side.
        patches: A line of each copy: `patch`, `layout`, `estimated_success`, ...
        calibrated: Date of the calibration that the circuit was placed by; `None` for a simulator.
        rounds: Number of times that the run waits in the queue: one per step of `qpu_steps` or, where the circuits of
            all steps can be sent together, one in all.
        jobs_per_round: Number of jobs that are sent together.
        parameter_sets: Distinct circuits in all; where they depend on the images, the most that there can be.
        step_by_step: Costs of the same steps with a circuit per image and step: `jobs`, `executions`, `seconds`,
            `rounds`; `None` where that is the plan itself.
        parameter_bytes: Size in bytes of the parameter values in the largest request.
        open_plan_share: Device time as a part of the 600 s per 28 days that the Open plan gives.
        remaining_seconds: Seconds left of the account's quota; `None` if unknown, or for a local backend.
        quota_share: Device time as a part of `remaining_seconds`; `None` where that is unknown or 0.
        levels: Costs of the same steps at each resilience level and with the Sampler: `primitive`, `level`, `jobs`,
            `executions`, `seconds`, `parameter_bytes`.
        sensitivity: Dependence of the output on the bottleneck, one number for each step; `None` where it was not
            needed.
        config: Options that were asked for, JSON-able.
        key: Hash that names the run that the plan is for: model, circuit, layout, and all options except mode, budget
            and price.
        references: Reference points that `rescale` sends beside the run's own circuits: their number `sets`, all in the
            first round, and their `executions` and `seconds`. All are 0 where the run's own circuits serve; `None`
            without `rescale`.
        cost: Price of the device time; `None` where that of a second is not known.
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
    rounds: int
    jobs_per_round: int
    parameter_sets: int
    step_by_step: dict[str, Any] | None
    parameter_bytes: int
    open_plan_share: float
    remaining_seconds: float | None
    quota_share: float | None
    levels: tuple[dict[str, Any], ...]
    sensitivity: tuple[float, ...] | None
    config: dict[str, Any]
    key: str
    references: dict[str, Any] | None = None
    cost: float | None = None

    @classmethod
    def _migrated(cls, values: Any) -> Any:
        """A plan from before there were rounds has one per step."""
        if not isinstance(values, dict) or "jobs_per_step" not in values:
            return values
        steps, images = values.get("qpu_steps"), values.get("images")
        if not isinstance(steps, list) or type(images) is not int:
            raise DamagedFileError("`qpu_steps` or `images` is damaged")
        now = {"rounds": len(steps), "parameter_sets": len(steps) * images, "step_by_step": None}
        kept = {name: value for name, value in values.items() if name != "jobs_per_step"}
        return {**kept, **now, "jobs_per_round": values["jobs_per_step"]}

    @property
    def budget(self) -> Budget:
        """Budgets of the plan's options; `budget_seconds` is the limit that they set."""
        return Budget.of(self.config)

    @property
    def sets_per_round(self) -> int:
        """Distinct circuits that are sent together, at most."""
        return self.parameter_sets // self.rounds

    @property
    def sets_beside(self) -> int:
        """Reference points that are sent with the first round, beside the run's own circuits."""
        return 0 if self.references is None else int(self.references["sets"])

    @property
    def jobs_of_first_round(self) -> int:
        """Jobs that are sent first; more than later ones where reference points do not fit beside the others."""
        return self.jobs - (self.rounds - 1) * self.jobs_per_round

    def summary(self) -> str:
        """One line for people."""
        packed = f", {self.pack} images at a time" if self.pack > 1 else ""
        left = "" if self.quota_share is None else f", {self.quota_share:.0%} of what is left"
        price = "" if self.cost is None else f", price {price_words(self.cost)}"
        return (
            f"{self.jobs} jobs, {queue_waits(self.rounds)}, {self.executions:,} executions{packed}, "
            f"{self.seconds:.0f} s on {self.device} "
            f"({self.open_plan_share:.0%} of an Open plan's {limits.OPEN_PLAN_SECONDS:.0f} s per "
            f"{limits.OPEN_PLAN_DAYS} days{left}){price}; "
            f"denoising steps on the device: {', '.join(map(str, self.qpu_steps))} of 0 to {self.steps - 1}"
        )


def queue_waits(rounds: int) -> str:
    """A number of queue waits, for people."""
    return "1 queue wait" if rounds == 1 else f"{rounds} queue waits"


def price_words(cost: float) -> str:
    """An amount of money, for people; its currency is that of the contract."""
    return f"{cost:,.2f}"


class _Price(NamedTuple):
    mode: Mode
    sets: int
    rounds: int
    cost: RoundCost
    beside: int
    total: RoundCost
    seconds: float


def make_plan(
    program: Program,
    config: HardwareConfig,
    *,
    sensitivity: Callable[[], Sequence[float]],
    identity: str,
    unet_seconds: float = 0.0,
    sessions: bool = False,
    known_sets: Callable[[Sequence[int]], int] | None = None,
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
        known_sets: Number of distinct parameter sets of given denoising steps, where they can be sent together; `None`
            where they depend on the images of the step before.
        patches: Lines of the copies of the circuit.
        calibrated: Date of the calibration.
        remaining_seconds: Seconds left of the account's quota.

    Raises:
        BudgetError: The plan, or with `auto` even a single step, takes more than the budget.
        HardwareError: `qpu_steps` names a step that does not exist, or a job cannot be split far enough.
    """
    measured = tuple(float(value) for value in sensitivity()) if config.qpu_steps == "auto" else None

    @functools.cache
    def cost_of(sets: int) -> RoundCost:
        return round_cost(program, config, sets)

    def price(steps: Sequence[int]) -> _Price:
        sets = config.images if known_sets is None else known_sets(steps)
        rounds = len(steps) if known_sets is None else 1
        beside = reference_sets(sets, rounds, program.copies) if config.rescale and known_sets is None else 0
        cost, total = cost_of(sets), run_cost(cost_of, sets, rounds, beside)
        mode = resolve_mode(config.mode, cost.jobs, dependent=several and known_sets is None, sessions=sessions)
        waiting = unet_seconds * len(steps) if mode == "session" else 0.0
        return _Price(mode, sets, rounds, cost, beside, total, total.seconds + waiting)

    several = config.steps > 1 and not (isinstance(config.qpu_steps, list) and len(set(config.qpu_steps)) == 1)
    chosen = choose_steps(config, lambda steps: price(steps).seconds, measured, str(program.backend.name))
    mode, sets, rounds, cost, beside, total, seconds = price(chosen)
    references = None
    if config.rescale:
        require_references(beside if known_sets is None else sets, own=known_sets is not None)
        alone = run_cost(cost_of, sets, rounds, 0)
        references = {
            "sets": beside,
            "executions": total.executions - alone.executions,
            "seconds": total.seconds - alone.seconds,
        }
    each = None if known_sets is None else cost_of(config.images)
    budget = Budget.of(config.model_dump())
    plan = Plan(
        backend=config.backend,
        device=device_name(program.backend),
        mode=mode,
        jobs=total.jobs,
        shots=config.shots,
        executions=total.executions,
        seconds=seconds,
        budget_seconds=budget.limit,
        images=config.images,
        steps=config.steps,
        qpu_steps=chosen,
        primitive=config.primitive,
        level=config.level,
        pack=program.copies,
        patches=tuple(patches),
        calibrated=calibrated,
        rounds=rounds,
        jobs_per_round=cost.jobs,
        parameter_sets=sets * rounds,
        step_by_step=None if each is None else each.times(len(chosen)),
        parameter_bytes=total.parameter_bytes,
        open_plan_share=seconds / limits.OPEN_PLAN_SECONDS,
        remaining_seconds=remaining_seconds,
        quota_share=None if not remaining_seconds else seconds / remaining_seconds,
        levels=tuple(costs_by_level(program, config, total, sets, rounds, beside, unet_seconds * len(chosen))),
        sensitivity=measured,
        config=config.model_dump(),
        key=plan_key(identity, config, chosen),
        references=references,
        cost=budget.cost_of(seconds),
    )
    check_budget(plan)
    return plan


def require_budget(budget: Budget, seconds: float, what: str, backend: str, remedy: str) -> None:
    """Refuse what takes more device time than its budget.

    Args:
        budget: Limit of the device time, by itself or by its price.
        seconds: Planned device time in seconds.
        what: Name of the thing that takes the time, as the message begins with it.
        backend: Name of the device.
        remedy: Options that could be made smaller, as the message ends with them.

    Raises:
        BudgetError: Names both numbers.
    """
    if budget.limit is not None and seconds > budget.limit:
        raise BudgetError(
            f"{budget.words} is too small: {what} takes {seconds:.1f} s of device time on `{backend}`; "
            f"raise it, or {remedy}"
        )


def check_budget(plan: Plan) -> None:
    """Refuse a plan over its budget.

    Raises:
        BudgetError: See `require_budget`.
    """
    require_budget(plan.budget, plan.seconds, f"the plan ({plan.jobs} jobs)", plan.backend, _SMALLER)


def choose_steps(
    config: HardwareConfig, seconds: Callable[[Sequence[int]], float], sensitivity: Sequence[float] | None, backend: str
) -> tuple[int, ...]:
    """Denoising steps that use the device, in order.

    `auto` takes the steps with the largest sensitivity until they carry 90 % of it, as far as the budget goes.

    Args:
        config: Steps and budget.
        seconds: Device time of given steps in seconds.
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
    order = [int(step) for step in np.argsort(-weights, kind="stable")]
    carried = np.cumsum(weights[order])
    enough = int(np.searchsorted(carried, SENSITIVITY_SHARE * carried[-1])) + 1
    budget = Budget.of(config.model_dump())
    if budget.limit is not None:
        while enough and seconds(order[:enough]) > budget.limit + 1e-9:
            enough -= 1
        if not enough:
            require_budget(budget, seconds(order[:1]), "a single denoising step", backend, _SMALLER)
    return tuple(sorted(order[:enough]))


def plan_key(identity: str, config: HardwareConfig, chosen: tuple[int, ...]) -> str:
    """The name of a run: a hash of what decides its images, so neither mode nor budget.

    Args:
        identity: What the checkpoint and the transpiled circuit are.
        config: Options of the run.
        chosen: Steps that use the device.
    """
    # A run without rescaling keeps the name that it had before there was any.
    without = {"mode", "qpu_steps", *BUDGET_KEYS} | (set() if config.rescale else {"rescale"})
    content = [identity, config.model_dump(exclude=without), chosen]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
