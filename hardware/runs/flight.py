"""A run in flight: jobs that were sent for a plan whose images are not done. It is not replanned by the way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hardware.errors import HardwareError, JobError, UnknownJobError
from hardware.inference.reverse_process import ReverseState
from hardware.jobs.budget import RunBudget
from hardware.jobs.execution_mode import Echo, ExecutionMode, silent
from hardware.jobs.job_log import PRODUCT_TAG, JobLog, run_id
from hardware.jobs.service_jobs import FINAL, ServiceJobs
from hardware.planning.bill import Plan
from hardware.service import limits
from hardware.service.backends import jobs_at
from hardware.service.outages import LOOK_UP_SECONDS
from qhybrid.rundir import RunDirectory

CANCEL_ATTEMPTS = 3
CANCEL_PAUSE = 2.0


@dataclass(frozen=True)
class Flight:
    """What a run directory holds of jobs that are paid for, its variants' included, and how far its plan has come.

    Attributes:
        run: The run, or one of its variants.
        plan: Stored plan; `None` if nothing is planned.
        sent: Ids of the plan's jobs.
        local: Whether they were simulated here, so that nothing of them is left at a service.
        finished: Whether the plan's images are done, or all its results are there.
        open: Lines of the jobs at a service whose results were not fetched, of any plan of the directory; `for` names
            the plan that they belong to, a variant's jobs to that of the run; `None` for jobs of a tuning, which no
            plan forgets.
    """

    run: RunDirectory
    plan: Plan | None
    sent: tuple[str, ...]
    local: bool
    finished: bool
    open: tuple[dict[str, Any], ...]

    @property
    def underway(self) -> bool:
        """Whether the plan has paid jobs and no images yet."""
        return bool(self.sent) and not self.local and not self.finished

    def would_forget(self, key: str) -> bool:
        """Whether another plan would forget jobs that are paid for.

        Args:
            key: Key of the plan that is to take the place of the present one.
        """
        planned = self.plan is not None and self.plan.key == key
        return (self.underway and not planned) or any(row["for"] not in (None, key) for row in self.open)

    def refuse(self) -> None:
        """Say that the run is not replanned.

        Raises:
            HardwareError: Always.
        """
        devices = {str(row["backend"]) for row in self.open} or {self.plan.backend if self.plan else ""}
        jobs = {*self.sent, *(row["job"] for row in self.open)} if self.underway else {row["job"] for row in self.open}
        raise HardwareError(
            f"`{self.run.path}` has a run with other options in flight on `{', '.join(sorted(devices))}` "
            f"({len(jobs)} jobs sent, {RunBudget(self.run).spent():.1f} s): go on with `infer --resume`, or drop it by "
            "--discard"
        )

    def discard(self, echo: Echo) -> None:
        """Cancel the jobs that have not ended, and say what was paid.

        Args:
            echo: Function that is called with that line.
        """
        cancelled = len(cancel_jobs(self.run, self.open, "discarded").cancelled)
        spent = RunBudget(self.run).spent()
        echo(f"discarded the run in flight: {cancelled} jobs cancelled, {spent:.1f} s were paid for it")
        (self.run.hardware / "state.npz").unlink(missing_ok=True)


def flight_of(run: RunDirectory) -> Flight:
    """What a run directory has planned, how far that is, and which jobs of it or of its variants are open.

    Raises:
        HardwareError: plan.json is damaged or another version's.
    """
    rows = tuple({**row, "for": _home(run, path, row)} for path in logs(run) for row in open_jobs(JobLog(path)))
    if not (run.hardware / "plan.json").exists():
        return Flight(run, None, (), True, False, rows)
    plan = Plan.load(run.hardware / "plan.json")
    log = JobLog(run.hardware / "jobs.jsonl")
    sent = [row for row in log.rows() if row["event"] == "submitted" and row["plan"] == plan.key]
    state = ReverseState.load(run.hardware / "state.npz", plan.key)
    finished = (state is not None and state.step == plan.steps) or len(log.results(plan.key)) >= plan.jobs
    local = all(row.get("local") for row in sent)
    return Flight(run, plan, tuple(row["job"] for row in sent), local, finished, rows)


def open_jobs(log: JobLog) -> list[dict[str, Any]]:
    """Lines of the jobs of a log that were sent to a service and have neither come to an end nor been fetched."""
    found: dict[str, dict[str, Any]] = {}
    for row in log.rows():
        if row["event"] == "submitted" and not row.get("local"):
            found[row["job"]] = row
        elif row["event"] in ("done", "failed"):
            found.pop(row["job"], None)
    return list(found.values())


@dataclass(frozen=True)
class Cancelled:
    """What became of jobs that were to be cancelled.

    Attributes:
        cancelled: Ids of those that were.
        late: Ids of those that had ended by then.
    """

    cancelled: tuple[str, ...]
    late: tuple[str, ...]


def cancel_jobs(
    run: RunDirectory, rows: Sequence[dict[str, Any]], reason: str, *, keep_done: bool = False
) -> Cancelled:
    """Cancel jobs that have not ended, and write down what they have cost.

    Jobs of the run whose line was lost are found by their tags and cancelled as well.

    Args:
        run: The run, or one of its variants.
        rows: Lines of its open jobs.
        reason: Why, for their lines.
        keep_done: Leave a job that is done to `fetch`; else its result is not wanted.
    """
    cancelled: list[str] = []
    late: list[str] = []
    for name in sorted({str(row["backend"]) for row in rows}):
        jobs = service_jobs(run, name, patience=LOOK_UP_SECONDS)
        for path in logs(run):
            log = JobLog(path)
            for row in (row for row in open_jobs(log) if row["backend"] == name):
                place = {key: row[key] for key in ("content", "plan", "step", "part", "file") if key in row}
                try:
                    job = jobs.retrieve(row["job"])
                except UnknownJobError as error:
                    late.append(row["job"])
                    log.append("failed", job=row["job"], reason=str(error), charged=None, **place)
                    continue
                in_time, state = _cancel(jobs, job)
                (cancelled if in_time else late).append(row["job"])
                if not (keep_done and state == "DONE"):
                    log.append("failed", job=row["job"], reason=reason, charged=jobs.charged(job), **place)
        # A variant's jobs carry the tag of the run.
        known = {row.get("job") for path in logs(RunDirectory(run.path)) for row in JobLog(path).rows()}
        lost = [job for job in jobs.tagged([PRODUCT_TAG, f"run:{run_id(run)}"]) if job.job_id() not in known]
        cancelled += [job.job_id() for job in lost if jobs.cancel(job)]
    return Cancelled(tuple(cancelled), tuple(late))


def _cancel(jobs: ServiceJobs, job: Any) -> tuple[bool, str]:
    """Cancel a job; whether it was not too late, and the state in which it has ended."""
    for _ in range(CANCEL_ATTEMPTS):
        in_time, state = jobs.cancel(job), jobs.status(job)
        if state in FINAL:
            return in_time, state
        time.sleep(CANCEL_PAUSE)
    raise JobError(
        f"job {job.job_id()} is {state.lower()} and could not be cancelled: try again, or at {limits.WORKLOADS_PAGE}"
    )


def service_jobs(run: RunDirectory, name: str, echo: Echo = silent, patience: float | None = None) -> ServiceJobs:
    """The jobs that a run has on a device, whether the device is still there or not; none can be sent.

    Args:
        run: The run, or one of its variants.
        name: Name of the IBM device.
        echo: Called with a line about what went wrong and was mended.
        patience: Seconds for which a service that does not answer is asked again; by default as for a run.

    Raises:
        BackendError: There is no account, or it cannot be used.
    """
    device = jobs_at(name)
    mode = ExecutionMode(device, "job", JobLog(run.hardware / "jobs.jsonl"), lambda: None, silent)
    return ServiceJobs(partial(jobs_at, name), device, mode, echo, patience)


def _home(run: RunDirectory, log: Path, row: dict[str, Any]) -> str | None:
    """The plan of the run that a job belongs to, a variant's to that of the run; `None` for a tuning's."""
    parts = log.relative_to(run.hardware).parts
    if parts[0] == "tuning":
        return None
    return parts[1] if parts[0] == "variants" else str(row["plan"])


def logs(run: RunDirectory) -> list[Path]:
    """The logs of the run directory: its own and those of its variants; of a variant, its own."""
    return sorted(run.hardware.rglob("jobs.jsonl"))
