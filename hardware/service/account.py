"""The account at IBM Quantum: opened, its plan and what is left of it, and what is said where it cannot be used.

This is the only module that builds a `QiskitRuntimeService`. Accounts come from Qiskit's saved accounts or from the
environment (`QISKIT_IBM_TOKEN`, ...); a token is never an argument, and never part of a message.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from qiskit.providers import BackendV2

from hardware.errors import BackendError, UnreachableError
from hardware.service import limits
from hardware.service.absent_device import AbsentDevice
from hardware.service.client_faults import NO_TOKEN, account_errors, client_errors, judge, told
from hardware.service.outages import PAUSE, Outage, RepeatedReads
from hardware.service.runtime_internals import instance_of, plan_usage, requests_by
from qhybrid.progress import notice

# Our choice: seconds to wait for the connection, and for the next bytes of an answer.
_REQUEST_SECONDS = (3.0, 60.0)
_SAVE_ACCOUNT = "QiskitRuntimeService.save_account(token=..., instance=...) in Python, or QISKIT_IBM_TOKEN"


def open_service(wanted: str) -> Any:
    """The account's `QiskitRuntimeService`, its waiting limited.

    Args:
        wanted: What it is for, the first words of a message.

    Raises:
        BackendError: There is no account, or it cannot be used.
    """
    from qiskit_ibm_runtime import QiskitRuntimeService
    from qiskit_ibm_runtime.accounts import AccountNotFoundError

    if not os.environ.get("QISKIT_IBM_RUNTIME_LOG_LEVEL"):
        # It warns of every instance that it uses, on stderr, where a command has one line to say what is wrong.
        logging.getLogger("qiskit_ibm_runtime").setLevel(logging.CRITICAL)
    outage = Outage(notice, wanted)
    while True:
        try:
            with requests_by(RepeatedReads(outage=outage), _REQUEST_SECONDS):
                return QiskitRuntimeService()
        except AccountNotFoundError:
            raise BackendError(
                f"{wanted}: no IBM Quantum account is saved; save one once with {_SAVE_ACCOUNT} in the environment, "
                "or choose a local backend: aer, fake_manila, fake_torino, ..."
            ) from None
        except account_errors() as error:
            # The client's log-in is not repeated by itself.
            if judge(error).kind != "unclear" or not outage.lasts(told(error), PAUSE):
                raise refusal(f"{wanted}: the IBM Quantum account cannot be used", error) from None
        time.sleep(PAUSE)


def refusal(what: str, error: Exception) -> BackendError:
    """The error that tells what the service said instead of doing what was asked, and what helps.

    Args:
        what: What could not be done, the first words of the line.
        error: Error of the client.
    """
    fault = judge(error)
    if fault.kind == "unclear":
        return UnreachableError(f"{what}: {fault.message}; try again later, or see {limits.ALERTS_PAGE}")
    remedy = (
        f"; make an API key at {limits.KEYS_PAGE} and save it: {_SAVE_ACCOUNT}" if NO_TOKEN in fault.message else ""
    )
    return BackendError(f"{what}: {fault.message}{remedy}")


def is_local(backend: BackendV2) -> bool:
    """Whether jobs are simulated in this process, at no cost."""
    from qiskit_ibm_runtime import IBMBackend

    return not isinstance(backend, IBMBackend | AbsentDevice)


def account_plan(backend: BackendV2) -> str | None:
    """The plan under which the account uses a device, in lower case: `open`, ...; `None` for a local backend."""
    if is_local(backend):
        return None
    plans = {item.get("crn"): str(item.get("plan", "")).lower() for item in backend.service.instances()}
    plan = plans.get(instance_of(backend))
    # The client's word where IBM's catalog does not answer.
    return None if plan in ("", "unknown") else plan


def seconds_left(backend: BackendV2) -> float | None:
    """Device time left of the account's plan for a device; `None` for a local backend or without a limit."""
    if is_local(backend):
        return None
    usage = plan_usage(backend)
    limit = usage.get("usage_limit_seconds") or usage.get("usage_allocation_seconds")
    if usage.get("usage_limit_reached"):
        return 0.0
    return max(0.0, float(limit) - float(usage.get("usage_consumed_seconds", 0))) if limit else None


def known_seconds_left(backend: BackendV2) -> float | None:
    """`seconds_left`, and `None` as well where the service does not say: it is asked again before anything is sent.

    Args:
        backend: IBM device or local backend.
    """
    try:
        return seconds_left(backend)
    except client_errors():
        return None
