"""The only door to Runtime's primitives: what will be sent, sending it, and judging what comes back.

`prepare` is Runtime's own first half of `Estimator.run` and pure: the executions of a job, mitigation included, are
known before anything is sent, and a result can be held against them. Runtime accepts one with half the shots silently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.primitive_job import PrimitiveJob
from qiskit.providers import BackendV2
from qiskit_ibm_runtime import Batch, RuntimeJobV2, Session
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.decoders.executor_estimator.decoder import ClientSideEstimatorDecoder
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_estimator.prepare import prepare
from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions

from hardware.backends import is_local, rep_delay
from hardware.errors import HardwareError, JobError
from hardware.transpilation import Program

Mode = Literal["job", "batch", "session"]
SECONDS_PER_JOB = 2.0


@dataclass(frozen=True)
class Prepared:
    """What a job will make the device do.

    Attributes:
        executions: Circuit executions in all, each of one shot.
        seconds: Estimated device time.
        parameter_bytes: Size of the parameter values in the request.
        shapes: Expected shape of each item's measured bits, without the last axis (bits).
    """

    executions: int
    seconds: float
    parameter_bytes: int
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Expectations:
    """Checked result of a job.

    Attributes:
        values: Expectation values `(B, n_out)`; mitigated ones may leave [-1, 1].
        errors: Standard errors `(B, n_out)` as stated by the Estimator; NaN where its extrapolation to zero noise
            (level 2) has a value and an infinite error, as the fit to points without a trend has.
    """

    values: NDArray[np.float64]
    errors: NDArray[np.float64]


def estimator_options(
    level: int, shots: int, *, seed: int | None = None, tags: Sequence[str] = (), max_seconds: float | None = None
) -> EstimatorOptions:
    """Options of a job.

    Args:
        level: Resilience level 0, 1 or 2.
        shots: Per parameter set (and per noise factor at level 2).
        seed: For a local simulation only; devices draw their own randomness.
        tags: Found again with `find_job`.
        max_seconds: The service ends the job after that much device time.
    """
    options = EstimatorOptions(resilience_level=level, default_shots=shots)
    options.environment.job_tags = list(tags)
    options.simulator.seed_simulator = seed
    if max_seconds is not None:
        options.max_execution_time = max(1, math.floor(max_seconds))
    return options


def prepared(program: Program, angles: NDArray[np.float64], options: EstimatorOptions) -> Prepared:
    """What a job with these angles `(B, n_in)` will execute; no network."""
    quantum_program, _ = prepare([program.pub(angles)], options, backend=program.backend)
    shots = int(quantum_program.shots)
    delay = rep_delay(program.backend)
    executions = [shots * int(item.size()) for item in quantum_program.items]
    lengths = [_duration(item.circuit, program.backend) for item in quantum_program.items]
    return Prepared(
        executions=sum(executions),
        seconds=SECONDS_PER_JOB
        + sum(count * (delay + length) for count, length in zip(executions, lengths, strict=True)),
        parameter_bytes=8 * angles.size,
        shapes=tuple((*(int(n) for n in item.shape), shots) for item in quantum_program.items),
    )


@contextmanager
def execution_mode(backend: BackendV2, mode: Mode) -> Iterator[Any]:
    """What to pass to `submit`; a batch or session is closed however the block is left, Ctrl-C included.

    Local simulation knows jobs only. Where one session of the device is open, all jobs of the block run in it.
    """
    if mode == "job" or is_local(backend):
        yield backend
        return
    opened = (Session if mode == "session" else Batch)(backend=backend)
    try:
        yield opened
    finally:
        opened.close()


def submit(program: Program, angles: NDArray[np.float64], options: EstimatorOptions, mode: Any) -> Any:
    """Send one job: one pub, all observables against all angles.

    Returns:
        The job, not waited for.

    Raises:
        JobError: The service refuses it.
    """
    from qiskit_ibm_runtime.exceptions import IBMError

    try:
        return Estimator(mode=mode, options=options).run([program.pub(angles)])
    except IBMError as error:
        raise JobError(f"`{program.backend.name}` does not accept the job: {' '.join(str(error).split())}") from None


def find_job(backend: BackendV2, tags: Sequence[str]) -> Any | None:
    """The first job of the account on this device that carries all the tags, or `None`; `None` for a local device."""
    if is_local(backend):
        return None
    found = backend.service.jobs(limit=None, backend_name=backend.name, job_tags=list(tags), descending=False)
    return found[0] if found else None


def retrieve_job(backend: BackendV2, job_id: str) -> Any | None:
    """A job sent earlier, perhaps by another process; `None` if it was a local one, which ended with its process."""
    from qiskit_ibm_runtime.exceptions import IBMError

    if is_local(backend):
        return None
    try:
        return backend.service.job(job_id)
    except IBMError as error:
        raise JobError(f"job {job_id} on `{backend.name}`: {' '.join(str(error).split())}") from None


def job_status(job: Any) -> str:
    """`QUEUED`, `RUNNING`, `DONE`, `ERROR` or `CANCELLED`."""
    status = job.status()
    return str(getattr(status, "name", status))


def collect(job: Any, expected: Prepared, outputs: int, samples: int) -> Expectations:
    """Wait for a job and check its result before it counts.

    Args:
        job: From `submit`, `find_job` or `retrieve_job`.
        expected: From `prepared`, with the same angles and options.
        outputs: n_out.
        samples: B.

    Raises:
        JobError: The job failed or was cancelled; shots are missing; a shape is wrong; a value is not finite.
    """
    raw = _raw_result(job)
    try:
        measured = [np.asarray(item["_meas"]) for item in raw]
    except (TypeError, KeyError, IndexError):
        raise JobError(f"job {job.job_id()}: the result holds no measured bits ({type(raw).__name__})") from None
    shapes = tuple(item.shape[:-1] for item in measured)
    if shapes != expected.shapes:
        raise JobError(f"job {job.job_id()}: measured bits of shape {shapes} instead of {expected.shapes}")
    data = ClientSideEstimatorDecoder.decode(raw)[0].data
    values = np.asarray(data.evs, dtype=np.float64).T
    errors = np.asarray(data.stds, dtype=np.float64).T
    for name, array in (("values", values), ("standard errors", errors)):
        if array.shape != (samples, outputs):
            raise JobError(f"job {job.job_id()}: {name} of shape {array.shape} instead of {(samples, outputs)}")
    finite = np.isfinite(values) & (np.isfinite(errors) | ("evs_extrapolated" in data))
    if not finite.all():
        raise JobError(f"job {job.job_id()}: {np.count_nonzero(~finite)} values or standard errors are not finite")
    errors = np.where(np.isfinite(errors), errors, np.nan)
    return Expectations(values, errors)


def _raw_result(job: Any) -> Any:
    from qiskit.providers.exceptions import JobError as ProviderJobError
    from qiskit_ibm_runtime.exceptions import IBMError

    try:
        if isinstance(job, RuntimeJobV2):
            return job.result(decoder=[ExecutorResultDecoder])
        # A local job's own `result` decodes at once; the counts are checked before that.
        return PrimitiveJob.result(job)
    except (IBMError, ProviderJobError) as error:
        raise JobError(f"job {job.job_id()}: {' '.join(str(error).split())}") from None


def _duration(circuit: Any, backend: BackendV2) -> float:
    """Seconds of one execution; 0 where the backend states no durations (an ideal simulator)."""
    from qiskit.exceptions import QiskitError

    try:
        return float(circuit.estimate_duration(backend.target, unit="s"))
    except QiskitError:
        return 0.0


def require_mode(backend: BackendV2, mode: Mode) -> None:
    """Refuse a session on an Open plan before it is asked for.

    Raises:
        HardwareError: The plan has no sessions.
    """
    if mode != "session" or is_local(backend):
        return
    plans = {item.get("crn"): str(item.get("plan", "")) for item in backend.service.instances()}
    if plans.get(backend._instance, "").lower() == "open":
        raise HardwareError(f"`{backend.name}`: an Open plan has no sessions; use --mode job or --mode batch")
