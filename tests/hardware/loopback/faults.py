"""Faults of the service: requests that go wrong, jobs that come to nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

# What becomes of a job: `hold` leaves it in the queue; `failed` and `cancelled` end it before it runs; `truncated`,
# `empty`, `null`, `text` and `half` (the shots) spoil the result of one that ran.
Outcome = Literal["hold", "failed", "cancelled", "truncated", "empty", "null", "text", "half"]


@dataclass
class Fault:
    """Requests that match it go wrong.

    Attributes:
        method: `GET`, `POST`, ...
        path: Regular expression that matches the whole path.
        status: HTTP status of the answer; `None` cuts the connection without one.
        carried_out: Whether the request takes effect all the same.
        headers: Of the answer.
        body: Of the answer.
        times: So many requests go wrong.
        skip: So many matching requests before them do not.
        delay: Seconds before the answer.
    """

    method: str
    path: str
    status: int | None = None
    carried_out: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    times: int = 1
    skip: int = 0
    delay: float = 0.0

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request goes wrong; counts it."""
        if self.times < 1 or method != self.method or not re.fullmatch(self.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True
