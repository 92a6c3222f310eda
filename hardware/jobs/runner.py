"""Jobs from work to checked, stored results: found again, sent, waited for, fetched, paid for once.

A result is taken from the store, else from the job that was sent before (found by its line or its tags), else a job is
sent and its line written before it is waited for. What a result is, and how it is taken from a job, is the caller's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Generic

from qiskit.providers import BackendV2

from hardware.errors import BudgetError, JobError, JobPendingError, ResultError, UnknownJobError
from hardware.jobs.execution_mode import Echo, ExecutionMode
from hardware.jobs.job_log import JobLog, Work, job_tags
from hardware.jobs.local_jobs import LocalJobs, Sent
from hardware.jobs.service_jobs import ServiceJobs
from hardware.jobs.tasks import Allowance, Bill, NotSentError, ResultT, Store, Task
from hardware.placement.program import check_isa
from hardware.primitives.execution import job_sender
from hardware.primitives.options import addressed
from hardware.service.account import is_local
from hardware.service.outages import LOOK_UP_SECONDS

DOWNLOADS = 3
DOWNLOAD_PAUSE = 0.5
# Our choice: so many further jobs are sent for work whose results stay wrong, in the whole life of a run directory, and
# for work whose batch or session the service closes each time, before a run stops.
NEW_JOBS = 2
# Our choice: the service tells a job's usage some seconds after its end; an unknown charge counts as the job's limit.
CHARGE_SECONDS = 20.0
CHARGE_PAUSE = 1.0


class JobRunner(Generic[ResultT]):
    """Sends jobs and gives their results.

    Use as a context manager: a batch or session is opened with the first job and closed with the block.

    Args:
        task: Description of the jobs: programs, options and how a result is read.
        bill: Name, mode and budget of the plan.
        log: Job log that gets a line whenever something happens to a job.
        store: Store that the results are written to and read from.
        reopen: Opens the device anew, with a new token.
        allowance: Limits of what may be sent and waited for.
        echo: Called with a line about what went wrong and was mended.
    """

    def __init__(
        self,
        task: Task[ResultT],
        bill: Bill,
        log: JobLog,
        store: Store[ResultT],
        reopen: Callable[[], BackendV2],
        allowance: Allowance,
        echo: Echo,
    ) -> None:
        self._task = task
        self._bill = bill
        self._log = log
        self._store = store
        self._allowance = allowance
        self._echo = echo
        device = task.device.backend
        self._local = is_local(device)
        # Where it runs: locally that is the simulated part of the device, not the whole.
        self._mode = ExecutionMode(task.executed.backend, bill.mode, log, self._budget_left, echo)
        self._jobs: LocalJobs | ServiceJobs = (
            LocalJobs(device, self._mode)
            if self._local
            # Who only looks is told soon.
            else ServiceJobs(reopen, device, self._mode, echo, LOOK_UP_SECONDS if allowance.new_rounds == 0 else None)
        )

    def __enter__(self) -> JobRunner[ResultT]:
        """Close what an earlier process has left open at the service."""
        if not self._local:
            self._mode.close_left_open()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Close the batch or session."""
        self._mode.close()

    def results(self, works: Sequence[Work]) -> list[ResultT]:
        """Results of independent jobs; all that are missing are sent before the first is waited for.

        Raises:
            JobPendingError: A job is not done and may not be waited for any longer.
            NotSentError: A job would have to be sent and may not be.
            JobError: A job failed or its result is wrong.
            BudgetError: The jobs would exceed what is left of the budget or of the account's quota.
            HardwareError: The device no longer executes the circuit.
        """
        found = [self._stored(work) for work in works]
        missing = [work for work, result in zip(works, found, strict=True) if result is None]
        jobs = {work.part: self._sent_before(work) for work in missing}
        unsent = [work for work in missing if jobs[work.part] is None]
        if unsent:
            self._require_leave(unsent)
            jobs |= {work.part: self._send(work, unsent[place:]) for place, work in enumerate(unsent)}
        return [
            result if result is not None else self._collect(work, jobs[work.part])
            for work, result in zip(works, found, strict=True)
        ]

    def _stored(self, work: Work) -> ResultT | None:
        result = self._store.load(work)
        counted = (row["content"] for row in self._log.results(self._bill.key))
        if result is not None and work.content not in counted:
            self._log.append("reused", content=work.content, **self._place(work))
        return result

    def _sent_before(self, work: Work) -> Any | None:
        job_id = self._log.open_job(work.content)
        if job_id is not None:
            try:
                return self._jobs.retrieve(job_id)
            except UnknownJobError as error:
                self._give_up(work, job_id, str(error))
                return None
        found = self._jobs.find(self._tags(work), self._log.given_up(work.content))
        return None if found is None else self._record_sent(work, found)

    def _give_up(self, work: Work, job_id: str, reason: str) -> None:
        """A job that the service has lost: its work is sent anew where jobs may be sent, and what it took counts on."""
        title = self._task.title(work)
        if self._allowance.new_rounds == 0:
            raise NotSentError(
                f"{title}: {reason}; `infer --resume --yes` sends that part anew for about {work.seconds:.1f} s"
            )
        self._echo(f"{title}: {reason}; that part is sent anew for about {work.seconds:.1f} s")
        self._log.append("failed", job=job_id, content=work.content, reason=reason, charged=None, **self._place(work))

    def _require_leave(self, unsent: list[Work]) -> None:
        allowance = self._allowance
        if allowance.new_rounds is not None:
            if allowance.new_rounds < 1:
                raise NotSentError(f"{self._task.title(unsent[0])} waits for its jobs to be sent")
            allowance.new_rounds -= 1
        self._require_seconds(unsent)
        if not self._local:
            self._require_device()

    def _require_seconds(self, works: list[Work]) -> None:
        wanted = sum(work.seconds for work in works)
        title = self._task.title(works[0])
        left = self._budget_left()
        if left is not None and wanted > left + 1e-6 and not self._local:
            self._ask_for_charges()
            left = self._budget_left()
        if left is not None and wanted > left + 1e-6:
            budget = self._bill.budget_words or f"budget_seconds {self._bill.budget_seconds:g}"
            raise BudgetError(
                f"{budget}: {left:.1f} s are left and {title} takes {wanted:.1f} s; raise it and go on with --resume"
            )
        quota = self._jobs.seconds_left()
        # The service takes such a job, and leaves it in the queue until the next period.
        if quota is not None and wanted > quota:
            raise BudgetError(
                f"the account has {quota:.0f} s left on `{self._bill.backend}` and {title} takes {wanted:.1f} s: "
                "nothing was sent; go on with --resume when there is more"
            )

    def _ask_for_charges(self) -> None:
        """Jobs that have ended count as their limit until the service tells what they cost: ask again for a while."""
        deadline = time.monotonic() + CHARGE_SECONDS
        while waiting := self._log.uncharged(self._bill.key):
            for job_id in waiting:
                charged = self._jobs.charged(self._jobs.retrieve(job_id))
                if charged is not None:
                    self._log.append("charged", job=job_id, charged=charged, plan=self._bill.key)
            if time.monotonic() > deadline:
                self._echo(f"the service does not say yet what was charged for {', '.join(waiting)}: the limit counts")
                return
            time.sleep(CHARGE_PAUSE)

    def _require_device(self) -> None:
        """The device takes jobs and still executes the circuit; tell if it is another than was planned for."""
        state = self._jobs.require_open()
        if state is not None:
            self._echo(state)
        known = self._log.calibration(self._bill.key) or self._bill.calibrated
        now = self._jobs.calibration(refresh=True)
        if known is None or now == known:
            return
        check_isa(self._task.device.circuit, self._jobs.backend)
        self._echo(
            f"`{self._bill.backend}` was calibrated anew ({now}, before {known}): the circuit stays where it is; "
            "start again without --resume to place it anew"
        )

    def _send(self, work: Work, unsent: Sequence[Work]) -> Any:
        options = addressed(
            self._task.options(work), work.seed if self._local else None, self._tags(work), self._limit(work, unsent)
        )
        start = job_sender(self._task.executed, work.angles, options)
        sent = self._jobs.send(start, self._tags(work), self._log.given_up(work.content))
        return self._record_sent(work, sent, options.max_execution_time)

    def _limit(self, work: Work, unsent: Sequence[Work]) -> float | None:
        """A job's share of what is left of the budget: the limits of all that are sent together keep within it."""
        left = self._budget_left()
        wanted = sum(other.seconds for other in unsent)
        return left if left is None or not wanted else left * work.seconds / wanted

    def _collect(self, work: Work, job: Any, new_jobs: int = NEW_JOBS) -> ResultT:
        allowance = self._allowance
        title = self._task.title(work)
        try:
            job, state = self._jobs.wait(job, allowance.wait_seconds if allowance.wait else 0.0)
        except JobPendingError as error:
            raise JobPendingError(f"{title}: {error}") from None
        if state == "CANCELLED" and self._jobs.ended_with_mode(job) and new_jobs:
            self._fail(work, job, "its batch or session was closed by the service")
            return self._anew(work, new_jobs - 1)
        if state != "DONE":
            reason = self._jobs.reason(job, state)
            self._fail(work, job, reason)
            raise JobError(
                f"job {job.job_id()} of {title} {reason}; what was finished before is kept, --resume sends it anew"
            )
        try:
            result = self._download(work, job)
        except ResultError as error:
            return self._without_result(work, job, error)
        provenance = {"job": job.job_id(), **self._task.settings, **self._place(work)}
        self._store.save(work, result, provenance)
        charged = self._jobs.charged(job)
        self._log.append("done", job=job.job_id(), content=work.content, charged=charged, **self._place(work))
        return result

    def _anew(self, work: Work, new_jobs: int = NEW_JOBS) -> ResultT:
        self._require_seconds([work])
        return self._collect(work, self._send(work, [work]), new_jobs)

    def _download(self, work: Work, job: Any) -> ResultT:
        """The checked result of a job that is done, and paid for: one that is wrong is fetched several times."""

        def take(known: Any) -> ResultT:
            return self._task.collect(known, work)

        for _ in range(0 if self._local else DOWNLOADS - 1):
            try:
                return self._jobs.read(job, take)
            except ResultError:
                time.sleep(DOWNLOAD_PAUSE)
        return self._jobs.read(job, take)

    def _without_result(self, work: Work, job: Any, error: ResultError) -> ResultT:
        """A job whose result stays wrong: stop, and if it was wrong in an earlier process already, send it anew.

        After `NEW_JOBS` further jobs none is sent any more: the last one is only fetched again by whoever asks.
        """
        if self._local:
            self._fail(work, job, str(error))
            raise error
        wrong = self._log.refused(work.content)
        known = job.job_id() in wrong
        if known and len(wrong) <= NEW_JOBS:
            self._fail(work, job, str(error))
            self._echo(f"{error}, as before: the job is given up and sent anew")
            return self._anew(work)
        if not known:
            self._log.append("refused", job=job.job_id(), content=work.content, reason=str(error), **self._place(work))
            wrong.append(job.job_id())
        if len(wrong) > NEW_JOBS:
            raise ResultError(
                f"{error}; {self._task.title(work)} was sent {len(wrong)} times and no result was right (jobs "
                f"{', '.join(wrong)}): no other job is sent; ask IBM's support about these jobs, `fetch` looks at the "
                "last one again, `infer --discard --yes` begins anew"
            )
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

    def _record_sent(self, work: Work, sent: Sent, limit: float | None = None) -> Any:
        for twin in sent.twins:
            self._log.append(
                "twin",
                job=twin.job.job_id(),
                content=work.content,
                cancelled=twin.cancelled,
                charged=0.0 if twin.cancelled else self._jobs.charged(twin.job),
                seconds=work.seconds,
                limit=limit,
                **self._place(work),
            )
        self._log.append(
            "submitted",
            job=sent.job.job_id(),
            content=work.content,
            tags=self._tags(work),
            backend=self._bill.backend,
            mode=self._bill.mode,
            local=self._local,
            samples=len(work.angles),
            seconds=work.seconds,
            limit=limit,
            session=self._jobs.session_id(sent.job),
            calibrated=self._jobs.calibration(),
            **self._place(work),
        )
        return sent.job

    def _tags(self, work: Work) -> list[str]:
        return job_tags(self._bill.owner, work)

    def _place(self, work: Work) -> dict[str, Any]:
        file = self._store.path(work).name
        steps = {"steps": sorted(set(work.steps))} if work.steps else {}
        return {"plan": self._bill.key, "step": work.step, **steps, "part": work.part, "file": file}

    def _budget_left(self) -> float | None:
        budget = self._bill.budget_seconds
        if budget is None:
            return None
        if self._bill.spent is not None and not self._local:
            return budget - self._bill.spent()
        return budget - self._log.seconds_spent(self._bill.key, local=self._local)
