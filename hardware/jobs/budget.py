"""A budget is a promise of the run directory: it holds over all its commands, plans, levels, kills and resumes.

`hardware/budget.json` holds it from the first command that names one until another names another. What is spent is the
sum over all logs of the directory: of each job what was charged, until that is known its limit, else what was planned;
of a session, which is billed by wall clock, at least the time that it was open.

Both hold for real devices: a rehearsal on a local copy costs nothing, and its budget is that of its plan.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat

from hardware.jobs.job_log import JobLog, seconds_taken
from qhybrid.files import write_json
from qhybrid.rundir import RunDirectory
from qhybrid.stored import read_stored

BUDGET_FILE = "budget.json"


@dataclass(frozen=True)
class _Budget:
    """What `budget.json` holds."""

    seconds: FiniteFloat


class RunBudget:
    """Device time that a run directory may take in all.

    Args:
        run: The run; one of its variants has the same budget.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._folder = RunDirectory(run.path).hardware

    @property
    def path(self) -> Path:
        """File that holds the budget."""
        return self._folder / BUDGET_FILE

    def seconds(self) -> float | None:
        """The budget; `None` if no command has named one.

        Raises:
            RunDirectoryError: The file is damaged.
        """
        if not self.path.exists():
            return None
        stored = read_stored(self.path, _Budget, "remove it, and name the budget again by --budget-seconds")
        return float(stored["seconds"])

    def promise(self, seconds: float | None) -> None:
        """Keep a budget that a command has named."""
        if seconds is not None and seconds != self.seconds():
            write_json(self.path, {"seconds": seconds})

    def spent(self) -> float:
        """Seconds that all jobs and sessions of the run directory have taken at real devices, or may still take."""
        logs = sorted(self._folder.rglob("jobs.jsonl"))
        return sum(seconds_taken(_real(JobLog(path).rows()), time.time()) for path in logs)

    def spent_by_others(self, plan: str) -> float:
        """The part of `spent` that jobs of other plans have taken."""
        logs = sorted(self._folder.rglob("jobs.jsonl"))
        own = sum(JobLog(path).seconds_spent(plan, local=False) for path in logs)
        return max(0.0, self.spent() - own)


def _real(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = list(rows)
    local = {row["job"] for row in rows if row["event"] == "submitted" and row.get("local")}
    return [row for row in rows if row.get("job") not in local]
