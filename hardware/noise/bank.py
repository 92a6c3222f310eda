"""Quantum noise drawn from a device into a bank: plan, jobs, extraction, certificate.

Beside the bank `NAME.npz` lies the folder `NAME.hardware` with all that an interrupted draw goes on from, on another
machine as well, and from which a finished one can be checked: plan.json, circuit.qpy, calibration.json, jobs.jsonl and
results/ with the raw bits. Jobs go one after the other, since the yield of one decides whether another is needed.
"""

from __future__ import annotations

import hashlib
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

from qiskit.providers import BackendV2

from hardware.errors import HardwareError, JobError
from hardware.jobs.execution_mode import Echo, silent
from hardware.jobs.job_log import JobLog, Work, make_work
from hardware.jobs.runner import JobRunner
from hardware.jobs.tasks import Allowance, Bill, Task
from hardware.noise.circuits import repetitions
from hardware.noise.draw import NoiseDraw, is_complete, plan_noise
from hardware.noise.results import BitStore, Gathered, gather
from hardware.noise.yields import JobSize, job_options, job_seconds, split
from hardware.primitives.execution import collect_bits, expected_job
from hardware.service.account import is_local
from hardware.service.backends import open_backend
from hardware.service.modes import require_mode
from qhybrid.config import NoiseBankConfig
from qhybrid.diffusion.bank import BankRecord, write_bank
from qhybrid.diffusion.bits import Bits
from qhybrid.diffusion.certify import Certificate
from qhybrid.diffusion.making import certify
from qhybrid.interruption import interruptible
from qhybrid.locks import exclusive
from qhybrid.progress import progress

# A device that gives so much less than its calibration promises is not to be asked for ever.
MOST_FURTHER_JOBS = 8
# A shorter job gives somewhat less, since its min-entropy is known less well.
_FURTHER_MARGIN = 1.1
_STOPPED = "the bits that arrived are kept and jobs that were sent go on; go on with --resume"


def draw_noise(
    path: str | Path,
    config: NoiseBankConfig,
    *,
    yes: bool = False,
    resume: bool = False,
    wait_seconds: float | None = None,
    echo: Echo = silent,
    backend: BackendV2 | None = None,
) -> Certificate:
    """Draw a bank of quantum noise from a device, or from its local copy, and certify it.

    Args:
        path: The npz file; its record goes beside it, the state of the draw into `NAME.hardware`.
        config: Options of the draw: backend, source, number of normals, budget and more.
        yes: Permission to send jobs to a real device; a local one needs none.
        resume: Go on with an interrupted draw; what was paid is not paid again.
        wait_seconds: Longest time to wait for one job, in seconds; `None` waits for ever.
        echo: Called with lines that tell what goes on.
        backend: The configuration's backend where it has been opened before.

    Returns:
        The certificate, which stands in the record as well. A bank that fails is written all the same; training
        refuses it unless its configuration accepts it by name.

    Raises:
        HardwareError: As for `plan_noise`; `yes` is missing; a job failed or has not ended in time; the budget does
            not reach for the jobs that are still missing.
        Interrupted: SIGINT, SIGTERM or SIGHUP; what arrived is kept.
    """
    path = Path(path)
    if resume and is_complete(path):
        echo(f"`{path}` is complete")
        return certify(path)
    draw = plan_noise(path, config, resume=resume, backend=backend)
    return carry_out(draw, yes=yes, wait_seconds=wait_seconds, echo=echo)


def carry_out(
    draw: NoiseDraw, *, yes: bool = False, wait_seconds: float | None = None, echo: Echo = silent
) -> Certificate:
    """Send the jobs of a planned bank, write it, certify it; see `draw_noise`.

    Args:
        draw: The planned bank.
        yes: Whether jobs may be sent to a real device.
        wait_seconds: Longest wait for a queued job in seconds; None waits as long as it takes.
        echo: Is told what happens, a line at a time.

    Raises:
        HardwareError: A real device without `yes`; or its jobs fail or do not end in time.
    """
    _require_yes(draw, yes)
    with exclusive(draw.folder):
        return _carry_out(draw, wait_seconds, echo)


def _require_yes(draw: NoiseDraw, yes: bool) -> None:
    plan = draw.plan
    if not is_local(draw.backend):
        if not yes:
            raise HardwareError(
                f"`{plan.backend}` is a real device: send {plan.jobs} jobs of {plan.seconds:.0f} s in all with "
                "`qhybrid hardware noise --yes`"
            )
        require_mode(draw.backend, plan.mode)


def _carry_out(draw: NoiseDraw, wait_seconds: float | None, echo: Echo) -> Certificate:
    if draw.local_note:
        echo(draw.local_note)
    draw.save()
    log = JobLog(draw.folder / "jobs.jsonl")
    with interruptible(_STOPPED):
        gathered = _gather(draw, log, wait_seconds, echo)
    _write(draw, log, gathered)
    return certify(draw.path)


def _gather(draw: NoiseDraw, log: JobLog, wait_seconds: float | None, echo: Echo) -> Gathered:
    """Run the planned jobs, and further ones while numbers are missing."""
    plan, config = draw.plan, draw.config
    sizes = [plan.size] * plan.jobs
    runner = _Jobs(draw, log, sizes, wait_seconds, echo)
    gathered = gather(config, plan.patch)
    known: set[bytes] = set()
    with runner.jobs, progress("hardware", plan.jobs) as bar:
        for number, _ in enumerate(sizes):
            raw = runner.bits(number)
            known.add(hashlib.sha256(raw.tobytes()).digest())
            if len(known) <= number:
                raise JobError(f"job {number + 1} on `{plan.backend}` has the bits of an earlier one: draw anew")
            gathered.add(raw)
            bar(1)
            missing = config.normals - gathered.normals
            if number + 1 < len(sizes) or missing <= 0:
                continue
            if number + 1 == plan.jobs + MOST_FURTHER_JOBS:
                raise JobError(
                    f"`{plan.backend}` gives far fewer bits than its calibration says: {missing:,} of "
                    f"{config.normals:,} normals are missing after {number + 1} jobs; take another extractor or device"
                )
            further = _further(draw, gathered, missing, sizes)
            echo(
                f"{missing:,} of {config.normals:,} normals are missing, since the bits are less even than calibrated: "
                f"a further job of {further.executions:,} executions"
            )
            sizes.append(further)
    return gathered


def _further(draw: NoiseDraw, gathered: Gathered, missing: int, sizes: list[JobSize]) -> JobSize:
    """A job for what is missing, at the yield so far.

    Sized by the bits that arrived alone, so that a resumed draw finds it however the device was calibrated meanwhile.
    """
    rate = gathered.normals / sum(size.executions for size in sizes)
    wanted = math.ceil(_FURTHER_MARGIN * missing / rate) if rate else draw.plan.size.executions
    size, _ = split(min(wanted, draw.plan.size.executions), draw.backend, multiple=2)
    return size


class _Jobs:
    """The jobs of a draw, by number."""

    def __init__(
        self, draw: NoiseDraw, log: JobLog, sizes: list[JobSize], wait_seconds: float | None, echo: Echo
    ) -> None:
        plan = draw.plan
        self._draw = draw
        self._sizes = sizes
        self._device = draw.circuit.program(draw.backend)
        self._executed = draw.circuit.executed(draw.backend)
        task: Task[Bits] = Task(
            device=self._device,
            executed=self._executed,
            options=lambda work: job_options(sizes[work.step]),
            collect=self._collect,
            title=lambda work: f"job {work.step + 1}",
            settings={"backend": plan.backend, "calibrated": plan.calibrated, "draw": plan.draw},
        )
        bill = Bill(plan.key, f"noise-{plan.key}", plan.backend, plan.mode, plan.budget_seconds, plan.calibrated)
        allowance = Allowance(new_rounds=None, wait=True, wait_seconds=wait_seconds)
        reopen = partial(open_backend, plan.backend)
        self.jobs = JobRunner(task, bill, log, BitStore(draw.folder / "results"), reopen, allowance, echo)

    def bits(self, number: int) -> Bits:
        """Bits `(shots, qubits)` of a job: stored, found, or sent and waited for."""
        plan, size = self._draw.plan, self._sizes[number]
        settings = {"draw": plan.draw, "plan": plan.key, "shots": size.shots, "repeats": size.repeats}
        seconds = job_seconds(self._draw.backend, self._draw.circuit, size)
        angles = repetitions(self._device, size.repeats)
        work = make_work(self._device, number, 0, angles, settings, seconds)
        return self.jobs.results([work])[0]

    def _collect(self, job: Any, work: Work) -> Bits:
        options = job_options(self._sizes[work.step])
        return collect_bits(job, expected_job(self._executed, work.angles, options))


def _write(draw: NoiseDraw, log: JobLog, gathered: Gathered) -> None:
    from qiskit import qasm3

    plan, config = draw.plan, draw.config
    rows = log.results(plan.key)
    provenance = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "backend": plan.backend,
        "device": plan.device,
        "local": is_local(draw.backend),
        "draw": plan.draw,
        "job_ids": [row["job"] for row in rows if "job" in row],
        "device_seconds": log.seconds_spent(plan.key, local=is_local(draw.backend)),
        "qubits": list(plan.qubits),
        "calibration": plan.calibrated,
        "circuit": qasm3.dumps(draw.circuit.circuit),
        **gathered.provenance(),
    }
    name = config.name or f"{draw.path.stem}-{plan.backend}"
    record = BankRecord(name, plan.source, gathered.shape, gathered.law(), provenance, "")
    write_bank(draw.path, record, gathered.pieces())
