"""Where a run stands: its steps, its jobs, and what the service says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hardware.errors import HardwareError, UnknownJobError
from hardware.inference.reverse_process import ReverseState
from hardware.inference.workload import open_run
from hardware.jobs.job_log import PRODUCT_TAG, JobLog, run_id
from hardware.planning.bill import Plan
from hardware.runs.flight import service_jobs
from hardware.service.backends import is_local_name
from hardware.service.outages import LOOK_UP_SECONDS
from qhybrid.rundir import RunDirectory

UNKNOWN = "not known to the service any more"


def status(run: RunDirectory | str | Path) -> dict[str, Any]:
    """Where a run stands: the plan, the next denoising step, each job and its state at the service.

    Returns:
        `backend`, `finished`, `step`, `steps`, `qpu_steps`, `seconds` (planned), `charged` (so far, as far as it is
        known), `jobs` with `job`, `step`, `part`, `state`, `seconds`, `charged`, and `note`: why the service could not
        be asked, if it could not; then the states are the last that were written down.

    Raises:
        HardwareError: Nothing was planned in this run directory.
    """
    directory = open_run(run)
    file = directory.hardware / "plan.json"
    if not file.exists():
        raise HardwareError(f"`{directory.path}` has no hardware plan: run `qhybrid hardware plan` or `infer` first")
    plan = Plan.load(file)
    state = ReverseState.load(directory.hardware / "state.npz", plan.key)
    log = JobLog(directory.hardware / "jobs.jsonl")
    jobs: dict[str, dict[str, Any]] = {}
    for row in log.rows():
        if row.get("plan") == plan.key and "job" in row:
            known = jobs.setdefault(
                row["job"],
                {key: row[key] for key in ("job", "step", "steps", "part") if key in row}
                | {"seconds": row.get("seconds"), "charged": None},
            )
            known["state"] = known.get("state", row["event"]) if row["event"] == "charged" else row["event"]
            known["charged"] = row.get("charged", known["charged"])
    note = _ask_service(directory, plan, log, jobs)
    done = state.step if state is not None else 0
    return {
        "backend": plan.backend,
        "finished": done == plan.steps,
        "step": done,
        "steps": plan.steps,
        "qpu_steps": list(plan.qpu_steps),
        "seconds": plan.seconds,
        "charged": sum(job["charged"] or 0.0 for job in jobs.values()),
        "jobs": sorted(jobs.values(), key=lambda job: (job["step"], job["part"])),
        "note": note,
    }


def _ask_service(run: RunDirectory, plan: Plan, log: JobLog, jobs: dict[str, dict[str, Any]]) -> str | None:
    """Fill in the state of the jobs that are not finished, and those whose line was lost; say why if it cannot be."""
    waiting = [known for known in jobs.values() if known["state"] == "submitted"]
    if is_local_name(plan.backend):
        for known in waiting:
            known["state"] = "ended with its process"
        return None
    try:
        service = service_jobs(run, plan.backend, patience=LOOK_UP_SECONDS)
        for known in waiting:
            try:
                known["state"] = service.status(service.retrieve(known["job"])).lower()
            except UnknownJobError:
                known["state"] = UNKNOWN
        for known in jobs.values():
            if known["charged"] is None and known["state"] in ("done", "error", "cancelled", "refused"):
                known["charged"] = service.charged(service.retrieve(known["job"]))
        written = {row.get("job") for row in log.rows()}
        for job in service.tagged([PRODUCT_TAG, f"run:{run_id(run)}"]):
            if job.job_id() not in written:
                step = next((int(tag[5:]) for tag in job.tags if tag.startswith("step:")), -1)
                state = f"{service.status(job).lower()}, known by its tags alone"
                jobs[job.job_id()] = {"job": job.job_id(), "step": step, "part": 0, "state": state}
                jobs[job.job_id()] |= {"seconds": None, "charged": service.charged(job)}
    except HardwareError as error:
        return f"{error}; shown is what was written down last"
    return None
