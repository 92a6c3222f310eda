"""Where a run stands: its steps, its jobs, and what the service says of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from hardware.inference.reverse_process import ReverseState
from hardware.inference.workload import Workload, open_run, planned_workload
from hardware.jobs.execution_mode import ExecutionMode, silent
from hardware.jobs.job_log import PRODUCT_TAG, JobLog, run_id
from hardware.jobs.service_jobs import ServiceJobs
from hardware.service.backends import open_backend
from qhybrid.rundir import RunDirectory


def status(run: RunDirectory | str | Path) -> dict[str, Any]:
    """Where a run stands: the plan, the next denoising step, each job and its state at the service.

    Raises:
        HardwareError: Nothing was planned in this run directory.
    """
    workload = planned_workload(open_run(run))
    state = ReverseState.load(workload.state_file, workload.plan.key)
    log = JobLog(workload.run.hardware / "jobs.jsonl")
    jobs: dict[str, dict[str, Any]] = {}
    for row in log.rows():
        if row.get("plan") == workload.plan.key and "job" in row:
            known = jobs.setdefault(
                row["job"], {key: row[key] for key in ("job", "step", "steps", "part") if key in row}
            )
            known["state"] = row["event"]
    _ask_service(workload, log, jobs)
    done = state.step if state is not None else 0
    return {
        "backend": workload.plan.backend,
        "finished": done == workload.plan.steps,
        "step": done,
        "steps": workload.plan.steps,
        "qpu_steps": list(workload.plan.qpu_steps),
        "jobs": sorted(jobs.values(), key=lambda job: (job["step"], job["part"])),
    }


def _ask_service(workload: Workload, log: JobLog, jobs: dict[str, dict[str, Any]]) -> None:
    """Fill in the state of the jobs that are not finished, and those whose line was lost."""
    waiting = [known for known in jobs.values() if known["state"] == "submitted"]
    if workload.local:
        for known in waiting:
            known["state"] = "ended with its process"
        return
    backend = workload.device.backend
    again = partial(open_backend, workload.plan.backend)
    service = ServiceJobs(again, backend, ExecutionMode(backend, "job", log, lambda: None, silent), silent)
    for known in waiting:
        known["state"] = service.status(service.retrieve(known["job"])).lower()
    for job in service.tagged([PRODUCT_TAG, f"run:{run_id(workload.run)}"]):
        if job.job_id() not in {row.get("job") for row in log.rows()}:
            step = next((int(tag[5:]) for tag in job.tags if tag.startswith("step:")), -1)
            state = f"{service.status(job).lower()}, known by its tags alone"
            jobs[job.job_id()] = {"job": job.job_id(), "step": step, "part": 0, "state": state}
