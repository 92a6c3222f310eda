"""How long a service that does not answer is asked again, and that it is said while it is.

A look-up is repeated for `LOOK_UP_SECONDS` at most, counted from the first failure of an account's requests in a row:
what needs several look-ups does not wait once for each. Whoever has more time, as a run whose jobs are underway, asks
again by itself (`hardware.jobs.service_jobs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from urllib3.exceptions import MaxRetryError, ResponseError
from urllib3.util.retry import Retry

from qhybrid.progress import duration

LOOK_UP_SECONDS = 3.0
PAUSE = 0.2
# Seconds between two attempts of a run that waits for the service, and how they grow.
LONGEST_PAUSE = 10.0
GROWTH = 1.5
# Of a request: as many as have room in the time. Nothing is repeated that may have created something.
_ATTEMPTS = 10
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# A service that does not answer so is away or broken; 429 says for how long.
_AWAY = frozenset({429, 500, 502, 503, 504, 520, 521, 522, 524})


class Outage:
    """Since when the requests of an account have failed.

    Args:
        say: Called with a line when it begins.
        wanted: What is asked for, the first words of that line.
    """

    def __init__(self, say: Callable[[str], None], wanted: str) -> None:
        self._say = say
        self._wanted = wanted
        self._begun: float | None = None

    def lasts(self, reason: str, pause: float) -> bool:
        """Note a request that has failed; whether there is time to ask again.

        Args:
            reason: Why it has failed, in a few words.
            pause: Seconds to wait before it is asked again.
        """
        now = time.monotonic()
        first = self._begun is None
        self._begun = now if self._begun is None else self._begun
        again = now + pause - self._begun <= LOOK_UP_SECONDS
        if first and again:
            self._say(f"{self._wanted}: {reason}; asking again for {LOOK_UP_SECONDS:g} s")
        return again

    def answered(self, status: int) -> None:
        """Note an answer.

        Args:
            status: HTTP status of the answer.
        """
        if status not in _AWAY:
            self._begun = None


class RepeatedReads(Retry):
    """The policy by which requests are repeated: those that make nothing, as long as an outage is waited for.

    Args:
        outage: Outage of the account whose requests these are.
        options: Options of the policy of urllib3.
    """

    def __init__(self, *, outage: Outage, **options: Any) -> None:
        own: dict[str, Any] = {
            "total": _ATTEMPTS,
            "backoff_factor": PAUSE,
            "status_forcelist": _AWAY,
            "allowed_methods": _SAFE,
            # The last answer is kept, since it tells status and reason.
            "raise_on_status": False,
        }
        super().__init__(**{**own, **options})
        self.outage = outage

    def new(self, **options: Any) -> RepeatedReads:
        """The policy after another attempt.

        Args:
            options: Options of the policy that are changed.
        """
        return super().new(outage=self.outage, **options)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> RepeatedReads:
        """Count an attempt that has failed; see urllib3.

        Args:
            method: Method of the request.
            url: Address that was asked.
            response: Answer of urllib3, if there was one.
            error: Error of urllib3, if there was no answer.

        Raises:
            MaxRetryError: There is no time for another.
        """
        again = super().increment(method, url, response, error, _pool, _stacktrace)
        pause = (response and self.get_retry_after(response)) or again.get_backoff_time()
        if not self.outage.lasts("no answer" if response is None else f"{response.status}", pause):
            raise MaxRetryError(_pool, str(url), error or ResponseError(f"{response.status}"))
        return again


class Patience:
    """Waits between the attempts of one question to a service that does not answer, longer and longer, and says so.

    Args:
        seconds: Time in seconds after which it gives up.
        question: What is asked, the first words of a line.
        echo: Called with a line when it begins to wait.
        pause: Seconds of the first pause; each is longer than the one before, up to `LONGEST_PAUSE`.
    """

    def __init__(self, seconds: float, question: str, echo: Callable[[str], None], pause: float) -> None:
        self._seconds = seconds
        self._question = question
        self._echo = echo
        self._begin = time.monotonic()
        self._pause = pause
        self._said = False

    def waits(self, reason: str, pause: float | None) -> bool:
        """Wait before the next attempt; `False` at once if the time is over.

        Args:
            reason: Why the last attempt has failed.
            pause: Seconds that the service asks to wait; `None` if it does not say.
        """
        if time.monotonic() - self._begin > self._seconds:
            return False
        if not self._said:
            self._echo(f"{self._question}: {reason}; asking again for up to {duration(self._seconds)}")
            self._said = True
        time.sleep(self._pause if pause is None else pause)
        self._pause = min(LONGEST_PAUSE, self._pause * GROWTH)
        return True
