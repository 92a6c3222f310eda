"""What the client's exceptions mean, and messages that show no token.

The client gives little to go by: a cut connection, a refusal and a closed session are all `IBMRuntimeError`, the status
and the headers of the answer stand somewhere in the chain of causes, the service's own error code in the text.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hardware.service.runtime_internals import network_errors, saved_tokens

SESSION_CLOSED = 1217
NO_SESSIONS = 1352

Kind = Literal["unauthorized", "session closed", "no sessions", "unclear", "refused"]

_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524})
# Seconds; a longer `Retry-After` would outlast the time that an outage is waited for (`service_jobs.OUTAGE_SECONDS`).
_LONGEST_PAUSE = 600.0
# An access token is a JSON web token, whose parts begin with `eyJ`; a key follows the word that names it.
_SECRET = re.compile(r"(?i)\b(bearer|apikey)[\s:=]+\S+|\beyJ[\w-]+\.[\w.-]+")


@dataclass(frozen=True)
class Fault:
    """An error of the client, judged.

    Attributes:
        kind: `unauthorized`: only a new service object helps. `session closed`, `no sessions`: what they say.
            `unclear`: the request may or may not have been carried out, and may be repeated. `refused`: repeating it
            does not help.
        message: One line of text that tells what went wrong, without tokens of the account.
        pause: Seconds that the service asks to wait; `None` if it does not say.
    """

    kind: Kind
    message: str
    pause: float | None


def client_errors() -> tuple[type[Exception], ...]:
    """What a request of the client raises when the account, the service or the network is at fault.

    They are caught at the call of the client alone. `ValueError` and `OSError` are not among them but for an answer
    that is no JSON and a broken connection: they would make a fault of this package's own a refusal by the service.
    """
    from qiskit.exceptions import QiskitError

    return (QiskitError, *network_errors(), json.JSONDecodeError, ConnectionError, TimeoutError)


def account_errors() -> tuple[type[Exception], ...]:
    """What the client raises beside `client_errors` while it reads the account and logs in.

    It checks the saved account, the environment and the certificates by `ValueError` and `OSError`, and no code of
    ours runs in between.
    """
    return (*client_errors(), ValueError, OSError)


def judge(error: BaseException) -> Fault:
    """What an error of the client means for what was asked."""
    from qiskit.providers.exceptions import QiskitBackendNotFoundError
    from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError

    chain = list(_chain(error))
    message = one_line(error)
    codes = {int(code) for code in re.findall(r"(?i)code\W{1,4}(\d{4})\b", str(error))}
    statuses = [int(status) for item in chain if (status := getattr(item, "status_code", None)) not in (None, -1)]
    responses = [response for item in chain if (response := getattr(item, "response", None)) is not None]
    statuses += [int(response.status_code) for response in responses]
    pause = next((_seconds(response.headers.get("Retry-After")) for response in responses), None)
    kind: Kind
    if SESSION_CLOSED in codes:
        kind = "session closed"
    elif NO_SESSIONS in codes:
        kind = "no sessions"
    # With an expired token the client finds no backend at all, and says so instead.
    elif 401 in statuses or any(isinstance(item, IBMNotAuthorizedError | QiskitBackendNotFoundError) for item in chain):
        kind = "unauthorized"
    elif any(status in _RETRIED_STATUS for status in statuses):
        kind = "unclear"
    elif not statuses and any(isinstance(item, (*network_errors(), OSError)) for item in chain):
        # No answer at all. Anything else without a status was raised at home, and would be again.
        kind = "unclear"
    else:
        kind = "refused"
    return Fault(kind, message, pause)


def one_line(error: BaseException | str) -> str:
    """A message on one line, without the account's key and without access tokens."""
    text = " ".join(str(error).split())
    for secret in _keys():
        text = text.replace(secret, "***")
    return _SECRET.sub("***", text)


def _keys() -> list[str]:
    return [key for key in (os.environ.get("QISKIT_IBM_TOKEN", ""), *saved_tokens()) if key]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        # `raise ... from None` hides the cause from tracebacks, but keeps it as the context.
        error = error.__cause__ or error.__context__


def _seconds(value: str | None) -> float | None:
    try:
        return min(float(value), _LONGEST_PAUSE) if value is not None else None
    except ValueError:
        return None
