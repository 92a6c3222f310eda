"""What IBM's service allows and gives, each number with the page that states it: everything else reads it from here.

Numbers of another contract, or of a later version of the pages, are changed here and nowhere else.
"""

from __future__ import annotations

_DOCUMENTS = "https://quantum.cloud.ibm.com/docs/guides"

JOB_LIMITS_PAGE = f"{_DOCUMENTS}/job-limits"
EXECUTION_TIME_PAGE = f"{_DOCUMENTS}/max-execution-time"
MODES_PAGE = f"{_DOCUMENTS}/execution-modes-faq"
PLANS_PAGE = f"{_DOCUMENTS}/plans-overview"
ALERTS_PAGE = "https://docs.quantum.ibm.com/announcements/service-alerts"
KEYS_PAGE = "https://quantum.cloud.ibm.com"
WORKLOADS_PAGE = f"{KEYS_PAGE}/workloads"
"""Of the page on which a person sees and ends jobs and sessions."""

MAX_EXECUTIONS_PER_JOB = 5_000_000
"""Circuits times shots of one job (`JOB_LIMITS_PAGE`).

Older versions of the page say 5 million for every job, the newest 10 million for the Sampler and none for the
Estimator, whose jobs the service splits: the smallest, which holds by all of them.
"""
MAX_SECONDS_PER_JOB = 3 * 3600.0
"""Device time after which the service cancels a job (`EXECUTION_TIME_PAGE`)."""
MAX_PARAMETER_SETS_PER_JOB = 1000
"""Our choice, since no page states one: 1,600 parameter sets in one request have timed out."""
MAX_PARAMETER_BYTES_PER_JOB = 2_000_000
"""Our choice, since no page states one: requests of a few MB have been taken."""
MAX_SHOTS = 100_000
"""Our choice where a device does not state how many shots a circuit may have: that of IBM's devices that do."""

OPEN_PLAN_SECONDS = 600.0
"""Device time that the Open plan gives in `OPEN_PLAN_DAYS` days (`PLANS_PAGE`: 10 minutes)."""
OPEN_PLAN_DAYS = 28
"""Days over which the Open plan's device time is counted (`PLANS_PAGE`)."""
PLANS_WITHOUT_SESSIONS = ("open",)
"""Plans of an account that have no sessions, by their names in lower case (`MODES_PAGE`)."""
LONGEST_SESSION_SECONDS = 8 * 3600.0
"""Wall clock after which the service ends a batch or session by itself at the latest (`MODES_PAGE`)."""
