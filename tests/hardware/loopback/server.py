"""The HTTP endpoints: IAM token, Global Search and Catalog, and the client's `api/rest`."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from loopback.faults import Fault
from loopback.state import FINAL, INSTANCE, Job, State

API_KEY = "t0ken-0f-the-loopback-acc0unt-4711"
PREFIX = "/experimental"
Answer = tuple[int, Any]


class Loopback:
    """A running service; use as a context manager.

    Args:
        plan: Of the account: `open`, `pay-as-you-go`, ...

    Attributes:
        state: Jobs, sessions, devices, usage.
        faults: What goes wrong; the first that matches a request strikes.
        requests: `(method, path)` of all requests.
        tokens_given: Access tokens.
        watch: Called with `("before" | "after", method, path)` around each request that is carried out.
    """

    def __init__(self, plan: str = "open") -> None:
        self.state = State(plan)
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.watch: Callable[[str, str, str], None] | None = None
        self.tokens_given: list[str] = []
        handler = type("Handler", (_Handler,), {"service": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.state.stop()

    @property
    def url(self) -> str:
        """Root of all endpoints."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What points the client here: the variables that Qiskit itself reads."""
        return {
            "QISKIT_IBM_TOKEN": API_KEY,
            "QISKIT_IBM_URL": self.url + PREFIX,
            "QISKIT_IBM_INSTANCE": INSTANCE,
            "QISKIT_IBM_CHANNEL": "ibm_quantum_platform",
            "IAM_URL": self.url,
            "GLOBAL_SEARCH_URL": self.url,
            "GLOBAL_CATALOG_URL": f"{self.url}/catalog",
            # The client looks through the whole call stack on every request otherwise.
            "USAGE_DATA_OPT_OUT": "True",
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return list(self.state.jobs.values())

    def fail(self, method: str, path: str, **how: Any) -> Fault:
        """Add a fault; see `Fault`. `path` is without the prefix of the runtime's endpoints."""
        self.faults.append(Fault(method, path, **how))
        return self.faults[-1]

    def count(self, method: str, path: str) -> int:
        """Requests so far whose path matches."""
        return sum(1 for name, where in list(self.requests) if name == method and re.fullmatch(path, where))

    def expire_tokens(self) -> None:
        """No token that was given so far is accepted any more."""
        self.state.tokens.clear()


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    service: Loopback
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Tests look at `requests` instead."""

    def handle(self) -> None:
        # A client that was killed leaves a broken connection; that is what some tests are about.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        path = parts.path.removeprefix(PREFIX)
        service = self.service
        service.requests.append((self.command, path))
        with service.state.lock:
            fault = next((fault for fault in service.faults if fault.strikes(self.command, path)), None)
        if fault is not None:
            if fault.carried_out:
                self._route(path, parse_qs(parts.query), body)
            self._go_wrong(fault)
            return
        if service.watch:
            service.watch("before", self.command, path)
        status, answer = self._route(path, parse_qs(parts.query), body)
        if service.watch:
            service.watch("after", self.command, path)
        self._answer(status, answer)

    def _go_wrong(self, fault: Fault) -> None:
        time.sleep(fault.delay)
        if fault.status is None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._answer(fault.status, fault.body, fault.headers)

    def _answer(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        if status == 204:
            content = b""
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        if path == "/identity/token":
            return self._token(body)
        authorization = self.headers.get("Authorization", "")
        if not authorization.startswith("Bearer ") or authorization[7:] not in self.service.state.tokens:
            # The real service does not repeat what it was sent; one that does must not bring it to light.
            return _error(401, 1200, f"token expired: {authorization} of {API_KEY}")
        for method, pattern, endpoint in _ENDPOINTS:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                request = json.loads(body) if body else {}
                result: Answer = endpoint(self.service.state, *found.groups(), query=query, request=request)
                return result
        return _error(404, 1000, f"no such endpoint: {self.command} {path}")

    def _token(self, body: bytes) -> Answer:
        if parse_qs(body.decode()).get("apikey") != [API_KEY]:
            return 400, {"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}
        now = int(time.time())
        state = self.service.state
        with state.lock:
            claims = {"iat": now, "exp": now + 3600, "jti": str(time.monotonic_ns())}
            token = ".".join(map(_segment, ({"alg": "HS256", "typ": "JWT"}, claims, {"signature": "of-loopback"})))
            state.tokens.add(token)
            self.service.tokens_given.append(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600, "expiration": now + 3600}


def _segment(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _error(status: int, code: int, message: str) -> Answer:
    return status, {"errors": [{"code": code, "message": message}], "trace": "loopback"}


def _search(state: State, *, query: Any, request: Any) -> Answer:
    item = {
        "crn": INSTANCE,
        "name": "loopback",
        "service_plan_unique_id": "plan-of-loopback",
        "doc": {"extensions": {"backends": list(state.devices)}},
        "tags": [],
    }
    return 200, {"items": [item], "limit": 100}


def _catalog(state: State, entry: str, *, query: Any, request: Any) -> Answer:
    return 200, {"overview_ui": {"en": {"display_name": state.plan.title()}}, "metadata": {"pricing": {"type": "free"}}}


def _backends(state: State, *, query: Any, request: Any) -> Answer:
    return 200, {
        "devices": [
            {
                "name": name,
                "status": {"name": "online"},
                "qubits": device.configuration["n_qubits"],
                "queue_length": device.pending,
            }
            for name, device in state.devices.items()
        ]
    }


def _backend(state: State, name: str, what: str, *, query: Any, request: Any) -> Answer:
    if name not in state.devices:
        return _error(404, 1216, f"backend {name} not found")
    device = state.devices[name]
    status = {
        "state": device.operational,
        "status": device.status,
        "length_queue": device.pending,
        "backend_version": "1.0.0",
    }
    return 200, {"configuration": device.configuration, "properties": device.properties, "status": status}[what]


def _usage(state: State, *, query: Any, request: Any) -> Answer:
    return 200, {
        "usage_consumed_seconds": state.consumed_seconds,
        "usage_limit_seconds": state.limit_seconds,
        "usage_limit_reached": state.consumed_seconds >= state.limit_seconds,
    }


def _submit(state: State, *, query: Any, request: Any) -> Answer:
    session = state.sessions.get(request.get("session_id"))
    if session is not None and not session.accepting:
        return _error(400, 1217, "Session has been closed.")
    job = state.submit(request)
    return 200, {"id": job.id, "backend": job.backend}


def _jobs(state: State, *, query: dict[str, list[str]], request: Any) -> Answer:
    with state.lock:
        found = [job for job in state.jobs.values() if set(query.get("tags", [])) <= set(job.tags)]
        found = [job for job in found if time.monotonic() - job.made >= state.search_lag]
        if "backend" in query:
            found = [job for job in found if job.backend == query["backend"][0]]
        if "session_id" in query:
            found = [job for job in found if job.session == query["session_id"][0]]
        if "pending" in query:
            wanted = query["pending"][0] == "true"
            found = [job for job in found if (job.status not in FINAL) == wanted]
        if query.get("sort") != ["ASC"]:
            found.reverse()
        begin, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["20"])[0])
        return 200, {"jobs": [_described(job) for job in found[begin : begin + limit]], "count": len(found)}


def _described(job: Job) -> dict[str, Any]:
    state = {"status": job.status}
    if job.reason is not None:
        state["reason"] = job.reason
    if job.reason_code is not None:
        state["reason_code"] = job.reason_code  # type: ignore[assignment]
    return {
        "id": job.id,
        "backend": job.backend,
        "state": state,
        "status": job.status,
        "program": {"id": "executor"},
        "created": job.created,
        "tags": job.tags,
        "session_id": job.session,
        "private": False,
    }


def _job(state: State, job_id: str, *, query: Any, request: Any) -> Answer:
    if job_id not in state.jobs:
        return _error(404, 1291, "Job not found")
    return 200, _described(state.jobs[job_id])


def _results(state: State, job_id: str, *, query: Any, request: Any) -> Answer:
    return 200, state.jobs[job_id].result


def _cancel(state: State, job_id: str, *, query: Any, request: Any) -> Answer:
    if not state.cancel(state.jobs[job_id]):
        return _error(409, 1008, "The job cannot be cancelled")
    return 204, ""


def _metrics(state: State, job_id: str, *, query: Any, request: Any) -> Answer:
    if state.usage_late > 0:
        state.usage_late -= 1
        return 200, {"usage": {"status": "done", "qpu_charge_time_seconds": 0, "quantum_seconds": 0}}
    seconds = state.seconds_per_job if state.jobs[job_id].executions else 0
    return 200, {"usage": {"status": "done", "qpu_charge_time_seconds": seconds, "quantum_seconds": seconds}}


def _tags(state: State, job_id: str, *, query: Any, request: Any) -> Answer:
    state.jobs[job_id].tags = request["tags"]
    return 204, ""


def _open_session(state: State, *, query: Any, request: Any) -> Answer:
    from loopback.state import Session

    if state.plan == "open" and request["mode"] == "dedicated":
        return _error(400, 1352, "You are not authorized to run a session when using the open plan.")
    with state.lock:
        session = Session(f"s{len(state.sessions):019d}", request["backend"], request["mode"], request.get("max_ttl"))
        state.sessions[session.id] = session
    return 200, {"id": session.id}


def _session(state: State, session_id: str, *, query: Any, request: Any) -> Answer:
    if session_id not in state.sessions:
        return _error(404, 1216, "Session not found")
    session = state.sessions[session_id]
    return 200, {
        "id": session.id,
        "backend_name": session.backend,
        "mode": session.mode,
        "state": session.state,
        "accepting_jobs": session.accepting,
        "max_ttl": session.max_time,
    }


def _close_session(state: State, session_id: str, *, query: Any, request: Any) -> Answer:
    if session_id not in state.sessions:
        return _error(404, 1216, "Session not found")
    state.close_session(state.sessions[session_id], by="client")
    return 204, ""


_ENDPOINTS: list[tuple[str, str, Callable[..., Answer]]] = [
    ("POST", "/v3/resources/search", _search),
    ("GET", "/catalog/([^/]+)", _catalog),
    ("GET", "/backends", _backends),
    ("GET", "/backends/([^/]+)/(configuration|properties|status)", _backend),
    ("GET", "/instances/usage", _usage),
    ("POST", "/jobs", _submit),
    ("GET", "/jobs", _jobs),
    ("GET", "/jobs/([^/]+)", _job),
    ("GET", "/jobs/([^/]+)/results", _results),
    ("POST", "/jobs/([^/]+)/cancel", _cancel),
    ("GET", "/jobs/([^/]+)/metrics", _metrics),
    ("PUT", "/jobs/([^/]+)/tags", _tags),
    ("POST", "/sessions", _open_session),
    ("GET", "/sessions/([^/]+)", _session),
    ("PATCH", "/sessions/([^/]+)", _close_session),
    ("DELETE", "/sessions/([^/]+)/close", _close_session),
]
