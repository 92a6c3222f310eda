"""Which of Runtime's execution modes a run takes (single jobs, a batch or a session), and what a plan allows.

A batch sends independent jobs together. A session keeps the device for the run, is billed by wall clock, and is not
part of IBM's Open plan.
"""

from __future__ import annotations

from typing import Literal

from qiskit.providers import BackendV2

from hardware.errors import HardwareError
from hardware.service import limits
from hardware.service.account import account_plan

Mode = Literal["job", "batch", "session"]
OPEN_PLAN_HINT = "an Open plan has no sessions; use --mode job or --mode batch"


def has_sessions(backend: BackendV2) -> bool:
    """Whether the account's plan for a device has sessions; a local copy stands for the Open plan, which has none."""
    return account_plan(backend) not in (None, *limits.PLANS_WITHOUT_SESSIONS)


def require_mode(backend: BackendV2, mode: Mode) -> None:
    """Refuse a session on an Open plan before it is asked for.

    Args:
        backend: The device that jobs will be sent to.
        mode: The mode that the plan has chosen.

    Raises:
        HardwareError: The plan has no sessions.
    """
    if mode == "session" and account_plan(backend) in limits.PLANS_WITHOUT_SESSIONS:
        raise HardwareError(f"`{backend.name}`: {OPEN_PLAN_HINT}")


def resolve_mode(mode: str, jobs_per_round: int, *, dependent: bool = False, sessions: bool = False) -> Mode:
    """Turn the configured mode into one of Runtime's.

    With `auto`, jobs of successive rounds, which depend on each other, go into a session where the account's plan has
    sessions: they queue once, and the plan counts the time of the network at home, which a session bills. Several jobs
    of one round are independent and go together in a batch.

    Args:
        mode: Configured execution mode: `auto`, `job`, `batch` or `session`.
        jobs_per_round: Number of jobs that are sent together.
        dependent: Whether several rounds follow each other.
        sessions: Whether the account's plan has sessions.

    Returns:
        Execution mode: `job`, `batch` or `session`.

    Raises:
        HardwareError: `mode` is none of the four.
    """
    if mode == "auto":
        if dependent and sessions:
            return "session"
        return "batch" if jobs_per_round > 1 else "job"
    if mode in ("job", "batch", "session"):
        return mode  # type: ignore[return-value]
    raise HardwareError(f"mode `{mode}` is unknown: choose auto, job, batch or session")
