"""Batches and sessions that may still be open, as a log tells; a session is billed by wall clock until it is closed."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from hardware.errors import HardwareError
from hardware.jobs.job_log import JobLog
from hardware.service import limits
from hardware.service.account import open_service
from hardware.service.client_faults import client_errors, judge
from hardware.service.runtime_internals import close_session

CLOSE_ATTEMPTS = 3
CLOSE_PAUSE = 2.0


def left_open(log: JobLog) -> dict[str, str]:
    """Batches and sessions that were opened and not closed: their mode by their id."""
    found: dict[str, str] = {}
    for row in log.rows():
        if row["event"] == "opened":
            found[row["session"]] = row["mode"]
        elif row["event"] == "closed":
            found.pop(row["session"], None)
    return found


def may_be_open(log: JobLog, now: float) -> list[dict[str, Any]]:
    """Lines of the batches and sessions that were asked for without an answer: one may be open under an unknown id.

    Args:
        log: Log of a run or of one of its variants.
        now: Seconds since the epoch; what would have ended by itself by then is left out.
    """
    found: list[dict[str, Any]] = []
    asked: dict[str, Any] | None = None
    for row in log.rows():
        if row["event"] == "asked":
            found += [asked] if asked else []
            asked = row
        elif row["event"] in ("opened", "declined"):
            asked = None
    found += [asked] if asked else []
    return [row for row in found if now - row["clock"] < limits.LONGEST_SESSION_SECONDS]


def close_one(log: JobLog, session_id: str, mode: str, service: Any) -> str | None:
    """Close a batch or session, and write it down; jobs in it run to their end.

    Args:
        log: Log that tells of the batch or session.
        session_id: Id of the batch or session at the service.
        mode: `batch` or `session`.
        service: The account's service object; a new one takes its place if its token has expired.

    Returns:
        `None`, or in one line why it may still be open and what can be done.
    """
    reason = ""
    for _ in range(CLOSE_ATTEMPTS):
        try:
            close_session(service, session_id)
        except client_errors() as error:
            problem = judge(error)
        else:
            log.append("closed", session=session_id, by="us", clock=time.time())
            return None
        reason = problem.message
        if problem.kind == "unauthorized":
            with suppress(HardwareError):
                service = open_service(f"{mode} {session_id}")
        else:
            time.sleep(CLOSE_PAUSE if problem.pause is None else min(problem.pause, CLOSE_PAUSE))
    return (
        f"{mode} {session_id} could not be closed and may go on to be billed ({reason}): close it by "
        f"`qhybrid hardware close RUN`, or at {limits.WORKLOADS_PAGE}"
    )
