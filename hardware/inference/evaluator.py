"""Expectation values of denoising steps from a device."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.inference.affine import Measured
from hardware.inference.references import RunRescaling
from hardware.inference.rounds import Round
from hardware.jobs.budget import RunBudget
from hardware.jobs.job_log import JobLog, ResultStore, Work, make_work, run_id
from hardware.jobs.runner import JobRunner
from hardware.jobs.tasks import Allowance, Bill, Task
from hardware.placement.program import Program
from hardware.placement.sharing import copy_of_each
from hardware.planning.bill import Plan
from hardware.planning.costs import part_sizes
from hardware.primitives.execution import Expectations, collect, expected_job
from hardware.primitives.options import RESULT_OPTIONS, job_options
from hardware.service.account import is_local
from hardware.service.backends import known_device
from qhybrid.config import HardwareConfig
from qhybrid.quantum.devices.calibration import SavedBackend
from qhybrid.rundir import RunDirectory


class DeviceEvaluator:
    """Expectation values of a round for `ReverseProcess.run`, in one job unless the service's limits split it.

    Use as a context manager: a batch or session is opened with the first job and closed with the block.

    Args:
        run: Run directory that takes the lines of the log and the results.
        plan: Level, shots, mode, budget.
        device: Program on the whole device; names the work.
        executed: Program that runs: the same, or the simulated part of the device.
        rescaling: Reference points that are sent beside a round, and the correction of the device's values.
        allowance: Limits of what may be sent and waited for.
        echo: Called with a line about what went wrong and was mended.
    """

    def __init__(
        self,
        run: RunDirectory,
        plan: Plan,
        device: Program,
        executed: Program,
        rescaling: RunRescaling,
        allowance: Allowance,
        echo: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._plan = plan
        self._config = HardwareConfig.model_validate(plan.config)
        self._device = device
        self._executed = executed
        self._rescaling = rescaling
        self._settings = self._what_decides_a_result()
        task = Task(
            device=device,
            executed=executed,
            options=lambda work: job_options(self._config),
            collect=self._collect,
            title=_title,
            settings=self._settings,
        )
        bill = Bill(
            plan.key,
            run_id(run),
            plan.backend,
            plan.mode,
            plan.budget_seconds,
            plan.calibrated,
            RunBudget(run).spent,
            plan.budget.words,
        )
        # The device may be gone by then; results of jobs that were sent to it are judged by what it was.
        kept = SavedBackend(plan.backend, device.backend.target, plan.calibrated)
        reopen = partial(known_device, plan.backend, kept, fractional_gates=self._config.fractional_gates)
        log, store = JobLog(run.hardware / "jobs.jsonl"), ResultStore(run.hardware / "results")
        self._runner = JobRunner(task, bill, log, store, reopen, allowance, echo)

    def __enter__(self) -> DeviceEvaluator:
        """Close what an earlier process has left open at the service."""
        self._runner.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Close the batch or session."""
        self._runner.__exit__(*exception)

    def __call__(self, asked: Round) -> NDArray[np.float64]:
        """Expectation values `(D, n_out)` of the parameter sets of a round.

        Raises:
            HardwareError: See `JobRunner.results`.
        """
        plan = self._plan
        beside = self._rescaling.beside(asked)
        angles = np.concatenate([beside, asked.angles])
        # Where images turn out to need equal angles there are fewer sets than planned, and perhaps fewer jobs.
        most = plan.jobs_of_first_round if len(beside) else plan.jobs_per_round
        jobs = math.ceil(len(angles) * most / (plan.sets_per_round + len(beside)))
        stops = np.cumsum([0, *part_sizes(len(angles), jobs)])
        first_steps = (asked.steps[0],) * len(beside) + asked.first_steps()
        seconds = self._seconds_per_job(bool(len(beside)))
        works = [
            make_work(
                self._device,
                asked.steps[0],
                index,
                angles[begin:end],
                self._settings,
                seconds,
                first_steps[begin:end],
            )
            for index, (begin, end) in enumerate(itertools.pairwise(stops))
        ]
        results = self._runner.results(works)
        errors = np.concatenate([result.errors for result in results])
        measured = Measured(
            np.concatenate([result.values for result in results]),
            np.maximum(errors, 1.0 / plan.shots),
            np.concatenate([copy_of_each(len(work.angles), plan.pack) for work in works]),
        )
        return self._rescaling.values(asked, measured)

    def _seconds_per_job(self, with_references: bool) -> float:
        plan = self._plan
        further = 0.0 if plan.references is None else float(plan.references["seconds"])
        alone = (plan.seconds - further) / plan.jobs
        return alone + further / plan.jobs_of_first_round if with_references else alone

    def _what_decides_a_result(self) -> dict[str, Any]:
        plan = self._plan
        seed = {"seed": plan.config["seed"]} if is_local(self._device.backend) else {}
        return {**{key: plan.config[key] for key in RESULT_OPTIONS}, "calibrated": plan.calibrated, **seed}

    def _collect(self, job: Any, work: Work) -> Expectations:
        expected = expected_job(self._executed, work.angles, job_options(self._config))
        return collect(job, expected, self._executed.num_outputs, len(work.angles))


def _title(work: Work) -> str:
    first, last = min(work.steps), max(work.steps)
    return f"denoising step {first}" if first == last else f"denoising steps {first} to {last}"
