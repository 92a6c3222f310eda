"""A trained model tuned to a device: `tune`.

First the linear map behind the circuit is refitted to the results that a run has stored, for nothing. Then, if asked
for, the circuit's weights are tuned by steps on the device, each of them paid for. The model as tuned becomes a run
directory of its own, which is sampled, evaluated and sent to the device like any other.

The jobs of the steps and what they gave stay with the original run, in `hardware/tuning/<key>/`, and are paid from its
budget: the same call again goes on where a killed one ended, and a call for more steps takes the first ones from there.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.errors import BudgetError, HardwareError
from hardware.estimation.estimator import OPTIONS, DeviceEstimator, device_estimator
from hardware.inference.references import rescaled_results
from hardware.inference.results import read_results
from hardware.inference.reverse_process import circuit_weights
from hardware.inference.workload import Workload, open_run, planned_workload
from hardware.jobs.execution_mode import Echo, silent
from hardware.jobs.job_log import run_id
from hardware.service.account import is_local
from hardware.service.backends import is_local_name
from hardware.tuning.images import TuningImages
from hardware.tuning.refit import Refit, refit, refit_words
from hardware.tuning.tuned_run import free_place, tuned_options, write_tuned
from hardware.tuning.weights import WeightTuning
from qhybrid.checkpoints.checkpoint import Checkpoint, load_checkpoint
from qhybrid.checkpoints.stages import circuit_in, with_circuit
from qhybrid.interruption import interruptible
from qhybrid.rundir import RunDirectory

Array = NDArray[np.float64]

_STOPPED = "what arrived is kept and jobs that were sent go on; the same command goes on"
# Cores whose weights are not trained, or cannot learn.
_FIXED = ("quantum_frozen", "published")


@dataclass(frozen=True)
class Steps:
    """Steps of the circuit's weights on the device.

    Attributes:
        count: Number of steps; 0 leaves the weights as they are.
        circuits: Distinct circuits of a step; each is evaluated three times.
        learning_rate: About as far as a weight moves in a step, in radians.
        seed: Seed of images, times and noise of the steps.
    """

    count: int = 0
    circuits: int = 16
    learning_rate: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class Tuned:
    """What `tune` has made.

    Attributes:
        run: Run directory with the tuned model.
        record: Content of its `tuning.json`: `run`, `checkpoint`, `plan`, `options`, `date`; `refit`, see `Refit`;
            `steps`, `None` without any: settings, `history`, `best`, `stopped` and `bill`.
    """

    run: RunDirectory
    record: dict[str, Any]


def tune(
    run: RunDirectory | str | Path,
    *,
    out: str | Path | None = None,
    backend: str | None = None,
    budget_seconds: float | None = None,
    steps: Steps | int = 0,
    yes: bool = False,
    wait_seconds: float | None = None,
    echo: Echo = silent,
) -> Tuned:
    """Fit a trained model to the device that it has run on; the original stays as it is.

    Args:
        run: Run directory with results of a device or its local copy, whole or in part.
        out: Folder of the tuned model; by default that of the run with `-tuned` behind its name.
        backend: Device of the results; only a check.
        budget_seconds: Most seconds of device time that the run directory may take in all; steps on a real device need
            one. On a local copy, where nothing is paid, the most that the steps would take.
        steps: Steps of the circuit's weights on the device, or their number; by default none.
        yes: Permission to send jobs to a real device; a local one needs none.
        wait_seconds: Longest time to wait for one job, in seconds; `None` waits for ever.
        echo: Called with lines that tell what goes on.

    Raises:
        HardwareError: No circuit, no result, results of another device; a refit that does not hold, and no steps; a
            real device without a budget or `yes`; the folder exists; a job failed.
        BudgetError: The budget does not reach for the steps.
        Interrupted: SIGINT, SIGTERM or SIGHUP; what was finished is kept.
    """
    steps = Steps(steps) if isinstance(steps, int) else steps
    _check(steps, budget_seconds)
    directory = open_run(run)
    place = free_place(out or _beside(directory.path))
    with directory.locked():
        workload = _workload(directory, backend)
        if steps.count:
            _require_steps(workload)
        fitted, points = refit_run(workload)
        echo(refit_words(fitted.record))
        if not fitted.held and not steps.count:
            raise HardwareError(f"{refit_words(fitted.record)}: there is nothing to tune, unless by --spsa-steps")
        if fitted.held:
            _put_map(workload.checkpoint, fitted)
        record = _record(workload, fitted)
        if steps.count:
            record["steps"] = _tune_weights(workload, points, steps, budget_seconds, yes, wait_seconds, echo)
        if not fitted.held and not record["steps"]["best"]["kept"]:
            raise HardwareError(
                "neither refit nor steps have made the model better on what was held out: it stays as it is "
                f"(`{_folder(workload, points, steps)}` keeps what was measured)"
            )
        write_tuned(directory, workload.checkpoint, workload.plan, record, place)
    return Tuned(RunDirectory.open(place), record)


def refit_run(workload: Workload) -> tuple[Refit, int]:
    """Refit the linear map of a run's model to the run's results; nothing is executed.

    The device's outputs are taken as the images get them: rescaled, where the plan says so. They are to become what the
    map was trained on: exact values, or those under the noise that the model was trained with.

    Args:
        workload: The planned run.

    Returns:
        The refit, and the number of points.

    Raises:
        HardwareError: There is no result yet.
    """
    results = read_results(workload.run.hardware, workload.plan)
    own, measured, _ = rescaled_results(results, workload.plan, workload.process)
    wanted = trained_values(workload.checkpoint, own.angles)
    excite = workload.checkpoint.model.bottleneck.excite
    weight, bias = (values.detach().double().numpy() for values in (excite.weight, excite.bias))  # type: ignore[union-attr,operator]
    return refit(measured.values, wanted, weight, bias), len(own.angles)


def _beside(run: Path) -> Path:
    # `.` has no name of its own.
    run = run if run.name else run.resolve()
    return run.with_name(f"{run.name}-tuned")


def _check(steps: Steps, budget_seconds: float | None) -> None:
    if budget_seconds is not None and not (math.isfinite(budget_seconds) and budget_seconds > 0):
        raise HardwareError(
            f"--budget-seconds {budget_seconds:g}: give a positive number of seconds, or leave it out for no limit"
        )
    if steps.count < 0 or steps.circuits < 1:
        raise HardwareError(
            f"--spsa-steps {steps.count}, --circuits {steps.circuits}: give 0 or more steps of 1 or more circuits"
        )
    if not (math.isfinite(steps.learning_rate) and steps.learning_rate > 0):
        raise HardwareError(f"--learning-rate {steps.learning_rate:g}: give a positive number of radians")
    if steps.seed < 0:
        raise HardwareError(f"--seed {steps.seed}: give 0 or more")


def _workload(run: RunDirectory, backend: str | None) -> Workload:
    """The run's plan and model, from its files alone."""
    if load_checkpoint(run.path).spec is None:
        raise HardwareError(f"`{run.path}` has no circuit: there is nothing to tune to a device")
    workload = planned_workload(run, offline=True)
    if backend is not None and backend != workload.plan.backend:
        raise HardwareError(
            f"`{run.path}` holds results of `{workload.plan.backend}`, and not of `{backend}`: run `qhybrid hardware "
            f"infer {run.path} --backend {backend}` first"
        )
    return workload


def _require_steps(workload: Workload) -> None:
    core = workload.checkpoint.config.model.bottleneck.core.name
    if core in _FIXED or not len(circuit_weights(workload.process.core)):
        raise HardwareError(f"the weights of a `{core}` circuit are not trained: leave out --spsa-steps")
    if workload.plan.config.get("rescale"):
        raise HardwareError(
            "the run rescales the device's values, which steps on the device do not: leave out --spsa-steps, or run "
            "`qhybrid hardware infer` with --no-rescale first"
        )


def trained_values(checkpoint: Checkpoint, angles: Array) -> Array:
    """What training saw of a circuit, without shots: exact values, or those under the noise that it was trained with.

    Args:
        checkpoint: The trained model.
        angles: Input angles in radians, `(P, n_in)`.

    Returns:
        Array of the expectation values, `(P, n_out)`, each in [-1, 1].
    """
    quantum = circuit_in(checkpoint.config, "training").quantum.model_copy(update={"shots": None, "gradient": "exact"})
    core = with_circuit(checkpoint, quantum).model.bottleneck.core
    with torch.no_grad():
        found: Array = core(torch.from_numpy(angles)).double().numpy()
    return found


def _put_map(checkpoint: Checkpoint, fitted: Refit) -> None:
    excite = checkpoint.model.bottleneck.excite
    with torch.no_grad():
        excite.weight.copy_(torch.from_numpy(fitted.weight))  # type: ignore[union-attr,operator]
        excite.bias.copy_(torch.from_numpy(fitted.bias))  # type: ignore[union-attr,operator]


def _record(workload: Workload, fitted: Refit) -> dict[str, Any]:
    plan = workload.plan
    return {
        "run": str(workload.run.path.resolve()),
        "id": run_id(workload.run),
        "checkpoint": workload.checkpoint.path.name,
        "plan": plan.key,
        "options": tuned_options(plan),
        "calibrated": plan.calibrated,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "refit": fitted.record,
        "steps": None,
    }


def _folder(workload: Workload, points: int, steps: Steps) -> Path:
    """What decides the steps, but for their number, names their folder."""
    content = [workload.plan.key, points, steps.circuits, steps.learning_rate, steps.seed]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return workload.run.hardware / "tuning" / key


def _tune_weights(
    workload: Workload,
    points: int,
    steps: Steps,
    budget_seconds: float | None,
    yes: bool,
    wait_seconds: float | None,
    echo: Echo,
) -> dict[str, Any]:
    """Tune the weights of the workload's model in place."""
    plan, process, checkpoint = workload.plan, workload.process, workload.checkpoint
    folder = _folder(workload, points, steps)
    options = {name: value for name, value in plan.config.items() if name in OPTIONS}
    estimator = device_estimator(
        process.core.spec,
        plan.backend,
        folder=folder,
        payer=None if is_local_name(plan.backend) else workload.run,
        budget=budget_seconds,
        wait_seconds=wait_seconds,
        echo=echo,
        **options,
    )
    images = TuningImages(checkpoint, plan.steps, plan.qpu_steps, steps.circuits, steps.seed)
    weights = circuit_weights(process.core)
    tuning = WeightTuning(
        checkpoint.model, process.core.spec, weights, images, estimator, steps.learning_rate, folder / "state.npz", echo
    )
    price = tuning.price(steps.count)
    echo(
        f"{steps.count - tuning.state.step} steps on {plan.backend}: {price.jobs} jobs, {price.executions:,} "
        f"executions, {price.seconds:.1f} s of device time"
    )
    _require_leave(tuning, estimator, steps.count, yes)
    with interruptible(_STOPPED):
        stopped = tuning.run(steps.count)
    if stopped is not None:
        echo(f"stopped after {tuning.state.step} steps: {stopped}")
    best, judged = tuning.best()
    with torch.no_grad():
        process.core.layer.weight.copy_(torch.from_numpy(best))
    history = tuning.state.history
    return {
        "asked": steps.count,
        "made": tuning.state.step,
        "circuits": steps.circuits,
        "learning_rate": steps.learning_rate,
        "seed": steps.seed,
        "folder": str(folder.relative_to(workload.run.path)),
        "stopped": stopped,
        "best": judged,
        "history": history,
        "bill": {
            "jobs": sum(len(row["jobs"]) for row in history),
            **{name: sum(row[name] for row in history) for name in ("executions", "seconds", "taken")},
        },
    }


def _require_leave(tuning: WeightTuning, estimator: DeviceEstimator, steps: int, yes: bool) -> None:
    """What is left has room in the budget, and may be sent.

    Jobs that were sent and whose price is not known yet count with their limit, which may be all that was left then: so
    long the runner of the jobs decides, which asks for their price.
    """
    price, left, name = tuning.price(steps), estimator.seconds_left(), estimator.backend.name
    told = tuning.state.angles is None and not estimator.untold()
    if left is not None and price.seconds > left + 1e-6 and told:
        raise BudgetError(
            f"the steps take {price.seconds:.1f} s and {left:.1f} s of the budget are left: take fewer --spsa-steps or "
            "--circuits, or raise --budget-seconds"
        )
    if not is_local(estimator.backend) and price.jobs and not yes:
        raise HardwareError(
            f"`{name}` is a real device: add --yes to send {price.jobs} jobs of {price.seconds:.0f} s in all"
        )
