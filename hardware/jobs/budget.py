"""A budget is a promise of the run directory: it holds over all its commands, plans, levels, kills and resumes.

`hardware/budget.json` holds it from the first command that names one until another names another. What is spent is the
sum over all logs of the directory: of each job what was charged, until that is known its limit, else what was planned;
of a session, which is billed by wall clock, at least the time that it was open.

A budget in money is one in seconds by the price of a second; of two budgets the stricter one holds.

Both hold for real devices: a rehearsal on a local copy costs nothing, and its budget is that of its plan.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat

from hardware.jobs.job_log import JobLog, seconds_taken
from qhybrid.errors import RunDirectoryError
from qhybrid.files import write_json
from qhybrid.rundir import RunDirectory
from qhybrid.stored import read_stored

BUDGET_FILE = "budget.json"
_AGAIN = "remove it, and name the budget again by --budget-seconds"


_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class _Stored:
    """What `budget.json` holds; an earlier version knew seconds alone."""

    seconds: FiniteFloat | None
    cost: FiniteFloat | None = None
    price: _Positive | None = None


@dataclass(frozen=True)
class Budget:
    """What may be spent, and what a second costs.

    Attributes:
        seconds: Most seconds of device time; `None` sets no limit.
        cost: Most money, in the currency of the price; `None` sets no limit.
        price: Price of a second of device time; `None` if it is not known.
    """

    seconds: float | None = None
    cost: float | None = None
    price: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Budget:
        """The budget among a plan's options, which an earlier version has stored without money.

        Args:
            options: Content of a `HardwareConfig` or `NoiseBankConfig`.
        """
        return cls(options["budget_seconds"], options.get("budget_cost"), options.get("price_per_second"))

    @property
    def limit(self) -> float | None:
        """Most seconds of device time by both budgets; `None` sets no limit."""
        limits = [value for value in (self.seconds, self._seconds_of_cost) if value is not None]
        return min(limits, default=None)

    @property
    def words(self) -> str:
        """The stricter budget, the first words of a message."""
        if self.limit is None:
            return "no budget"
        if self._in_money:
            return f"budget_cost {self.cost:g} ({self.limit:g} s at {self.price:g} per second)"
        return f"budget_seconds {self.seconds:g}"

    @property
    def option(self) -> str:
        """Option of the command line that would raise the stricter budget."""
        return "--budget-cost" if self._in_money else "--budget-seconds"

    def cost_of(self, seconds: float) -> float | None:
        """Price of some device time; `None` where that of a second is not known."""
        return None if self.price is None else seconds * self.price

    def over(self, other: Budget) -> Budget:
        """This budget, and the parts of another that it does not name.

        Args:
            other: What holds where this one says nothing.
        """
        named = {name: value for name, value in asdict(self).items() if value is not None}
        return Budget(**{**asdict(other), **named})

    def options(self) -> dict[str, float | None]:
        """The inverse of `of`."""
        return {"budget_seconds": self.seconds, "budget_cost": self.cost, "price_per_second": self.price}

    @property
    def _seconds_of_cost(self) -> float | None:
        return None if self.cost is None or self.price is None else self.cost / self.price

    @property
    def _in_money(self) -> bool:
        return self._seconds_of_cost is not None and self.limit == self._seconds_of_cost


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

    def promised(self) -> Budget:
        """What commands have named so far.

        Raises:
            RunDirectoryError: The file is damaged.
        """
        if not self.path.exists():
            return Budget()
        stored = read_stored(self.path, _Stored, _AGAIN)
        budget = Budget(stored["seconds"], stored.get("cost"), stored.get("price"))
        if budget.limit is None:
            raise RunDirectoryError(f"`{self.path}` is damaged (it names no budget): {_AGAIN}")
        return budget

    def seconds(self) -> float | None:
        """Most seconds of device time that were promised; `None` if no command has named a budget.

        Raises:
            RunDirectoryError: The file is damaged.
        """
        return self.promised().limit

    def promise(self, budget: Budget) -> None:
        """Keep a budget that a command has named; what it does not name stays as it is."""
        before = self.promised()
        now = budget.over(before)
        if now != before and now.limit is not None:
            write_json(self.path, asdict(now))

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
