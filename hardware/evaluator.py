"""Expectation values of one denoising step from a device: found again, sent, waited for, checked, stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.providers import BackendV2

from hardware.backends import is_local, open_backend
from hardware.costs import part_sizes
from hardware.dispatch import LocalJobs, Sent, ServiceJobs
from hardware.errors import BudgetError, JobError, JobPendingError, ResultError
from hardware.execution import Expectations, collect, prepared, submit
from hardware.jobs import JobLog, ResultStore, Work, job_tags, make_work
from hardware.modes import ExecutionMode
from hardware.options import RESULT_OPTIONS, job_options
from hardware.planning import Plan
from hardware.program import Program, check_isa
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory

DOWNLOADS = 3
DOWNLOAD_PAUSE = 0.5


@dataclass
class Allowance:
    """What the evaluator may do.

    Attributes:
        new_steps: Denoising steps for which it may still send jobs; `None` for any number.
        wait: Whether it waits for jobs that are not done. Local jobs are always waited for: they end with the process.
        wait_seconds: For one job at most; `None` for ever.
    """

    new_steps: int | None
    wait: bool
    wait_seconds: float | None = None


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
        self._run = run
        self._plan = plan
        self._config = HardwareConfig.model_validate(plan.config)
        self._device = device
        self._executed = executed
        self._allowance = allowance
        self._echo = echo
        self._local = is_local(device.backend)
        self._log = JobLog(run.hardware / "jobs.jsonl")
        self._store = ResultStore(run.hardware / "results")
        budget_left = None if plan.budget_seconds is None else plan.budget_seconds - self._seconds_spent()
        # Where it runs: locally that is the simulated part of the device, not the whole.
        self._mode = ExecutionMode(executed.backend, plan.mode, self._log, budget_left, echo)
        self._jobs: LocalJobs | ServiceJobs = (
            LocalJobs(device.backend, self._mode)
            if self._local
            else ServiceJobs(self._open_backend, device.backend, self._mode, echo)
        )

    def __enter__(self) -> DeviceEvaluator:
        if not self._local and self._allowance.new_steps != 0:
            self._mode.close_left_open()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._mode.close()

    def __call__(self, step: int, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expectation values `(B, n_out)` of angles `(B, n_in)`.

        Raises:
            JobPendingError: A job is not done and may not be waited for any longer.
            NotSentError: A job would have to be sent and may not be.
            JobError: A job failed or its result is wrong.
            BudgetError: The jobs of the step would exceed what is left of the budget or of the account's quota.
            HardwareError: The device no longer executes the circuit.
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

    def _open_backend(self) -> BackendV2:
        return open_backend(self._plan.backend, fractional_gates=self._config.fractional_gates)

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
            return self._jobs.retrieve(job_id)
        found = self._jobs.find(job_tags(self._run, work), self._log.given_up(work.content))
        return None if found is None else self._record_sent(work, found)

    def _require_leave(self, step: int, unsent: list[Work]) -> None:
        allowance = self._allowance
        if allowance.new_steps is not None:
            if allowance.new_steps < 1:
                raise NotSentError(f"denoising step {step} waits for its jobs to be sent")
            allowance.new_steps -= 1
        self._require_seconds(step, len(unsent))
        if not self._local:
            self._require_device()

    def _require_seconds(self, step: int, jobs: int) -> None:
        wanted = self._seconds_per_job() * jobs
        budget = self._plan.budget_seconds
        if budget is not None and wanted > (left := budget - self._seconds_spent()) + 1e-6:
            raise BudgetError(
                f"budget_seconds {budget:g}: {left:.1f} s are left and step {step} takes "
                f"{wanted:.1f} s; raise it and go on with --resume"
            )
        quota = self._jobs.seconds_left()
        # The service takes such a job, and leaves it in the queue until the next period.
        if quota is not None and wanted > quota:
            raise BudgetError(
                f"the account has {quota:.0f} s left on `{self._plan.backend}` and step {step} takes {wanted:.1f} s: "
                "nothing was sent; go on with --resume when there is more"
            )

    def _require_device(self) -> None:
        """The device as it is now still executes the circuit; tell if it is another than was planned for."""
        known = self._log.calibration(self._plan.key) or self._plan.calibrated
        now = self._jobs.calibration(refresh=True)
        if known is None or now == known:
            return
        check_isa(self._device.circuit, self._jobs.backend)
        self._echo(
            f"`{self._plan.backend}` was calibrated anew ({now}, before {known}): the circuit stays where it is; "
            "start again without --resume to place it anew"
        )

    def _send(self, work: Work) -> Any:
        sent = self._jobs.send(
            lambda mode: submit(self._executed, work.angles, self._options(work), mode),
            job_tags(self._run, work),
            self._log.given_up(work.content),
        )
        return self._record_sent(work, sent)

    def _options(self, work: Work) -> Any:
        budget = self._plan.budget_seconds
        return job_options(
            self._config,
            seed=work.seed if self._local else None,
            tags=job_tags(self._run, work),
            max_seconds=None if budget is None else budget - self._seconds_spent(),
        )

    def _collect(self, work: Work, job: Any) -> Expectations:
        allowance = self._allowance
        try:
            job, state = self._jobs.wait(job, allowance.wait_seconds if allowance.wait else 0.0)
        except JobPendingError as error:
            raise JobPendingError(f"denoising step {work.step}: {error}") from None
        if state == "CANCELLED" and self._jobs.ended_with_mode(job):
            self._fail(work, job, "its batch or session was closed by the service")
            self._require_seconds(work.step, 1)
            return self._collect(work, self._send(work))
        if state != "DONE":
            reason = self._jobs.reason(job, state)
            self._fail(work, job, reason)
            raise JobError(
                f"job {job.job_id()} of denoising step {work.step} {reason}; what was finished before is kept, "
                "--resume sends it anew"
            )
        try:
            result = self._download(work, job)
        except ResultError as error:
            return self._without_result(work, job, error)
        provenance = {"job": job.job_id(), **self._settings(), **self._place(work)}
        self._store.save(work, result, provenance)
        charged = self._jobs.charged(job)
        self._log.append("done", job=job.job_id(), content=work.content, charged=charged, **self._place(work))
        return result

    def _download(self, work: Work, job: Any) -> Expectations:
        """The checked result of a job that is done, and paid for: one that is wrong is fetched several times."""
        expected = prepared(self._executed, work.angles, job_options(self._config))
        for _ in range(0 if self._local else DOWNLOADS - 1):
            try:
                return collect(job, expected, self._executed.num_outputs, len(work.angles))
            except ResultError:
                time.sleep(DOWNLOAD_PAUSE)
        return collect(job, expected, self._executed.num_outputs, len(work.angles))

    def _without_result(self, work: Work, job: Any, error: ResultError) -> Expectations:
        """A job whose result stays wrong: stop, and if it was wrong in an earlier process already, send it anew."""
        if self._local:
            self._fail(work, job, str(error))
            raise error
        if self._log.was_refused(job.job_id()):
            self._fail(work, job, str(error))
            self._echo(f"{error}, as before: the job is given up and sent anew")
            self._require_seconds(work.step, 1)
            return self._collect(work, self._send(work))
        self._log.append("refused", job=job.job_id(), content=work.content, reason=str(error), **self._place(work))
        raise ResultError(f"{error}; --resume fetches it once more, and sends the job anew if it is still wrong")

    def _fail(self, work: Work, job: Any, reason: str) -> None:
        self._log.append(
            "failed",
            job=job.job_id(),
            content=work.content,
            reason=reason,
            charged=self._jobs.charged(job),
            **self._place(work),
        )

    def _record_sent(self, work: Work, sent: Sent) -> Any:
        for twin in sent.twins:
            self._log.append("twin", job=twin, content=work.content, charged=0.0, **self._place(work))
        self._log.append(
            "submitted",
            job=sent.job.job_id(),
            content=work.content,
            tags=job_tags(self._run, work),
            backend=self._plan.backend,
            mode=self._plan.mode,
            local=self._local,
            samples=len(work.angles),
            seconds=self._seconds_per_job(),
            calibrated=self._jobs.calibration(),
            **self._place(work),
        )
        return sent.job

    def _place(self, work: Work) -> dict[str, Any]:
        return {"plan": self._plan.key, "step": work.step, "part": work.part, "file": self._store.path(work).name}

    def _seconds_per_job(self) -> float:
        return self._plan.seconds / self._plan.jobs

    def _seconds_spent(self) -> float:
        """Seconds of this plan's jobs so far, those that failed included."""
        if self._local:
            # A local job that ended with its process is simulated again, and would have cost nothing but the one.
            rows = [row for row in self._log.rows() if row["event"] == "submitted" and row["plan"] == self._plan.key]
            return float(sum({row["content"]: row["seconds"] for row in rows}.values()))
        return sum(self._log.seconds(self._plan.key).values())
