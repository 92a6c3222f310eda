"""What `hardware.jobs.runner` is given: what its jobs are, under whose name they are sent, what it may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from hardware.errors import JobError
from hardware.jobs.job_log import Work
from hardware.placement.program import Program
from hardware.service.modes import Mode

ResultT = TypeVar("ResultT")


@dataclass
class Allowance:
    """What a runner may do.

    Attributes:
        new_rounds: Groups of independent jobs that it may still send; `None` for any number.
        wait: Whether it waits for jobs that are not done. Local jobs are always waited for: they end with the process.
        wait_seconds: Longest time to wait for one job, in seconds; `None` waits for ever.
    """

    new_rounds: int | None
    wait: bool
    wait_seconds: float | None = None


class NotSentError(JobError):
    """Jobs that have not been sent, and the allowance is used up."""


@dataclass(frozen=True)
class Bill:
    """Under whose name and for how much jobs are sent.

    Attributes:
        key: Hash of the plan, which the lines of its jobs carry.
        owner: Tag that all jobs of the plan carry at the service.
        backend: Name of the backend, as asked for.
        mode: Execution mode: `job`, `batch` or `session`.
        budget_seconds: Limit of the device time in seconds; `None` sets no limit.
        calibrated: Date of the calibration that was planned with.
        spent: Seconds taken so far of what the budget holds for; by default those of the jobs named by `key`.
        budget_words: The budget in words, the first of a message; by default as seconds.
    """

    key: str
    owner: str
    backend: str
    mode: Mode
    budget_seconds: float | None
    calibrated: str | None
    spent: Callable[[], float] | None = None
    budget_words: str | None = None


class Store(Protocol[ResultT]):
    """Where results are kept."""

    def path(self, work: Work) -> Path:
        """File of a job's result."""

    def load(self, work: Work) -> ResultT | None:
        """A stored result, or `None`."""

    def save(self, work: Work, result: ResultT, provenance: dict[str, Any]) -> Path:
        """Write a result and where it comes from.

        Args:
            work: Task of the job: its angles and what identifies them.
            result: Checked result of the job.
            provenance: Backend, job and date, JSON-able.
        """


@dataclass(frozen=True)
class Task(Generic[ResultT]):
    """What the jobs of a runner are.

    Attributes:
        device: Program on the whole device.
        executed: Program that runs: the same, or the simulated part of the device.
        options: Function that makes the options of the primitive for a job, without seed, tags and limit.
        collect: Function that checks the client's job that is done and reads its result.
        title: Function that names a job's work in messages.
        settings: Settings that are stored beside a result, JSON-able.
    """

    device: Program
    executed: Program
    options: Callable[[Work], Any]
    collect: Callable[[Any, Work], ResultT]
    title: Callable[[Work], str]
    settings: dict[str, Any]
