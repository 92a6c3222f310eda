"""Each job's line in `jobs.jsonl`, the tags by which the service finds it, and its stored result.

A job is named by its content: step, ISA circuit with its weights, observables, angles, level, shots and backend.
So a job that was sent is found again, by its line or, if the last write was lost, by its tags at the service, and never
sent twice; a result that was stored is used again. Lines are only ever added:

    {"event": "submitted", "job": id, "content": hash, "plan": key, "step": 3, "part": 0, "tags": [...], ...}
    {"event": "done" | "failed", "job": id, "content": hash, "charged": seconds, ...}
    {"event": "refused", "job": id, "content": hash, "reason": ...}     its result was wrong; it is fetched once more
    {"event": "twin", "job": id, "content": hash, ...}      a second job for the same work; cancelled, if not too late
    {"event": "reused", "content": hash, ...}               a stored result took the place of a job
    {"event": "charged", "job": id, "charged": seconds}     what the service told later
    {"event": "asked" | "declined", "mode": mode, "clock": seconds since the epoch, ...}      for a batch or session
    {"event": "opened" | "closed", "session": id, "clock": seconds since the epoch, ...}      a batch or session
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.arrays import read_arrays
from hardware.errors import HardwareError
from hardware.placement.program import Program
from hardware.primitives.client_results import write_primitive_results
from hardware.primitives.execution import Expectations
from qhybrid.files import append_line, atomic_path
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint
from qhybrid.rundir import RunDirectory

PRODUCT_TAG = "qhybrid"
TAG_LENGTH = 16
_JOB = ("job", "content", "plan", "step", "part")
# What a reader takes from each event; the other fields are for people.
_FIELDS = {
    "submitted": (*_JOB, "seconds"),
    "done": (*_JOB, "file"),
    "failed": _JOB,
    "asked": ("mode", "backend", "clock"),
    "opened": ("mode", "session"),
    "closed": ("session",),
    "refused": ("job", "content"),
    "twin": ("job", "content"),
    "reused": ("content", "plan", "step", "part", "file"),
}
_NUMBER = (int, float)
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("job", "content", "plan", "file", "backend"), (str,)),
    **dict.fromkeys(("step", "part"), (int,)),
    "seconds": _NUMBER,
    "charged": (*_NUMBER, type(None)),
    **dict.fromkeys(("calibrated", "session"), (str, type(None))),
    "mode": (str,),
    "clock": _NUMBER,
    "limit": (*_NUMBER, type(None)),
}


@dataclass(frozen=True)
class Work:
    """What one job is to do.

    Attributes:
        step: Denoising step, the first one of several that are sent together, or number of the job where each is a
            step of its own.
        part: Number of the job within its step.
        angles: Input angles of the parameter sets, `(B, n_in)`, in radians.
        content: SHA-256 (hex) of everything that decides the result but for chance.
        seed: Seed of the local simulation.
        seconds: Estimated device time in seconds.
        steps: Denoising step that needs each of the B parameter sets; empty where all belong to `step`.
    """

    step: int
    part: int
    angles: NDArray[np.float64]
    content: str
    seed: int
    seconds: float = 0.0
    steps: tuple[int, ...] = ()


def make_work(
    program: Program,
    step: int,
    part: int,
    angles: NDArray[np.float64],
    settings: dict[str, Any],
    seconds: float = 0.0,
    steps: tuple[int, ...] = (),
) -> Work:
    """Name a job by its content.

    Args:
        program: Program on the whole device.
        step: Denoising step, the first one of several that are sent together.
        part: Number of the job among those that are sent together.
        angles: Input angles of the parameter sets, `(B, n_in)`, in radians.
        settings: Settings that decide the result, JSON-able: backend, level, shots and, for a local simulation, its
            seed.
        seconds: Estimated device time in seconds; not part of the name.
        steps: Denoising step that needs each of the B parameter sets; not part of the name either.
    """
    values = np.ascontiguousarray(angles, dtype=np.float64)
    content = {
        "step": step,
        "part": part,
        "circuit": circuit_fingerprint(program.circuit),
        "observables": [[(label, str(value)) for label, value in item.to_list()] for item in program.observables],
        "inputs": program.inputs,
        "angles": hashlib.sha256(values.tobytes()).hexdigest(),
        **settings,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Work(step, part, values, digest, seed=int(digest[:7], 16), seconds=seconds, steps=steps)


def run_id(run: RunDirectory) -> str:
    """Twelve hex digits that name a run wherever its directory is copied to."""
    content = b"".join(path.read_bytes() for path in (run.config_file, run.meta_file) if path.exists())
    return hashlib.sha256(content).hexdigest()[:12]


def job_tags(owner: str, work: Work) -> list[str]:
    """Tags of a job at the service: product, run (its `run_id`) or whatever else owns the job, step, content."""
    return [PRODUCT_TAG, f"run:{owner}", f"step:{work.step}", f"content:{work.content[:TAG_LENGTH]}"]


class JobLog:
    """`jobs.jsonl`: appended, flushed to disk, never rewritten.

    The file is read once; afterwards only what has been added to it, by this process or another.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._read = 0

    def append(self, event: str, **fields: Any) -> None:
        """Add a line and force it to the disk, so that it outlives a crash of the next moment."""
        row = {"event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **fields}
        append_line(self.path, json.dumps(row), durable=True)

    def rows(self) -> list[dict[str, Any]]:
        """All complete lines, in the order in which they were written."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < self._read:
            # Another file has taken its place.
            self._rows, self._read = [], 0
        if size > self._read:
            with self.path.open("rb") as file:
                file.seek(self._read)
                added = file.read()
            # A crash while writing leaves half a line, which is no event.
            whole = added[: added.rfind(b"\n") + 1]
            for line in whole.splitlines():
                # A damaged line tells nothing, and hides no other.
                with contextlib.suppress(ValueError, RecursionError):
                    row = json.loads(line)
                    if _is_event(row):
                        self._rows.append(row)
            self._read += len(whole)
        return list(self._rows)

    def open_job(self, content: str) -> str | None:
        """Id of the job with this content that was sent and neither done nor failed since."""
        latest = None
        for row in self.rows():
            if row.get("content") == content and row["event"] in ("submitted", "done", "failed"):
                latest = row["job"] if row["event"] == "submitted" else None
        return latest

    def given_up(self, content: str) -> set[str]:
        """Ids of the jobs with this content that came to nothing or were cancelled as twins."""
        return {
            row["job"] for row in self.rows() if row.get("content") == content and row["event"] in ("failed", "twin")
        }

    def refused(self, content: str) -> list[str]:
        """Ids of the jobs with this content whose result has been found wrong, in the order in which it was."""
        found = [row["job"] for row in self.rows() if row["event"] == "refused" and row["content"] == content]
        return list(dict.fromkeys(found))

    def calibration(self, plan: str) -> str | None:
        """Calibration of the device when the last job of a plan was sent."""
        known = [row.get("calibrated") for row in self.rows() if row["event"] == "submitted" and row["plan"] == plan]
        return known[-1] if known else None

    def seconds_spent(self, plan: str, *, local: bool) -> float:
        """Device time of a plan's jobs so far, those that failed included; see `seconds_taken`."""
        if not local:
            rows = [row for row in self.rows() if row.get("plan") == plan]
            sessions = {row.get("session") for row in rows} - {None}
            return seconds_taken(
                [row for row in self.rows() if row.get("plan") == plan or row.get("session") in sessions], time.time()
            )
        # A local job that ended with its process is simulated again, and would have cost nothing but the one.
        rows = [row for row in self.rows() if row["event"] == "submitted" and row["plan"] == plan]
        return float(sum({row["content"]: row["seconds"] for row in rows}.values()))

    def uncharged(self, plan: str) -> list[str]:
        """Ids of a plan's jobs that have ended, and whose price the service had not told by then."""
        known: dict[str, bool] = {}
        for row in self.rows():
            if row.get("plan") == plan and row["event"] in ("done", "failed", "twin", "charged"):
                known[row["job"]] = known.get(row["job"], False) or row.get("charged") is not None
        return [job for job, charged in known.items() if not charged]

    def results(self, plan: str) -> list[dict[str, Any]]:
        """The last `done` or `reused` line of each step and part of a plan, in their order."""
        found = {
            (row["step"], row["part"]): row
            for row in self.rows()
            if row["event"] in ("done", "reused") and row.get("plan") == plan
        }
        return [found[key] for key in sorted(found)]


def seconds_taken(rows: list[dict[str, Any]], now: float) -> float:
    """Device time that jobs and sessions have taken, or may still take.

    Args:
        rows: Lines of a log.
        now: Seconds since the epoch, until which an open session is counted.

    Returns:
        Sum in seconds over jobs and sessions. A job counts with the time that was charged; until that is known with its
        limit, or else with the planned time. A session, which is billed by wall clock, counts with the time that it was
        open or with its jobs, whichever is more.
    """
    jobs: dict[str, float] = {}
    session_of: dict[str, str] = {}
    open_for: dict[str, float] = {}
    opened: dict[str, float] = {}
    for row in rows:
        event, session = row["event"], str(row.get("session"))
        if event == "opened" and row["mode"] == "session" and "clock" in row:
            opened[session] = row["clock"]
            open_for[session] = max(0.0, min(now - row["clock"], row.get("limit") or math.inf))
        elif event == "closed" and session in opened and "clock" in row:
            open_for[session] = min(open_for[session], max(0.0, row["clock"] - opened[session]))
        elif event == "twin":
            told = row.get("charged")
            jobs[row["job"]] = (row.get("limit") or row.get("seconds", 0.0)) if told is None else told
        elif event == "submitted":
            jobs[row["job"]] = row.get("limit") or row["seconds"]
            if row.get("session") is not None:
                session_of[row["job"]] = session
        elif "job" in row and row.get("charged") is not None:
            jobs[row["job"]] = row["charged"]
    inside: dict[str, float] = dict.fromkeys(open_for, 0.0)
    for job in [job for job, session in session_of.items() if session in inside and job in jobs]:
        inside[session_of[job]] += jobs.pop(job)
    return sum(jobs.values()) + sum(max(open_for[session], used) for session, used in inside.items())


def _is_event(row: Any) -> bool:
    """Whether a line of the log is one that `JobLog` has written."""
    if not isinstance(row, dict) or not isinstance(row.get("event"), str):
        return False
    needed = _FIELDS.get(row["event"], ())
    return all(name in row for name in needed) and all(
        type(row[name]) in kinds and (type(row[name]) is not float or math.isfinite(row[name]))
        for name, kinds in _TYPES.items()
        if name in row
    )


class ResultStore:
    """Results of jobs, named by step and content: npz files, and beside each what the client gave (`records`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, work: Work) -> Path:
        """File of a job's result."""
        return self.folder / f"step-{work.step:03d}-{work.part}-{work.content[:TAG_LENGTH]}.npz"

    def save(self, work: Work, result: Expectations, provenance: dict[str, Any]) -> Path:
        """Write angles, values, standard errors and where they come from.

        Args:
            work: The angles and what identifies them.
            result: Values and standard errors, `(B, n_out)`.
            provenance: Backend, job and date, JSON-able.
        """
        path = self.path(work)
        if result.primitives:
            # First, since a result counts as stored when its npz file is there.
            write_primitive_results(path.with_suffix(".json"), result.primitives)
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                angles=work.angles,
                values=result.values,
                errors=result.errors,
                content=np.array(work.content),
                provenance=np.array(json.dumps(provenance)),
                steps=np.array(work.steps or [work.step] * len(work.angles), dtype=np.int64),
            )
        return path

    def load(self, work: Work) -> Expectations | None:
        """A stored result, or `None`.

        Raises:
            HardwareError: The file is damaged or belongs to other angles.
        """
        path = self.path(work)
        if not path.exists():
            return None
        stored = read_result(path)
        if str(stored["content"]) != work.content or not np.array_equal(stored["angles"], work.angles):
            raise HardwareError(f"`{path}` holds the result of another job: remove it")
        return Expectations(stored["values"], stored["errors"])


def read_result(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a result file.

    `angles` (B, n_in), `values` and `errors` (B, n_out), `content`, `provenance` (JSON) and, unless an earlier version
    wrote it, `steps` (B,).

    Raises:
        HardwareError: Not such a file.
    """
    stored = read_arrays(path, ("angles", "values", "errors", "content", "provenance"), optional=("steps",))
    angles, values, errors = (stored[name] for name in ("angles", "values", "errors"))
    steps = stored.get("steps", np.zeros(len(angles) if angles.ndim else 0, np.int64))
    numbers = all(array.dtype == np.float64 and array.ndim == 2 for array in (angles, values, errors))
    texts = all(stored[name].dtype.kind == "U" and stored[name].ndim == 0 for name in ("content", "provenance"))
    sound = numbers and texts and values.shape == errors.shape and len(values) == len(angles)
    sound = sound and _is_json(str(stored["provenance"]))
    if not sound or steps.dtype.kind != "i" or steps.shape != (len(angles),):
        raise HardwareError(f"`{path}` holds no result of a job: remove it")
    return stored


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
