"""Jobs and the service: sent once, found again, waited for, through all that goes wrong on the way.

- A request that fails may have been carried out. The service is searched by the job's tags before it is sent again.
- The search lags behind: it is repeated for `LOOK_SECONDS` before a request counts as not carried out, and after each
  submission until it shows the new job. Of two jobs for the same work one is kept and the other cancelled, and both are
  written down with their price.
- An expired token stays expired for the client's object, so the backend is opened anew.
- A batch or session that the service has closed is opened anew.
- Requests that are answered with an error are repeated for `OUTAGE_SECONDS`, a job is looked at less and less often.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from qiskit.providers import BackendV2
from qiskit_ibm_runtime.exceptions import RuntimeJobNotFound

from hardware.errors import HardwareError, JobError, JobPendingError, UnknownJobError, UnreachableError
from hardware.jobs.execution_mode import Echo, ExecutionMode
from hardware.jobs.local_jobs import Sent, Twin
from hardware.jobs.waiting import WaitingLines
from hardware.service.account import seconds_left
from hardware.service.backends import calibration_date, require_open
from hardware.service.client_faults import client_errors, judge, one_line
from hardware.service.outages import GROWTH, LONGEST_PAUSE, LOOK_UP_SECONDS, Patience
from hardware.service.runtime_internals import api_client, failure_reason, instance_of, job_client
from qhybrid.interruption import undisturbed

ATTEMPTS = 5
# Seconds that requests are repeated for before a run stops, to be resumed. Our choice: more than a service's restart.
OUTAGE_SECONDS = 600.0
FIRST_PAUSE = 0.1
# So long a job may exist before the service's search shows it.
LOOK_SECONDS = 10.0
LOOK_PAUSE = 0.25
FINAL = ("DONE", "ERROR", "CANCELLED")

T = TypeVar("T")


class ServiceJobs:
    """Jobs of an account on a device.

    Args:
        reopen: Opens the device anew, with a new token.
        backend: Device of the account that the jobs run on.
        mode: Execution mode that sends the jobs: alone, in a batch or in a session.
        echo: Called with a line about what went wrong and was mended, and about a job that is waited for.
        patience: Seconds for which a service that does not answer is asked again; `OUTAGE_SECONDS` by default.
    """

    def __init__(
        self,
        reopen: Callable[[], BackendV2],
        backend: BackendV2,
        mode: ExecutionMode,
        echo: Echo,
        patience: float | None = None,
    ) -> None:
        self._open = reopen
        self._name = str(backend.name)
        self._mode = mode
        self._echo = echo
        self._patience = OUTAGE_SECONDS if patience is None else patience
        self.backend = backend

    def send(self, start: Callable[[Any], Any], tags: Sequence[str], given_up: Collection[str]) -> Sent:
        """Send a job once.

        Args:
            start: Sends it to the device, batch or session that it is given, and does nothing else: whatever the
                client raises in it is judged as the service's answer.
            tags: Tags of the job; no other job has all of them.
            given_up: Ids of jobs with these tags that came to nothing.

        Raises:
            JobError: The service refuses it, or cannot be reached.
            HardwareError: The account has no sessions.
        """
        reopened = False
        for attempt in range(ATTEMPTS):
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    job = start(self._mode.current())
                for warning in {one_line(str(item.message)) for item in caught if item.category is UserWarning}:
                    self._echo(f"the client warns: {warning}")
                return self._settle(job, tags, given_up)
            except client_errors() as error:
                fault = judge(error)
            if fault.kind == "session closed":
                self._mode.forget()
                continue
            if fault.kind == "refused" or (fault.kind == "unauthorized" and reopened):
                raise JobError(f"`{self._name}` does not accept the job: {fault.message}; nothing was sent")
            if fault.kind == "unauthorized":
                self._reopen()
                reopened = True
                continue
            self._echo(f"sending a job failed ({fault.message}): looking whether it exists, then again")
            found = self._look(tags, given_up, LOOK_SECONDS)
            if found is not None:
                return found
            time.sleep(FIRST_PAUSE * 5**attempt if fault.pause is None else fault.pause)
        raise JobError(
            f"`{self._name}`: no job could be sent in {ATTEMPTS} attempts ({fault.message}), and none exists; "
            "go on later with --resume"
        )

    def find(self, tags: Sequence[str], given_up: Collection[str]) -> Sent | None:
        """The job of the account on this device that carries all the tags and is not given up or lost.

        Of several the one that is done, else the oldest; the others are cancelled if they have not ended.
        """
        found = [job for job in self.tagged(tags) if job.job_id() not in given_up]
        if len(found) > 1 or (found and given_up):
            # Only where there is a choice: the state of each job is a request.
            states = [(job, self.status(job)) for job in found]
            alive = [(job, state) for job, state in states if state not in ("ERROR", "CANCELLED")]
            found = [job for job, _ in sorted(alive, key=lambda each: each[1] != "DONE")]
        if not found:
            return None
        return Sent(found[0], tuple(Twin(job, self._cancel_twin(job)) for job in found[1:]))

    def tagged(self, tags: Sequence[str]) -> list[Any]:
        """All jobs of the account on this device that carry all the tags, oldest first."""
        return self._patiently(lambda: self._with_tags(tags), "searching for jobs")

    def retrieve(self, job_id: str) -> Any:
        """A job by its id.

        Raises:
            UnknownJobError: The service does not know it.
        """

        def ask() -> Any:
            try:
                return self.backend.service.job(job_id)
            except RuntimeJobNotFound:
                raise UnknownJobError(f"job {job_id} is not known to the service any more") from None

        return self._patiently(ask, f"job {job_id}")

    def status(self, job: Any) -> str:
        """`QUEUED`, `RUNNING`, `DONE`, `ERROR` or `CANCELLED`."""
        return str(self._patiently(job.status, f"job {job.job_id()}"))

    def wait(self, job: Any, seconds: float | None) -> tuple[Any, str]:
        """Wait until a job has ended, and say now and then how it stands.

        Args:
            job: Job object of the client, sent or found.
            seconds: Longest time to wait in seconds; 0 looks once, `None` waits for ever.

        Returns:
            The job (another object if the token expired meanwhile) and its state.

        Raises:
            JobPendingError: It has not ended by then.
        """
        begin, pause = time.monotonic(), FIRST_PAUSE
        lines = WaitingLines(job.job_id(), self.backend, self._echo)
        while True:
            job, state = self._ask_job(job, lambda known: str(known.status()), f"job {job.job_id()}")
            if state in FINAL:
                return job, state
            lines.look(state)
            left = None if seconds is None else seconds - (time.monotonic() - begin)
            if left is not None and left <= 0:
                waited = f" after {seconds:g} s" if seconds else ""
                raise JobPendingError(f"job {job.job_id()} is {state.lower()}{waited}")
            time.sleep(pause if left is None else min(pause, left))
            pause = min(LONGEST_PAUSE, pause * GROWTH)

    def read(self, job: Any, take: Callable[[Any], T]) -> T:
        """Take the result of a job that is done; an outage on the way is waited for, and is no fault of the result.

        Args:
            job: Job object of the client, sent or found.
            take: Function that asks for the result, and checks it.
        """
        return self._ask_job(job, take, f"the result of job {job.job_id()}")[1]

    def _ask_job(self, job: Any, ask: Callable[[Any], T], what: str) -> tuple[Any, T]:
        """Ask a job for something, and give the job too: it is another object if the token has expired meanwhile."""
        holder = [job]

        def look() -> T:
            if job_client(holder[0]) is not api_client(self.backend):
                holder[0] = self.backend.service.job(holder[0].job_id())
            return ask(holder[0])

        answer = self._patiently(look, what)
        return holder[0], answer

    def ended_with_mode(self, job: Any) -> bool:
        """Whether a job was cancelled because the service has closed its batch or session."""
        return bool(self._patiently(lambda: self._mode.was_closed(job.session_id), f"session of job {job.job_id()}"))

    def session_id(self, job: Any) -> str | None:
        """The batch or session that a job was sent in; `None` in job mode, where the service need not be asked."""
        if not self._mode.shared:
            return None
        found: str | None = self._patiently(lambda: job.session_id, f"session of job {job.job_id()}")
        return found

    def charged(self, job: Any) -> float | None:
        """Seconds that the account was charged for a job; `None` while the service does not say."""
        try:
            usage = job.metrics().get("usage", {})
        except client_errors():
            return None
        if usage.get("status", "pending") == "pending" or usage.get("qpu_charge_time_seconds") is None:
            return None
        seconds = float(usage["qpu_charge_time_seconds"])
        # A job that was executed costs something; the service states 0 until it has counted.
        return None if seconds == 0 and self.status(job) == "DONE" else seconds

    def reason(self, job: Any, state: str) -> str:
        """Why a job has not ended well, to follow its name in a sentence."""
        if state == "CANCELLED":
            return "was cancelled"
        message = self._patiently(job.error_message, f"job {job.job_id()}")
        return f"has failed ({one_line(failure_reason(job) or message or 'no reason given')})"

    def seconds_left(self) -> float | None:
        """Device time that the account has left for this device; `None` without a limit."""
        return self._patiently(lambda: seconds_left(self.backend), "usage")

    def require_open(self) -> str | None:
        """Refuse to send to a device that takes no jobs; see `backends.require_open`.

        Raises:
            BackendError: It takes none.
        """
        return self._patiently(lambda: require_open(self.backend), "status")

    def calibration(self, *, refresh: bool = False) -> str | None:
        """When the device was calibrated; with `refresh`, what it executes is read anew as well if that has changed."""
        before = calibration_date(self.backend)
        if refresh and before != self._patiently(lambda: calibration_date(self.backend, refresh=True), "properties"):
            self._patiently(self.backend.refresh, "configuration")
        return calibration_date(self.backend)

    def _settle(self, job: Any, tags: Sequence[str], given_up: Collection[str]) -> Sent:
        """Keep one of the jobs that there are for a work that has just been sent.

        An attempt whose answer was lost, or an earlier process, may have made another. Once the search shows the job
        that was sent last, it shows those before it.
        """
        end, pause = time.monotonic() + LOOK_SECONDS, LOOK_PAUSE
        while job.job_id() not in {found.job_id() for found in self.tagged(tags)}:
            if time.monotonic() + pause > end:
                break
            time.sleep(pause)
            pause *= GROWTH
        return self.find(tags, given_up) or Sent(job)

    def _look(self, tags: Sequence[str], given_up: Collection[str], seconds: float) -> Sent | None:
        """Search for a job that may have been made, for so long as the search may lag behind."""
        end, pause = time.monotonic() + seconds, LOOK_PAUSE
        while True:
            found = self.find(tags, given_up)
            if found is not None or time.monotonic() + pause > end:
                return found
            time.sleep(pause)
            pause *= GROWTH

    def _with_tags(self, tags: Sequence[str]) -> list[Any]:
        found: list[Any] = self.backend.service.jobs(
            limit=None,
            backend_name=self.backend.name,
            instance=instance_of(self.backend),
            job_tags=list(tags),
            descending=False,
        )
        return found

    def cancel(self, job: Any) -> bool:
        """Cancel a job; whether it was not too late."""
        try:
            with undisturbed():
                job.cancel()
        except client_errors():
            # It has ended meanwhile; whatever it cost cannot be taken back.
            return False
        return True

    def _cancel_twin(self, job: Any) -> bool:
        cancelled = self.cancel(job)
        fate = "cancelled" if cancelled else "too late to cancel it, and it is paid for"
        self._echo(f"job {job.job_id()} is a twin of another with the same tags: {fate}")
        return cancelled

    def _patiently(self, ask: Callable[[], T], what: str) -> T:
        """Ask the service again while it does not answer, with a new token if need be."""
        patience, reopened = self._waiting(what), False
        while True:
            try:
                return ask()
            except UnreachableError as error:
                # The account could not be opened again; that alone took as long as a look-up may.
                if self._patience <= LOOK_UP_SECONDS or not patience.waits(str(error), None):
                    raise
                self._reopen()
                continue
            except HardwareError:
                raise
            except client_errors() as error:
                fault = judge(error)
            if fault.kind == "unauthorized" and not reopened:
                self._reopen()
                reopened = True
            elif fault.kind != "unclear" or not patience.waits(fault.message, fault.pause):
                raise JobError(f"`{self._name}`, {what}: {fault.message}; go on later with --resume")

    def _reopen(self) -> None:
        """Open the device anew; an outage just then is waited for as any other."""
        patience = self._waiting("a new token")
        while True:
            try:
                self.backend = self._open()
                break
            except UnreachableError as error:
                if not patience.waits(str(error), None):
                    raise
        self._mode.move(self.backend)

    def _waiting(self, what: str) -> Patience:
        return Patience(self._patience, f"`{self._name}`, {what}", self._echo, FIRST_PAUSE)
