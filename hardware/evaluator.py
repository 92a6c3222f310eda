"""Expectation values of one denoising step from a device: found again, sent, waited for, checked, stored."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.backends import is_local
from hardware.errors import BudgetError, JobError, JobPendingError
from hardware.execution import (
    Expectations,
    collect,
    execution_mode,
    find_job,
    job_status,
    prepared,
    retrieve_job,
    submit,
)
from hardware.jobs import JobLog, ResultStore, Work, job_tags, make_work
from hardware.options import RESULT_OPTIONS, job_options
from hardware.planning import Plan, part_sizes
from hardware.transpilation import Program
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory

_DONE = ("DONE", "ERROR", "CANCELLED")


@dataclass
class Allowance:
    """What the evaluator may do.

    Attributes:
        new_steps: Denoising steps for which it may still send jobs; `None` for any number.
        wait: Whether it waits for jobs that are not done. Local jobs are always waited for: they end with the process.
    """

    new_steps: int | None
    wait: bool


class NotSentError(JobError):
    """A step whose jobs have not been sent, and the allowance is used up."""


class DeviceEvaluator:
    """`(step, angles) -> expectation values` for `ReverseProcess.run`.

    Each part of a step's images is one job. Its result is taken from the store, else from the job that was sent
    before (found by its line or its tags), else a job is sent and its line written before it is waited for. All parts
    of a step are sent before the first is waited for.

    Use as a context manager: a batch or session is opened with the first job and closed with the block.

    Args:
        run: Where lines and results go.
        plan: Level, shots, mode, budget.
        device: Program on the whole device; names the work.
        executed: Program that runs: the same, or the simulated part of the device.
        allowance: What may be done.
    """

    def __init__(self, run: RunDirectory, plan: Plan, device: Program, executed: Program, allowance: Allowance) -> None:
        self._run = run
        self._plan = plan
        self._config = HardwareConfig.model_validate(plan.config)
        self._device = device
        self._executed = executed
        self._allowance = allowance
        self._local = is_local(device.backend)
        self._log = JobLog(run.hardware / "jobs.jsonl")
        self._store = ResultStore(run.hardware / "results")
        self._stack = ExitStack()
        self._mode: Any = None

    def __enter__(self) -> DeviceEvaluator:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    def __call__(self, step: int, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expectation values `(B, n_out)` of angles `(B, n_in)`.

        Raises:
            JobPendingError: A job is not done and may not be waited for.
            NotSentError: A job would have to be sent and may not be.
            JobError: A job failed or its result is wrong.
            BudgetError: The jobs of the step would exceed what is left of the budget.
        """
        stops = np.cumsum(part_sizes(len(angles), self._plan.jobs_per_step))
        parts = np.split(angles, stops[:-1])
        works = [make_work(self._device, step, index, part, self._settings()) for index, part in enumerate(parts)]
        found = [self._stored(work) for work in works]
        missing = [work for work, result in zip(works, found, strict=True) if result is None]
        jobs = {work.part: self._sent_before(work) for work in missing}
        unsent = [work for work in missing if jobs[work.part] is None]
        if unsent:
            self._require_leave(step, unsent)
            jobs |= {work.part: self._send(work) for work in unsent}
        results = [
            result if result is not None else self._collect(work, jobs[work.part])
            for work, result in zip(works, found, strict=True)
        ]
        return np.concatenate([result.values for result in results])

    def _settings(self) -> dict[str, Any]:
        plan = self._plan
        seed = {"seed": plan.config["seed"]} if self._local else {}
        return {**{key: plan.config[key] for key in RESULT_OPTIONS}, "calibrated": plan.calibrated, **seed}

    def _stored(self, work: Work) -> Expectations | None:
        result = self._store.load(work)
        if result is not None and not self._is_counted(work):
            self._log.append("reused", content=work.content, **self._place(work))
        return result

    def _is_counted(self, work: Work) -> bool:
        return any(row["content"] == work.content for row in self._log.results(self._plan.key))

    def _sent_before(self, work: Work) -> Any | None:
        job_id = self._log.open_job(work.content)
        if job_id is not None:
            return retrieve_job(self._device.backend, job_id)
        job = find_job(self._device.backend, job_tags(self._run, work))
        if job is not None:
            self._record_sent(work, job)
        return job

    def _require_leave(self, step: int, unsent: list[Work]) -> None:
        allowance = self._allowance
        if allowance.new_steps is not None:
            if allowance.new_steps < 1:
                raise NotSentError(f"denoising step {step} waits for its jobs to be sent")
            allowance.new_steps -= 1
        if self._plan.budget_seconds is None:
            return
        wanted = self._seconds_per_job() * len(unsent)
        left = self._plan.budget_seconds - self._seconds_spent()
        if wanted > left + 1e-6:
            raise BudgetError(
                f"budget_seconds {self._plan.budget_seconds:g}: {left:.1f} s are left and step {step} takes "
                f"{wanted:.1f} s; raise it and go on with --resume"
            )

    def _send(self, work: Work) -> Any:
        if self._mode is None:
            self._mode = self._stack.enter_context(execution_mode(self._executed.backend, self._plan.mode))
        job = submit(self._executed, work.angles, self._options(work), self._mode)
        self._record_sent(work, job)
        return job

    def _options(self, work: Work) -> Any:
        budget = self._plan.budget_seconds
        return job_options(
            self._config,
            seed=work.seed if self._local else None,
            tags=job_tags(self._run, work),
            max_seconds=None if budget is None else budget - self._seconds_spent(),
        )

    def _collect(self, work: Work, job: Any) -> Expectations:
        if not self._local and not self._allowance.wait:
            status = job_status(job)
            if status not in _DONE:
                raise JobPendingError(f"job {job.job_id()} of denoising step {work.step} is {status.lower()}")
        expected = prepared(self._executed, work.angles, job_options(self._config))
        try:
            result = collect(job, expected, self._executed.num_outputs, len(work.angles))
        except JobError as error:
            self._log.append("failed", job=job.job_id(), content=work.content, reason=str(error), **self._place(work))
            raise
        provenance = {"job": job.job_id(), **self._settings(), **self._place(work)}
        self._store.save(work, result, provenance)
        self._log.append("done", job=job.job_id(), content=work.content, **self._place(work))
        return result

    def _record_sent(self, work: Work, job: Any) -> None:
        self._log.append(
            "submitted",
            job=job.job_id(),
            content=work.content,
            tags=job_tags(self._run, work),
            backend=self._plan.backend,
            mode=self._plan.mode,
            local=self._local,
            samples=len(work.angles),
            seconds=self._seconds_per_job(),
            **self._place(work),
        )

    def _place(self, work: Work) -> dict[str, Any]:
        return {"plan": self._plan.key, "step": work.step, "part": work.part, "file": self._store.path(work).name}

    def _seconds_per_job(self) -> float:
        return self._plan.seconds / self._plan.jobs

    def _seconds_spent(self) -> float:
        """Planned seconds of this plan's jobs so far, those that failed included: the service bills them too."""
        sent = [row for row in self._log.rows() if row["event"] == "submitted" and row["plan"] == self._plan.key]
        if self._local:
            # A local job that ended with its process is simulated again, and would have cost nothing but the one.
            sent = list({row["content"]: row for row in sent}.values())
        return float(sum(row["seconds"] for row in sent))
