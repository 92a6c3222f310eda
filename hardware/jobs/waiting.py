"""What is said while a job of the service is waited for."""

from __future__ import annotations

import time
from typing import Any

from hardware.jobs.execution_mode import Echo
from hardware.service.client_faults import client_errors
from qhybrid.progress import duration

# A job that is done by then needs no words.
FIRST_LINE = 3.0
# A state that stays is said again after a minute, and then less and less often: each time after this part of the wait.
LINE_PAUSE = 60.0
GROWTH = 0.25


class WaitingLines:
    """Lines about a job: its state whenever that changes, and less and less often while it stays the same.

    Args:
        job_id: The service's id of the job.
        backend: Device of the account that the job was sent to; asked how many jobs wait there.
        echo: Called with each line.
    """

    def __init__(self, job_id: str, backend: Any, echo: Echo) -> None:
        self._job_id, self._backend, self._echo = job_id, backend, echo
        self._begin = time.monotonic()
        self._state: str | None = None
        self._next = FIRST_LINE

    def look(self, state: str) -> None:
        """Take note of the job's present state, and say it if it is time to.

        Args:
            state: The state as the client names it, e.g. `QUEUED`; one that is not final.
        """
        waited = time.monotonic() - self._begin
        if waited < FIRST_LINE or (state == self._state and waited < self._next):
            return
        line = f"job {self._job_id} is {state.lower()}{self._queue(state)}, waited {duration(waited)}"
        if self._state is None:
            line += "; Ctrl-C leaves it to the service, `hardware fetch RUN` or --resume takes its result later"
        self._state, self._next = state, waited + max(LINE_PAUSE, GROWTH * waited)
        self._echo(line)

    def _queue(self, state: str) -> str:
        """How many jobs wait at the device; the service tells no job its place among them."""
        if state != "QUEUED":
            return ""
        try:
            pending = int(self._backend.status().pending_jobs)
        except client_errors():
            return ""
        return f" ({pending} {'job waits' if pending == 1 else 'jobs wait'} at `{self._backend.name}`)"
