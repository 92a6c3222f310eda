"""Runtime's execution modes: single jobs, a batch, a session; opened when first needed, closed on every way out.

A session is billed by wall clock until it is closed. Its id is written to `jobs.jsonl` when it is opened, so that one
that a killed process left open is closed by the next that sends jobs for this run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from qiskit.providers import BackendV2
from qiskit_ibm_runtime import Batch, Session

from hardware.errors import HardwareError
from hardware.jobs.job_log import JobLog
from hardware.jobs.left_open import close_one, left_open
from hardware.service import limits
from hardware.service.account import is_local
from hardware.service.client_faults import NO_SESSIONS, client_errors, judge
from hardware.service.modes import OPEN_PLAN_HINT, Mode
from qhybrid.interruption import undisturbed

Echo = Callable[[str], None]
"""Takes a line about what goes on."""


class ExecutionMode:
    """What jobs are sent to: the device itself, or a batch or session of it.

    Args:
        backend: Device, or its local copy, that the jobs run on.
        mode: `job`, `batch` or `session`; a local device knows jobs only.
        log: Job log, which gets a line whenever a batch or session is opened or closed.
        seconds_left: Function that gives the seconds left of the budget, which limit the age of a session; it gives
            `None` if there is no budget.
        echo: Called with a line when the service has closed what was open.
    """

    def __init__(
        self, backend: BackendV2, mode: Mode, log: JobLog, seconds_left: Callable[[], float | None], echo: Echo
    ) -> None:
        self.backend = backend
        self._mode: Mode = "job" if is_local(backend) else mode
        self._log = log
        self._seconds_left = seconds_left
        self._echo = echo
        self._opened: Any = None
        self._lost: set[str] = set()

    @property
    def shared(self) -> bool:
        """Whether jobs are sent in a batch or session."""
        return self._mode != "job"

    def current(self) -> Any:
        """What to pass to a primitive; opens the batch or session if there is none.

        Raises:
            HardwareError: The account's plan has no sessions.
        """
        if self._mode == "job":
            return self.backend
        if self._opened is None:
            left = self._seconds_left()
            # Whole seconds, and no more than are left.
            limit = None if left is None else max(1, math.floor(left))
            # Between the request and the line, an interruption would leave a session that nobody knows of.
            with undisturbed():
                self._log.append("asked", mode=self._mode, backend=str(self.backend.name), clock=time.time())
                self._opened = self._open(limit)
                self._log.append(
                    "opened", mode=self._mode, session=self._opened.session_id, limit=limit, clock=time.time()
                )
        return self._opened

    def move(self, backend: BackendV2) -> None:
        """Go on with another object for the same device, since the old one's token has expired."""
        self.backend = backend
        if self._opened is not None:
            try:
                self._opened = self._again(self._opened)
            except client_errors():
                self.forget()

    def was_closed(self, session_id: str | None) -> bool:
        """Whether a batch or session of this run has been closed by the service, its queued jobs with it."""
        if self._opened is not None and not (self._opened.details() or {}).get("accepting_jobs", True):
            self.forget()
        return session_id in self._lost

    def forget(self) -> None:
        """What was open has been closed by the service; the next job opens another."""
        if self._opened is not None:
            self._log.append("closed", session=self._opened.session_id, by="service", clock=time.time())
            self._echo(f"the service has closed {self._mode} {self._opened.session_id}: going on in a new one")
            self._lost.add(self._opened.session_id)
            self._opened = None

    def close(self) -> None:
        """Close what is open; jobs in it run to their end."""
        if self._opened is None:
            return
        with undisturbed():
            opened, self._opened = self._opened, None
            self._tell(close_one(self._log, opened.session_id, self._mode, self.backend.service))

    def close_left_open(self) -> None:
        """Close what a process that was killed has left open."""
        for session_id, mode in left_open(self._log).items():
            self._tell(close_one(self._log, session_id, mode, self.backend.service))

    def _open(self, limit: int | None) -> Any:
        kind = Session if self._mode == "session" else Batch
        try:
            return kind(backend=self.backend, max_time=limit)
        except client_errors() as error:
            fault = judge(error)
            if fault.kind == "unclear":
                self._echo(
                    f"the answer to a request for a {self._mode} was lost ({fault.message}): one may be open that no "
                    f"job is in; see {limits.WORKLOADS_PAGE}"
                )
                raise
            self._log.append("declined", mode=self._mode, reason=fault.message)
            if fault.kind == "no sessions":
                raise HardwareError(f"`{self.backend.name}`: {OPEN_PLAN_HINT} (code {NO_SESSIONS})") from None
            raise

    def _again(self, opened: Any) -> Any:
        """The open batch or session, addressed with the token of the current backend."""
        fractional = bool(self.backend.options.use_fractional_gates)
        return type(opened).from_id(opened.session_id, self.backend.service, use_fractional_gates=fractional)

    def _tell(self, problem: str | None) -> None:
        # The work is done and stored all the same.
        if problem is not None:
            self._echo(problem)


def silent(line: str) -> None:
    """The `Echo` of a caller who does not listen."""
