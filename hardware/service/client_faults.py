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
from typing import Any, Literal

from hardware.service.runtime_internals import network_errors, saved_tokens

NO_TOKEN = "the token is not accepted"
SESSION_CLOSED = 1217
NO_SESSIONS = 1352

Kind = Literal["unauthorized", "session closed", "no sessions", "unclear", "refused"]

_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524})
# Seconds; a longer `Retry-After` would outlast the time that an outage is waited for (`service_jobs.OUTAGE_SECONDS`).
_LONGEST_PAUSE = 600.0
_MEANINGS = {
    401: NO_TOKEN,
    403: "the account has no access",
    404: "the service does not know it",
    429: "too many requests",
    502: "the service is away",
    503: "the service is away",
    504: "the service is away",
}
_LONGEST_REASON = 200
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
        status: HTTP status of the answer; `None` if there was none, or the error was raised at home.
    """

    kind: Kind
    message: str
    pause: float | None
    status: int | None = None


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
    from qiskit_ibm_runtime.accounts import InvalidAccountError
    from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError

    chain = list(_chain(error))
    codes = {int(code) for code in re.findall(r"(?i)code\W{1,4}(\d{4})\b", str(error))}
    statuses = [int(status) for item in chain if (status := getattr(item, "status_code", None)) not in (None, -1)]
    responses = [response for item in chain if (response := _response(item)) is not None]
    statuses += [int(response.status_code) for response in responses]
    pause = next((_seconds(response.headers.get("Retry-After")) for response in responses), None)
    cut = not statuses and any(isinstance(item, (*network_errors(), ConnectionError, TimeoutError)) for item in chain)
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
    elif cut:
        # No answer at all. Anything else without a status was raised at home, and would be again.
        kind = "unclear"
    else:
        kind = "refused"
    if statuses:
        message = _answer_words(
            statuses[0], responses, login=any(isinstance(item, InvalidAccountError) for item in chain)
        )
    else:
        message = f"no answer ({chain[-1]})" if cut else str(error)
    return Fault(kind, one_line(message), pause, statuses[0] if statuses else None)


def told(error: BaseException) -> str:
    """What an error of the client says, one line for people: `401: the token is not accepted; ...`."""
    return judge(error).message


def _answer_words(status: int, responses: list[Any], *, login: bool) -> str:
    """An answer that is an error: its status, what that means, and what the service said itself."""
    # The key that logs in is refused with 400.
    meaning = _MEANINGS[401] if login and status in (400, 401) else _MEANINGS.get(status)
    if meaning is None:
        meaning = "the service has failed" if status >= 500 else "the service refuses it"
    said = next((words for response in responses if (words := _said(response))), "")
    return f"{status}: {meaning}" + (f"; {said}" if said else "")


def _said(response: Any) -> str:
    """The service's own words in an answer, from any of the forms that they come in; empty if there are none."""
    try:
        content = response.json()
    except ValueError:
        text = one_line(str(response.text))
        # Pages for people, of a proxy on the way, are no reason.
        return text if len(text) <= _LONGEST_REASON and not text.startswith("<") else ""
    if not isinstance(content, dict):
        return ""
    errors = content.get("errors")
    inner = errors[0] if isinstance(errors, list) and errors else content.get("error", content)
    if not isinstance(inner, dict):
        return str(inner)
    words = next((str(inner[key]) for key in ("message", "errorMessage") if inner.get(key)), "")
    code = next((inner[key] for key in ("code", "errorCode") if inner.get(key)), None)
    return f"{words} (code {code})" if words and code is not None else words


def _response(error: BaseException) -> Any:
    """The answer that an error of the client, or of the libraries that log in, holds."""
    found = getattr(error, "response", None)
    return getattr(error, "http_response", None) if found is None else found


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
