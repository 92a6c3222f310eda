"""What the service knows: one account, its devices, jobs, sessions and usage."""

from __future__ import annotations

import datetime
import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qiskit_ibm_runtime import fake_provider
from qiskit_ibm_runtime.fake_provider import FakeArmonkV2, FakeManilaV2

from loopback.faults import Outcome
from loopback.running import run_executor

FINAL = ("Completed", "Failed", "Cancelled")
INSTANCE = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:00000000-0000-0000-0000-000000000000::"


@dataclass
class Device:
    """A device: what it tells of itself, and the local copy that runs its jobs."""

    copy: Any
    configuration: dict[str, Any]
    properties: dict[str, Any]
    pending: int = 3
    operational: bool = True
    status: str = "active"


@dataclass
class Session:
    """A session or batch."""

    id: str
    backend: str
    mode: str
    max_time: int | None
    accepting: bool = True
    state: str = "open"
    closed_by: str | None = None


@dataclass
class Job:
    """A job; `executions` is what it ran, which is what is paid for."""

    id: str
    number: int
    backend: str
    params: dict[str, Any]
    tags: list[str]
    session: str | None
    max_seconds: int | None
    outcome: Outcome | None
    status: str = "Queued"
    reason: str | None = None
    reason_code: int | None = None
    result: str = ""
    executions: int = 0
    made: float = field(default_factory=time.monotonic)
    created: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat())

    @property
    def content(self) -> str:
        """The content tag."""
        return next((tag for tag in self.tags if tag.startswith("content:")), self.id)


class State:
    """The account; every method may be called from any thread."""

    def __init__(self, plan: str) -> None:
        self.plan = plan
        self.devices = {"ibm_manila": _device("manila", FakeManilaV2), "ibm_armonk": _device("armonk", FakeArmonkV2)}
        self.jobs: dict[str, Job] = {}
        self.sessions: dict[str, Session] = {}
        self.tokens: set[str] = set()
        self.limit_seconds = 600.0
        self.consumed_seconds = 0.0
        self.seconds_per_job = 2.0
        # How many times each job's usage is asked for before the service tells it; until then it states 0.
        self.usage_late = 0
        # Seconds before the search for jobs shows a new one.
        self.search_lag = 0.0
        # By the number of the job at the service, 0 first; `None` stands for all others.
        self.outcomes: dict[int | None, Outcome] = {}
        self.lock = threading.RLock()
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._runs = threading.Event()
        self._runs.set()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Jobs sent within are queued and run after it, however slow their sender is."""
        self._runs.clear()
        try:
            yield
        finally:
            self._runs.set()

    def stop(self) -> None:
        """End the thread that runs jobs."""
        self._queue.put(None)
        self._worker.join()

    @property
    def executions(self) -> int:
        """Executions of all jobs."""
        return sum(job.executions for job in self.jobs.values())

    def submit(self, request: dict[str, Any]) -> Job:
        """A new job, queued."""
        with self.lock:
            number = len(self.jobs)
            job = Job(
                id=f"j{number:019d}",
                number=number,
                backend=request["backend"],
                params=request["params"],
                tags=list(request.get("tags", [])),
                session=request.get("session_id"),
                max_seconds=request.get("cost"),
                outcome=self.outcomes.get(number, self.outcomes.get(None)),
            )
            self.jobs[job.id] = job
        if job.outcome != "hold":
            self._queue.put(job)
        return job

    def release(self) -> None:
        """Let the jobs run that are held in the queue."""
        with self.lock:
            held = [job for job in self.jobs.values() if job.outcome == "hold" and job.status == "Queued"]
            for job in held:
                job.outcome = None
                self._queue.put(job)
            self.outcomes = {key: value for key, value in self.outcomes.items() if value != "hold"}

    def cancel(self, job: Job, reason: str = "Cancelled by the user") -> bool:
        """Cancel a job that is not final."""
        with self.lock:
            if job.status in FINAL:
                return False
            job.status, job.reason = "Cancelled", reason
            return True

    def close_session(self, session: Session, by: str) -> None:
        """Accept no more jobs; if the service closes it, its queued jobs are cancelled."""
        with self.lock:
            session.accepting = False
            session.state = "closed"
            session.closed_by = session.closed_by or by
            if by == "service":
                for job in self.jobs.values():
                    if job.session == session.id:
                        self.cancel(job, "The session was closed")

    def calibrate(self, name: str, factor: float = 1.0) -> None:
        """The device is calibrated anew: another date, all gate errors times `factor`."""
        with self.lock:
            properties = json.loads(json.dumps(self.devices[name].properties))
            date = datetime.datetime.fromisoformat(properties["last_update_date"]) + datetime.timedelta(days=1)
            properties["last_update_date"] = date.isoformat()
            for gate in properties["gates"]:
                for parameter in gate["parameters"]:
                    if parameter["name"] == "gate_error":
                        parameter["value"] *= factor
            self.devices[name].properties = properties

    def lose_couplings(self, name: str) -> None:
        """From now on a device couples two qubits alone that it did not couple before, and says so at once."""
        self.calibrate(name)
        device = self.devices[name]
        device.configuration["coupling_map"] = [[0, 3], [3, 0]]
        for gate in device.configuration["gates"]:
            if gate["name"] == "cx":
                gate["coupling_map"] = [[0, 3], [3, 0]]
        device.properties["gates"] = [gate for gate in device.properties["gates"] if gate["gate"] != "cx"]

    def wait_until_idle(self, seconds: float = 30.0) -> None:
        """Wait until no job can go on."""
        deadline = time.monotonic() + seconds
        while any(job.status not in FINAL and job.outcome != "hold" for job in list(self.jobs.values())):
            if time.monotonic() > deadline:
                raise TimeoutError("jobs still run")
            time.sleep(0.01)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            self._runs.wait()
            with self.lock:
                if job.status != "Queued":
                    continue
                job.status = "Running"
            try:
                self._run(job)
            except Exception as error:  # noqa: BLE001  (a job that cannot run is a failed job, as at the real service)
                job.status, job.reason, job.reason_code = "Failed", f"{type(error).__name__}: {error}", 1500

    def _run(self, job: Job) -> None:
        if job.outcome == "failed":
            job.status, job.reason, job.reason_code = "Failed", "Internal error; the device lost its cooling", 9999
            return
        if job.outcome == "cancelled":
            self.cancel(job)
            return
        share = 0.5 if job.outcome == "half" else 1.0
        result, executions = run_executor(job.params, self.devices[job.backend].copy, job.content, shots_kept=share)
        spoiled = {"truncated": result[: len(result) // 2], "empty": "", "null": "null", "text": "no result today"}
        with self.lock:
            job.executions = executions
            job.result = spoiled.get(job.outcome or "", result)
            self.consumed_seconds += self.seconds_per_job
            if job.status == "Running":
                job.status = "Completed"


def _device(name: str, copy: Any) -> Device:
    folder = Path(fake_provider.__file__).parent / "backends" / name
    configuration = json.loads((folder / f"conf_{name}.json").read_text())
    properties = json.loads((folder / f"props_{name}.json").read_text())
    configuration["backend_name"] = properties["backend_name"] = f"ibm_{name}"
    return Device(copy(), configuration, properties)
