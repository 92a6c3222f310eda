"""Jobs that are simulated here: the methods of `ServiceJobs`, without a network on which anything could fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from qiskit.providers import BackendV2

from hardware.jobs.execution_mode import ExecutionMode
from hardware.service.backends import calibration_date

T = TypeVar("T")


@dataclass(frozen=True)
class Twin:
    """A second job for the same work, which nobody asked for.

    Attributes:
        job: The client's job object.
        cancelled: Whether it was cancelled before it had ended.
    """

    job: Any
    cancelled: bool


@dataclass(frozen=True)
class Sent:
    """A job at the service.

    Attributes:
        job: The client's job object.
        twins: Other jobs with the same tags, which were cancelled unless it was too late for that.
    """

    job: Any
    twins: tuple[Twin, ...] = ()


class LocalJobs:
    """Jobs that are simulated in this process and end with it.

    Args:
        device: Whole device that is simulated.
        mode: Execution mode of the simulated part of the device, which runs the jobs.
    """

    def __init__(self, device: BackendV2, mode: ExecutionMode) -> None:
        self._mode = mode
        self.backend = device

    def send(self, start: Callable[[Any], Any], tags: Sequence[str], given_up: Collection[str]) -> Sent:
        """Simulate a job; see `ServiceJobs.send`.

        Args:
            start: Starts the job in the mode that it is called with.
            tags: Tags of the job, not used: a local job never has to be found again.
            given_up: Ids of earlier jobs, not used: no local job outlives the process.
        """
        return Sent(start(self._mode.current()))

    def find(self, tags: Sequence[str], given_up: Collection[str]) -> Sent | None:
        """Find no job: none outlives the process."""
        return None

    def retrieve(self, job_id: str) -> Any | None:
        """Find no job: none outlives the process."""
        return None

    def wait(self, job: Any, seconds: float | None) -> tuple[Any, str]:
        """Return the job and its state at once; its result waits by itself."""
        return job, "DONE"

    def read(self, job: Any, take: Callable[[Any], T]) -> T:
        """Take the result of a job, which is waited for.

        Args:
            job: Job that was sent.
            take: Function that asks for the result, and checks it.
        """
        return take(job)

    def ended_with_mode(self, job: Any) -> bool:
        """Say that no batch or session has ended a job, since there is none."""
        return False

    def reason(self, job: Any, state: str) -> str:
        """Say why a job has not ended well; nothing ends a simulation but its process."""
        return state.lower()

    def session_id(self, job: Any) -> None:
        """There are no sessions here.

        Args:
            job: Any job; it is not looked at.
        """

    def charged(self, job: Any) -> float | None:
        """Return nothing: no device time is charged for a simulation."""
        return None

    def seconds_left(self) -> float | None:
        """Return no limit of device time."""
        return None

    def require_open(self) -> str | None:
        """Nothing keeps a simulation from running."""
        return None

    def calibration(self, *, refresh: bool = False) -> str | None:
        """Date of the calibration that the local copy of the device holds."""
        return calibration_date(self.backend)
