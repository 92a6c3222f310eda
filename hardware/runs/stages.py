"""A run directory's way to a device: plan, submit, fetch, infer.

    plan    transpiles, prices, writes plan.json, isa.qpy, transpiled.json, layout.png; sends nothing
    submit  sends all jobs that can be sent now, and ends: those of the next denoising step that uses the device, or of
            all such steps where their circuits do not depend on the images
    fetch   takes the results that are there, goes on with the U-Net at home up to the next such step; sends nothing
    infer   all of it: sends, waits, goes on, until the images are done and compared

All of them find the run's state in `hardware/` (plan.json, state.npz, jobs.jsonl, results/), so each can follow any
other, in another process or on another machine. A round is repeatable: its angles are stored before its jobs
are sent, jobs are named by their content, results are stored before they are used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import torch
from qiskit.providers import BackendV2

from hardware.comparison.expectation_values import compare
from hardware.errors import BudgetError, HardwareError, JobPendingError, OtherOptionsError, UnreachableError
from hardware.inference.evaluator import DeviceEvaluator
from hardware.inference.references import RunRescaling
from hardware.inference.reverse_process import ReverseState
from hardware.inference.workload import Workload, load_workload, open_run, plan_workload, planned_workload, save_plan
from hardware.jobs.budget import RunBudget
from hardware.jobs.execution_mode import Echo, silent
from hardware.jobs.job_log import JobLog
from hardware.jobs.tasks import Allowance, NotSentError
from hardware.planning.bill import Plan
from hardware.runs.flight import Flight, flight_of
from hardware.runs.replay import REPLAY, replay
from hardware.service.modes import require_mode
from hardware.tuning.tuned_run import tuning_note
from qhybrid.config import HardwareConfig, SamplingConfig
from qhybrid.interruption import interruptible
from qhybrid.progress import progress
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import reserve_noise

Show = Callable[[Plan], None]
P = ParamSpec("P")
Result = TypeVar("Result")
_STOPPED = "what was finished is kept and jobs that were sent go on; go on with --resume, or with `fetch`"


@dataclass(frozen=True)
class Advance:
    """How far a run has come.

    Attributes:
        finished: Whether the images are done.
        step: Number of the next denoising step, from 0.
        steps: Number of all denoising steps.
        waits: Times that the run still waits in the queue, present jobs included.
        message: One line of text that tells a person how far the run has come.
    """

    finished: bool
    step: int
    steps: int
    waits: int
    message: str


def _alone(
    stage: Callable[Concatenate[RunDirectory | str | Path, P], Result],
) -> Callable[Concatenate[RunDirectory | str | Path, P], Result]:
    """Let a stage be the only one that works in its run directory; see `RunDirectory.locked`."""

    @functools.wraps(stage)
    def alone(run: RunDirectory | str | Path, *arguments: P.args, **options: P.kwargs) -> Result:
        directory = open_run(run)
        with directory.locked():
            return stage(directory, *arguments, **options)

    return cast(Callable[Concatenate[RunDirectory | str | Path, P], Result], alone)


@_alone
def plan(run: RunDirectory | str | Path, config: HardwareConfig, *, echo: Echo = silent) -> Plan:
    """Say what a run on a device will take; nothing is sent.

    It is written down as the run's plan unless the directory holds one for which jobs were sent.

    Args:
        run: Run directory with a checkpoint that has a circuit.
        config: Backend, images, steps, shots, ...
        echo: Called with a line if the plan is shown only.

    Raises:
        HardwareError: Unknown backend, circuit that does not fit, plan over the budget, ...
    """
    directory = open_run(run)
    workload = plan_workload(directory, config)
    flight = flight_of(directory)
    if flight.sent or flight.open:
        echo(
            f"`{directory.path}` keeps the plan for which jobs were sent; this one is shown only, "
            "`submit` and `infer` with the same options begin it"
        )
    else:
        save_plan(workload)
    return workload.plan


@_alone
def submit(
    run: RunDirectory | str | Path,
    config: HardwareConfig,
    *,
    yes: bool = False,
    partial: bool = False,
    discard: bool = False,
    echo: Echo = silent,
    show: Show | None = None,
) -> Advance:
    """Send all jobs that can be sent now; nothing is waited for.

    A local device computes them at once, since a local job ends with its process.

    Args:
        run: Directory of the run.
        config: Options of the plan; an unfinished run with other options is refused.
        yes: Permission to send jobs to a real device; a local one needs none.
        partial: Whether to begin although the account has less device time left than the plan takes.
        discard: Whether to begin anew although jobs of another plan are in flight; those that are queued are cancelled.
        echo: Called with lines about what went wrong and was mended.
        show: Called with the plan of a run that begins, before anything is sent.

    Raises:
        HardwareError: As for `plan`; or `yes` is missing.
    """
    directory = open_run(run)
    flight = flight_of(directory)
    workload = None
    if not discard:
        try:
            workload = load_workload(directory, config)
        except OtherOptionsError:
            if not flight.finished:
                raise
    if workload is None:
        workload = plan_workload(directory, config)
        if show is not None:
            show(workload.plan)
    _require_leave(workload, flight, yes=yes, discard=discard, echo=echo)
    _begin(workload, partial)
    return _advance(workload, Allowance(new_rounds=1, wait=False), echo)


@_alone
def fetch(run: RunDirectory | str | Path, *, echo: Echo = silent) -> Advance:
    """Take the results that are there and go on up to the next step that needs the device; nothing is sent.

    Raises:
        HardwareError: Nothing was planned in this run directory; a job failed.
    """
    return _advance(planned_workload(open_run(run)), Allowance(new_rounds=0, wait=False), echo)


@_alone
def infer(
    run: RunDirectory | str | Path,
    config: HardwareConfig,
    *,
    yes: bool = False,
    resume: bool = False,
    partial: bool = False,
    discard: bool = False,
    wait_seconds: float | None = None,
    echo: Echo = silent,
    show: Show | None = None,
    backend: BackendV2 | None = None,
) -> dict[str, Any]:
    """Plan, submit and fetch in one: images with the bottleneck on a device, and the comparison with exact simulation.

    Args:
        run: Directory of the run.
        config: Options of the plan; `backend: replay` evaluates a finished run again, offline.
        yes: Permission to send jobs to a real device; a local one needs none.
        resume: Whether to go on with an interrupted run, with the same images as without the interruption.
        partial: Whether to begin although the account has less device time left than the plan takes.
        discard: Whether to begin anew although jobs of another plan are in flight; those that are queued are cancelled.
        wait_seconds: Longest time to wait for one job, in seconds; `None` waits for ever.
        echo: Called with lines that tell what goes on.
        show: Called with the plan before anything is sent, in place of a line about it.
        backend: The configuration's backend where it has been opened before.

    Returns:
        Content of comparison.json.

    Raises:
        HardwareError: As for `plan`; or a job failed, or has not ended in time.
        Interrupted: SIGINT, SIGTERM or SIGHUP; what was open is closed, what was finished is kept.
    """
    directory = open_run(run)
    if config.backend == REPLAY:
        comparison = replay(directory, echo)
        echo(comparison_line(comparison))
        return comparison
    if resume and discard:
        raise HardwareError("--resume goes on with a run and --discard drops it: choose one of them")
    flight = flight_of(directory)
    found = load_workload(directory, config, backend=backend) if resume else None
    workload = found or plan_workload(directory, config, backend)
    if resume and found is None and not workload.local:
        raise HardwareError(f"`{directory.path}` has no hardware run to resume: leave out --resume to begin one")
    if show is None:
        echo(f"hardware plan: {workload.plan.summary()}")
    else:
        show(workload.plan)
    for note in (workload.crop_note, tuning_note(directory, config)):
        if note:
            echo(note)
    _require_leave(workload, flight, yes=yes, discard=discard, echo=echo)
    if flight.finished and flight.plan is not None and flight.plan.key == workload.plan.key:
        echo(_stored_words(workload))
    _begin(workload, partial)
    # Jobs in flight belong to the state that they were sent from.
    if not resume and not (flight.underway and not discard):
        workload.state_file.unlink(missing_ok=True)
    reached = _advance(workload, Allowance(new_rounds=None, wait=True, wait_seconds=wait_seconds), echo)
    if not reached.finished:
        raise JobPendingError(f"{reached.message}: nothing is lost; go on with --resume, or with `fetch`")
    comparison = compare(workload)
    echo(comparison_line(comparison))
    return comparison


@_alone
def compare_run(run: RunDirectory | str | Path) -> dict[str, Any]:
    """Compare exact simulation, noisy simulation and device on the results of a run so far; see `compare`.

    Raises:
        HardwareError: Nothing was planned, or there is no result yet.
    """
    return compare(planned_workload(open_run(run), offline=True))


def comparison_line(comparison: dict[str, Any]) -> str:
    """The comparison in one line."""
    exact, noisy, error = (
        comparison[key] for key in ("device_against_exact", "device_against_noisy", "standard_error")
    )
    parts = [f"device against exact simulation: RMS {exact['rms']:.3f}, bias {exact['bias']:+.3f}"]
    if noisy is not None:
        parts.append(f"against noisy simulation: RMS {noisy['rms']:.3f}")
    parts.append("no stated standard error" if error is None else f"stated standard error {error:.3f}")
    return "; ".join(parts)


def _require_leave(workload: Workload, flight: Flight, *, yes: bool, discard: bool, echo: Echo) -> None:
    """Jobs may be sent, and none that were sent for another plan are forgotten."""
    _require_yes(workload, yes)
    if discard and (flight.underway or flight.open):
        flight.discard(echo)
    elif flight.would_forget(workload.plan.key):
        flight.refuse()


def _time_words(workload: Workload) -> str:
    """Device time of a finished plan: planned, and charged."""
    log, plan = JobLog(workload.run.hardware / "jobs.jsonl"), workload.plan
    untold = log.uncharged(plan.key)
    words = f"device time: {plan.seconds:.1f} s planned, {log.seconds_spent(plan.key, local=False):.1f} s charged"
    if not untold:
        return words
    return f"{words}, the limits of {', '.join(untold)} among it, whose price the service has not told yet"


def _stored_words(workload: Workload) -> str:
    """That a finished plan's results are taken from the run directory, and what they had cost."""
    rows = JobLog(workload.run.hardware / "jobs.jsonl").rows()
    done = [row for row in rows if row["event"] == "done" and row.get("plan") == workload.plan.key]
    charged = {row["job"]: row.get("charged") for row in done}
    count = f"{len(charged)} job{'' if len(charged) == 1 else 's'}"
    told = [value for value in charged.values() if value is not None]
    price = "" if workload.local or not told else f" ({sum(told):.1f} s charged then)"
    return f"the results of {count}{price} are stored and taken again: nothing is sent"


def _begin(workload: Workload, partial: bool) -> None:
    """Write the plan, and count what the images take from a noise bank, once it is clear that jobs may be sent."""
    _require_seconds(workload, partial)
    images = workload.process.seeds
    latents = SamplingConfig(steps=workload.plan.steps, images=len(images), seed=images[0])
    reserve_noise(workload.checkpoint, latents)
    save_plan(workload)


def _require_yes(workload: Workload, yes: bool) -> None:
    if workload.local:
        return
    if not yes:
        raise HardwareError(
            f"`{workload.plan.backend}` is a real device: add --yes to send {workload.plan.jobs} jobs of "
            f"{workload.plan.seconds:.0f} s in all"
        )
    require_mode(workload.device.backend, workload.plan.mode)


def _require_seconds(workload: Workload, partial: bool) -> None:
    """The whole plan has room in the run's budget and, where nothing was sent yet, in the account's quota."""
    plan = workload.plan
    if workload.local:
        return
    budget = RunBudget(workload.run)
    before = budget.spent_by_others(plan.key)
    if plan.budget_seconds is not None and before + plan.seconds > plan.budget_seconds + 1e-6:
        raise BudgetError(
            f"{plan.budget.words} of `{workload.run.path}`: other plans have taken {before:.1f} s "
            f"and this one takes {plan.seconds:.1f} s; raise it by {plan.budget.option}"
        )
    log = JobLog(workload.run.hardware / "jobs.jsonl")
    begun = any(row.get("plan") == plan.key for row in log.rows())
    if plan.remaining_seconds is not None and plan.seconds > plan.remaining_seconds and not (partial or begun):
        raise BudgetError(
            f"the account has {plan.remaining_seconds:.0f} s left on `{plan.backend}` and the plan takes "
            f"{plan.seconds:.1f} s: nothing was sent; add --partial to begin all the same, and go on later"
        )


def _advance(workload: Workload, allowance: Allowance, echo: Echo) -> Advance:
    """Run the reverse process as far as the allowance goes."""
    plan, process = workload.plan, workload.process
    latest = ReverseState.load(workload.state_file, plan.key) or process.start()

    def save(state: ReverseState) -> None:
        nonlocal latest
        if state.step > latest.step:
            bar(1)
        latest = state
        state.save(workload.state_file, plan.key)

    rescaling = RunRescaling(workload.run.hardware, plan, process, echo)
    evaluator = DeviceEvaluator(workload.run, plan, workload.device, workload.executed, rescaling, allowance, echo)
    message = ""
    with interruptible(_STOPPED), evaluator, progress("hardware", plan.steps, done=latest.step) as bar:
        try:
            process.run(latest, evaluator, plan.qpu_steps, save)
        except (JobPendingError, NotSentError) as stop:
            message = str(stop)
        except UnreachableError as outage:
            raise UnreachableError(f"{outage}; {latest.step} of {plan.steps} steps are done and kept") from None
    finished = latest.step == plan.steps
    if finished and not workload.local:
        echo(_time_words(workload))
    if finished:
        workload.save_images(torch.from_numpy(latest.images))
    waits = sum(steps[-1] >= latest.step for steps in process.rounds(plan.qpu_steps))
    return Advance(finished, latest.step, plan.steps, waits, message or f"all {plan.steps} denoising steps are done")
