"""Expectation values of one denoising step from a device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.jobs.job_log import JobLog, ResultStore, Work, make_work, run_id
from hardware.jobs.runner import JobRunner
from hardware.jobs.tasks import Allowance, Bill, Task
from hardware.placement.program import Program
from hardware.planning.bill import Plan
from hardware.planning.costs import part_sizes
from hardware.primitives.execution import Expectations, collect, prepared
from hardware.primitives.options import RESULT_OPTIONS, job_options
from hardware.service.backends import is_local, open_backend
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory


class DeviceEvaluator:
    """`(step, angles) -> expectation values` for `ReverseProcess.run`; each part of a step's images is one job.

    Use as a context manager: a batch or session is opened with the first job and closed with the block.

    Args:
        run: Where lines and results go.
        plan: Level, shots, mode, budget.
        device: Program on the whole device; names the work.
        executed: Program that runs: the same, or the simulated part of the device.
        allowance: What may be done.
        echo: Called with a line about what went wrong and was mended.
    """

    def __init__(
        self,
        run: RunDirectory,
        plan: Plan,
        device: Program,
        executed: Program,
        allowance: Allowance,
        echo: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._plan = plan
        self._config = HardwareConfig.model_validate(plan.config)
        self._device = device
        self._executed = executed
        self._settings = self._what_decides_a_result()
        task = Task(
            device=device,
            executed=executed,
            options=lambda work: job_options(self._config),
            collect=self._collect,
            title=lambda work: f"denoising step {work.step}",
            settings=self._settings,
        )
        bill = Bill(plan.key, run_id(run), plan.backend, plan.mode, plan.budget_seconds, plan.calibrated)
        reopen = partial(open_backend, plan.backend, fractional_gates=self._config.fractional_gates)
        log, store = JobLog(run.hardware / "jobs.jsonl"), ResultStore(run.hardware / "results")
        self._runner = JobRunner(task, bill, log, store, reopen, allowance, echo)

    def __enter__(self) -> DeviceEvaluator:
        """Close what an earlier process has left open at the service."""
        self._runner.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Close the batch or session."""
        self._runner.__exit__(*exception)

    def __call__(self, step: int, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expectation values `(B, n_out)` of angles `(B, n_in)`.

        Raises:
            HardwareError: See `JobRunner.results`.
        """
        stops = np.cumsum(part_sizes(len(angles), self._plan.jobs_per_step))
        seconds = self._plan.seconds / self._plan.jobs
        works = [
            make_work(self._device, step, index, part, self._settings, seconds)
            for index, part in enumerate(np.split(angles, stops[:-1]))
        ]
        return np.concatenate([result.values for result in self._runner.results(works)])

    def _what_decides_a_result(self) -> dict[str, Any]:
        plan = self._plan
        seed = {"seed": plan.config["seed"]} if is_local(self._device.backend) else {}
        return {**{key: plan.config[key] for key in RESULT_OPTIONS}, "calibrated": plan.calibrated, **seed}

    def _collect(self, job: Any, work: Work) -> Expectations:
        expected = prepared(self._executed, work.angles, job_options(self._config))
        return collect(job, expected, self._executed.num_outputs, len(work.angles))
