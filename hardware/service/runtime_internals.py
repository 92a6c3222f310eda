"""What this package uses of Runtime's client beyond its public interface, all of it in one place.

The client (0.51) has no public way to say which instance a backend belongs to, to ask for that instance's usage, to
limit how long a request waits and how often it is repeated, or to tell why a job failed before it ran.
`test_runtime_internals` tries each function below on a real client and fails when a new version changes what they rely
on.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.transpiler import Target

from hardware.service.outages import RepeatedReads


def instance_of(backend: BackendV2) -> str:
    """Name of the account's instance (a CRN) through which an IBM backend was opened."""
    return str(backend._instance)


def api_client(backend: BackendV2) -> Any:
    """The REST client that an IBM backend's service has for the backend's instance at present."""
    return backend.service._get_api_client(backend._instance)


def job_client(job: Any) -> Any:
    """The REST client that a job asks for its state; an older one than `api_client` holds an older token."""
    return job._api_client


def plan_usage(backend: BackendV2) -> dict[str, Any]:
    """Usage of the instance of an IBM backend as the service reports it, seconds by name.

    `service.usage()` is that of the active instance, which need not be this backend's.
    """
    usage: dict[str, Any] = api_client(backend).cloud_usage()
    return usage


def failure_reason(job: Any) -> str | None:
    """Why a job has failed, as the service said it with the job's state; `None` if it said nothing."""
    return job._reason or None


@contextlib.contextmanager
def requests_by(policy: RepeatedReads, timeout: tuple[float, float]) -> Iterator[None]:
    """Let the requests of a service object that is built within be repeated and limited as we say.

    By itself the client repeats every request on errors, for 15 s each, and waits for ever for an answer. A POST that
    was answered by 500 or 504 may have created a job or a session, and its repetition another one: whoever sends it
    looks whether it was carried out, and repeats it then.

    Args:
        policy: Policy by which requests are repeated on errors.
        timeout: Longest time in seconds to wait for the connection, and for the next bytes of an answer.
    """
    from qiskit_ibm_runtime.api.session import RetrySession
    from requests.adapters import HTTPAdapter

    make = RetrySession.__init__

    def made(session: Any, *arguments: Any, **options: Any) -> None:
        make(session, *arguments, **options)
        session._timeout = timeout
        session.hooks["response"].append(lambda answer, **_: policy.outage.answered(answer.status_code))
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=policy))

    RetrySession.__init__ = made
    try:
        yield
    finally:
        RetrySession.__init__ = make


def record_errors(service: Any) -> list[Exception]:
    """Keep the errors that the client passes over while it looks for devices, where it says that there are none.

    Args:
        service: The account's `QiskitRuntimeService`.

    Returns:
        A list that grows with each error, the latest last.
    """
    failures: list[Exception] = []

    def recording(ask: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(ask)
        def asked(*arguments: Any, **options: Any) -> Any:
            try:
                return ask(*arguments, **options)
            except Exception as error:
                failures.append(error)
                raise

        return asked

    for client in service._get_api_clients().values():
        client.list_backends = recording(client.list_backends)
        client.backend_configuration = recording(client.backend_configuration)
    return failures


def close_session(service: Any, session_id: str) -> None:
    """Let a batch or session take no more jobs; the public way needs its device, which may be gone.

    Args:
        service: The account's `QiskitRuntimeService`.
        session_id: Id of the batch or session; instances that do not know it are passed over by the client.
    """
    for client in service._get_api_clients().values():
        client.close_session(session_id)


def isa_violation(circuit: QuantumCircuit, target: Target) -> str:
    """Why a circuit is no ISA circuit of a target, in one line; empty if it is one."""
    from qiskit_ibm_runtime.utils.utils import is_isa_circuit

    return " ".join(is_isa_circuit(circuit, target).split())


def saved_tokens() -> list[str]:
    """Tokens of all accounts that are saved on this machine; none where the file of accounts is damaged."""
    from qiskit_ibm_runtime.accounts import AccountManager

    with contextlib.suppress(ValueError, OSError):
        return [str(account.token) for account in AccountManager.list().values() if account.token]
    return []


def network_errors() -> tuple[type[Exception], ...]:
    """What the client and its libraries raise when there is no answer, or none that can be read."""
    import requests
    from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
    from qiskit_ibm_runtime.api.exceptions import RequestsApiError

    return (requests.RequestException, ApiException, RequestsApiError)
