"""What a run directory has at the service: its jobs, listed, cancelled and waited for; its sessions, closed.

All of it needs the account and no device: jobs and sessions are known by the ids that the run has written down.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hardware.errors import HardwareError, JobPendingError, UnknownJobError
from hardware.inference.workload import open_run
from hardware.jobs.execution_mode import Echo, silent
from hardware.jobs.job_log import JobLog
from hardware.jobs.left_open import close_one, left_open, may_be_open
from hardware.jobs.service_jobs import FINAL, ServiceJobs
from hardware.runs.flight import Cancelled, cancel_jobs, flight_of, logs, open_jobs, service_jobs
from hardware.service import limits
from hardware.service.account import open_service
from hardware.service.outages import LOOK_UP_SECONDS
from qhybrid.interruption import interruptible
from qhybrid.progress import duration
from qhybrid.rundir import RunDirectory

# Seconds between two looks at jobs that are waited for, and between two lines where nothing changes.
LOOK_PAUSE = 5.0
LINE_PAUSE = 60.0
_SHOWN = ("job", "plan", "backend", "step", "steps", "part", "session", "local")


def list_jobs(run: RunDirectory | str | Path) -> list[dict[str, Any]]:
    """All jobs of a run directory, of any plan, its variants' and twins included, oldest first.

    Args:
        run: Run directory with jobs, or its path.

    Returns:
        A dictionary for each job: `job`, `backend`, `step`, `part`, `sent` (date), `seconds` (planned), `charged`
        (`None` while the service does not say), `state`, `variant` (its folder; `None` for the run's own), and `note`:
        why it has come to nothing, or why the service could not be asked, where the state is the last that was written
        down.

    Raises:
        HardwareError: Jobs of a real device, and no account.
    """
    directory = open_run(run)
    found: dict[str, dict[str, Any]] = {}
    for path in logs(directory):
        folder = path.parent.relative_to(directory.hardware)
        for row in JobLog(path).rows():
            if row["event"] in ("submitted", "twin"):
                known = {key: row[key] for key in _SHOWN if key in row}
                known |= {"sent": row["time"], "seconds": row.get("seconds"), "charged": None, "note": None}
                found[row["job"]] = known | {"variant": folder.name or None, "state": "sent"}
            if row.get("job") in found:
                known = found[row["job"]]
                if row["event"] not in ("charged", "submitted"):
                    known["state"] = row["event"]
                if row["event"] in ("failed", "refused"):
                    known["note"] = row.get("reason")
                if row.get("charged") is not None:
                    known["charged"] = row["charged"]
    jobs = sorted(found.values(), key=lambda job: str(job["sent"]))
    for name in sorted({str(job["backend"]) for job in jobs if "backend" in job and not job.get("local")}):
        _ask(directory, name, [job for job in jobs if job.get("backend") == name])
    for job in jobs:
        if job.pop("local", False) and job["state"] == "sent":
            job["state"] = "ended with its process"
    return jobs


def cancel(run: RunDirectory | str | Path, *, echo: Echo = silent) -> Cancelled:
    """Cancel the jobs of a run that have not ended; those that are done keep their results for `fetch`.

    Args:
        run: Run directory with jobs, or its path.
        echo: Called with a line that says what was cancelled.

    Raises:
        HardwareError: Nothing was planned; no account; another process works in the directory.
    """
    directory = open_run(run)
    with directory.locked():
        flight = flight_of(directory)
        done = cancel_jobs(directory, flight.open, "cancelled", keep_done=True)
    words = f"{_count(len(done.cancelled))} cancelled"
    if done.late:
        words += f", {_count(len(done.late))} had ended before: `qhybrid hardware fetch RUN` takes what is done"
    if done.cancelled:
        words += "; `infer --resume --yes` sends the cancelled work anew"
    echo(words)
    return done


def close(run: RunDirectory | str | Path, *, echo: Echo = silent) -> tuple[str, ...]:
    """Close the batches and sessions that a run left open; jobs in them run to their end.

    Args:
        run: Run directory with jobs, or its path.
        echo: Called with a line for each, and for those that may be open under an id that nobody knows.

    Returns:
        Ids of those that were closed.

    Raises:
        HardwareError: One could not be closed; no account; another process works in the directory.
    """
    directory = open_run(run)
    closed: list[str] = []
    problems: list[str] = []
    with directory.locked():
        for log in map(JobLog, logs(directory)):
            for session_id, mode in left_open(log).items():
                problem = close_one(log, session_id, mode, open_service(f"{mode} {session_id}"))
                if problem is None:
                    closed.append(session_id)
                    echo(f"{mode} {session_id} is closed")
                else:
                    problems.append(problem)
            for row in may_be_open(log, time.time()):
                echo(
                    f"a {row['mode']} on `{row['backend']}` was asked for at {row['time']} and the answer was lost: if "
                    f"{limits.WORKLOADS_PAGE} shows it, close it there"
                )
    if problems:
        raise HardwareError("; ".join(problems))
    if not closed:
        echo("nothing that this run has opened is known to be open")
    return tuple(closed)


def wait(run: RunDirectory | str | Path, *, seconds: float | None = None, echo: Echo = silent) -> dict[str, str]:
    """Wait until every job of a run has ended at the service; nothing is sent or fetched, and no job is touched.

    Args:
        run: Run directory with jobs, or its path.
        seconds: Longest time to wait, in seconds; by default there is no limit.
        echo: Called with a line whenever something has changed, and once a minute.

    Returns:
        The last state of each job that was waited for: `DONE`, `ERROR` or `CANCELLED`.

    Raises:
        JobPendingError: Some have not ended in time.
        HardwareError: No account, or a job that the service does not know.
        Interrupted: SIGINT, SIGTERM or SIGHUP; the jobs go on.
    """
    directory = open_run(run)
    rows = [row for path in logs(directory) for row in open_jobs(JobLog(path))]
    if not rows:
        echo("no job of this run is open at the service")
        return {}
    begin, said, line = time.monotonic(), 0.0, ""
    states: dict[str, str] = {}
    onward = "jobs that were sent go on at the service; `qhybrid hardware wait RUN` waits again, `fetch` takes results"
    with interruptible(onward):
        services = {name: service_jobs(directory, name, echo) for name in sorted({str(row["backend"]) for row in rows})}
        while True:
            for row in rows:
                if states.get(row["job"]) not in FINAL:
                    states[row["job"]] = _state(services[str(row["backend"])], row["job"])
            waited = time.monotonic() - begin
            open_ones = [row for row in rows if states[row["job"]] not in FINAL]
            now = _progress_words(rows, states)
            if now != line or waited - said >= LINE_PAUSE:
                line, said = now, waited
                echo(f"{now}, waited {duration(waited)}")
            if not open_ones:
                return states
            if seconds is not None and waited >= seconds:
                raise JobPendingError(f"{now} after {seconds:g} s; {onward}")
            time.sleep(LOOK_PAUSE if seconds is None else max(0.0, min(LOOK_PAUSE, seconds - waited)))


def _state(service: ServiceJobs, job_id: str) -> str:
    return service.status(service.retrieve(job_id))


def _progress_words(rows: list[dict[str, Any]], states: dict[str, str]) -> str:
    """How many jobs have ended, and the state of the first that has not."""
    ended = sum(state in FINAL for state in states.values())
    words = f"{ended} of {_count(len(rows))} ended"
    badly = sum(state in ("ERROR", "CANCELLED") for state in states.values())
    if badly:
        words += f" ({badly} without a result)"
    first = next((row for row in rows if states[row["job"]] not in FINAL), None)
    return words if first is None else f"{words}; {first['job']} is {states[first['job']].lower()}"


def _ask(run: RunDirectory, name: str, jobs: list[dict[str, Any]]) -> None:
    """Fill in what the service knows better: states of jobs that have not ended, and charges that came late."""
    waiting = [known for known in jobs if known["state"] == "sent" or known["charged"] is None]
    if not waiting:
        return
    try:
        service = service_jobs(run, name, patience=LOOK_UP_SECONDS)
        for known in waiting:
            try:
                job = service.retrieve(known["job"])
            except UnknownJobError as error:
                known["note"] = str(error)
                continue
            if known["state"] == "sent":
                known["state"] = service.status(job).lower()
            if known["state"] not in ("queued", "running"):
                known["charged"] = service.charged(job)
    except HardwareError as error:
        for known in waiting:
            if known["state"] == "sent":
                known["note"] = str(error)


def _count(jobs: int) -> str:
    return "1 job" if jobs == 1 else f"{jobs} jobs"
