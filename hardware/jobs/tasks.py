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
        wait_seconds: For one job at most; `None` for ever.
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
        key: Names the plan in the lines of its jobs.
        owner: Tag of all its jobs at the service.
        backend: Its name, as asked for.
        mode: `job`, `batch` or `session`.
        budget_seconds: Limit of the device time, if any.
        calibrated: Date of the calibration that was planned with.
        spent: Seconds taken so far of what the budget holds for; by default those of the jobs named by `key`.
    """

    key: str
    owner: str
    backend: str
    mode: Mode
    budget_seconds: float | None
    calibrated: str | None
    spent: Callable[[], float] | None = None


class Store(Protocol[ResultT]):
    """Where results are kept."""

    def path(self, work: Work) -> Path:
        """File of a job's result."""

    def load(self, work: Work) -> ResultT | None:
        """A stored result, or `None`."""

    def save(self, work: Work, result: ResultT, provenance: dict[str, Any]) -> Path:
        """Write a result and where it comes from.

        Args:
            work: What the job had to do.
            result: What it gave.
            provenance: Backend, job and date, JSON-able.
        """


@dataclass(frozen=True)
class Task(Generic[ResultT]):
    """What the jobs of a runner are.

    Attributes:
        device: Program on the whole device.
        executed: Program that runs: the same, or the simulated part of the device.
        options: Of the primitive, without seed, tags and limit.
        collect: Takes the checked result of a job that is done.
        title: Names a job's work in messages.
        settings: What is stored beside a result.
    """

    device: Program
    executed: Program
    options: Callable[[Work], Any]
    collect: Callable[[Any, Work], ResultT]
    title: Callable[[Work], str]
    settings: dict[str, Any]
