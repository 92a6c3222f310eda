"""The only door to Runtime's primitives: what will be sent, sending it, and judging what comes back.

`prepare` is Runtime's own first half of `Estimator.run` and pure: the executions of a job, mitigation included, are
known before anything is sent, and a result can be held against them. Runtime accepts one with half the shots silently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.primitive_job import PrimitiveJob
from qiskit.providers import BackendV2
from qiskit.transpiler.exceptions import TranspilerError
from qiskit_ibm_runtime import RuntimeJobV2
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.decoders.executor_estimator.decoder import ClientSideEstimatorDecoder
from qiskit_ibm_runtime.decoders.executor_sampler.decoder import ClientSideSamplerResultDecoder
from qiskit_ibm_runtime.exceptions import IBMInputValueError
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_estimator.prepare import prepare
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.executor_sampler.prepare import prepare as prepare_sampler
from qiskit_ibm_runtime.options_models.sampler import SamplerOptions
from samplomatic.exceptions import SamplexConstructionError  # type: ignore[import-untyped]

from hardware.errors import HardwareError, ResultError
from hardware.placement.program import Program
from hardware.placement.sharing import copy_of_each, in_order_of_images
from hardware.primitives.expected_job import Expectations, ExpectedJob
from hardware.primitives.mixed_parameters import with_expressions
from hardware.primitives.options import MitigatedSamplerOptions, estimator_options
from hardware.primitives.patches import PatchJobs, shares
from hardware.primitives.readout import REGISTER, Readout, sampler_pubs
from hardware.service.backends import rep_delay
from hardware.service.client_faults import judge, one_line
from qhybrid.quantum.devices.snapshots import CroppedBackend

__all__ = [
    "SECONDS_PER_JOB",
    "Expectations",
    "ExpectedJob",
    "collect",
    "collect_bits",
    "estimator_options",
    "expected_job",
    "job_sender",
]

SECONDS_PER_JOB = 2.0


def expected_job(program: Program, angles: NDArray[np.float64], options: Any) -> ExpectedJob:
    """What a job will execute and take, found out without the network.

    Args:
        program: The circuit on the device.
        angles: Input angles of the parameter sets, `(B, n_in)`, in radians.
        options: Options of the Estimator or of the Sampler.
    """
    if program.parts:
        # Copies of one circuit with as many images each are prepared alike.
        one_of_each = {len(mine): (part, mine) for part, mine in shares(program, angles)}
        by_size = {size: expected_job(part, mine, options) for size, (part, mine) in one_of_each.items()}
        parts = tuple(by_size[len(mine)] for _, mine in shares(program, angles))
        return ExpectedJob(
            executions=sum(part.executions for part in parts),
            seconds=sum(part.seconds for part in parts),
            parameter_bytes=sum(part.parameter_bytes for part in parts),
            shapes=(),
            copies=len(parts),
            parts=parts,
        )
    quantum_program = _prepare(program, angles, options)
    shots = int(quantum_program.shots)
    delay = rep_delay(program.backend)
    executions = [shots * int(item.size()) for item in quantum_program.items]
    lengths = [_duration(item.circuit, program.backend) for item in quantum_program.items]
    return ExpectedJob(
        executions=sum(executions),
        seconds=SECONDS_PER_JOB
        + sum(count * (delay + length) for count, length in zip(executions, lengths, strict=True)),
        parameter_bytes=8 * program.pack(angles).size,
        shapes=tuple((*(int(n) for n in item.shape), shots) for item in quantum_program.items),
        copies=program.copies,
        readout=Readout.of(program.observables) if isinstance(options, SamplerOptions) else None,
    )


def job_sender(program: Program, angles: NDArray[np.float64], options: Any) -> Callable[[Any], Any]:
    """Make a job ready to be sent: all observables against all angles.

    Everything of our own is done here. The function that is returned only calls the client, so that whatever it raises
    is the client's, for `ServiceJobs` to judge.

    Args:
        program: Program to be executed. Copies that are simulated one by one are a local job each.
        angles: Input angles of the parameter sets, `(B, n_in)`, in radians.
        options: Options of the Estimator or of the Sampler, whose type decides for one of them.

    Returns:
        A function that takes a backend, batch or session, sends the job there and returns it without waiting.

    Raises:
        HardwareError: The Sampler cannot measure an observable.
    """
    if program.parts:
        senders = []
        for number, (part, mine) in enumerate(shares(program, angles)):
            own = options.model_copy(deep=True)
            if own.simulator.seed_simulator is not None:
                # One seed for all copies would give them one noise.
                own.simulator.seed_simulator += number
            senders.append((job_sender(part, mine, own), part.backend))
        return lambda mode: PatchJobs(tuple(send(backend) for send, backend in senders))
    primitive = Sampler if isinstance(options, SamplerOptions) else Estimator
    pubs = _pubs(program, angles, options)

    def send(mode: Any) -> Any:
        place = mode.simulator if isinstance(mode, CroppedBackend) else mode
        return primitive(mode=place, options=options).run(pubs)

    return send


def collect(job: Any, expected: ExpectedJob, outputs: int, samples: int) -> Expectations:
    """Take the result of a job that is done, and check it before it counts.

    Args:
        job: Sent, or found again; a local one is waited for.
        expected: Expected job that `expected_job` gave for the same angles and options.
        outputs: Number of expectation values per parameter set, n_out.
        samples: Number of parameter sets, B.

    Raises:
        ResultError: It is damaged; shots are missing; a shape is wrong; a value is not finite.
        Exception: The client's own, where the service has not given it.
    """
    if isinstance(job, PatchJobs):
        copies = len(job.jobs)
        counts = np.bincount(copy_of_each(samples, copies), minlength=copies)
        found = [
            collect(mine, part, outputs, int(count))
            for mine, part, count in zip(job.jobs, expected.parts, counts, strict=True)
        ]
        return Expectations(
            in_order_of_images([part.values for part in found], samples, copies),
            in_order_of_images([part.errors for part in found], samples, copies),
            tuple(primitive for part in found for primitive in part.primitives),
        )
    raw = _raw_result(job)
    _measured(job, raw, expected)
    primitive = (ClientSideEstimatorDecoder if expected.readout is None else ClientSideSamplerResultDecoder).decode(raw)
    values, errors, without_error = _estimates(primitive, expected.readout)
    wanted = (-(-samples // expected.copies), expected.copies * outputs)
    for name, array in (("values", values), ("standard errors", errors)):
        if array.shape != wanted:
            raise ResultError(f"job {job.job_id()}: {name} of shape {array.shape} instead of {wanted}")
    finite = np.isfinite(values) & (np.isfinite(errors) | without_error)
    if not finite.all():
        raise ResultError(f"job {job.job_id()}: {np.count_nonzero(~finite)} values or standard errors are not finite")
    errors = np.where(np.isfinite(errors), errors, np.nan)
    return Expectations(values.reshape(-1, outputs)[:samples], errors.reshape(-1, outputs)[:samples], (primitive,))


def collect_bits(job: Any, expected: ExpectedJob) -> NDArray[np.uint8]:
    """Take the sampled bits of a job that is done, of a circuit without parameters, and check them.

    Args:
        job: Job of the client, sent or found again; a local one is waited for.
        expected: Result of `expected_job` for a program whose observables are the Z of one qubit each.

    Returns:
        Bits 0 and 1, uint8 `(shots, observables)`: shots in the order in which they were taken, of all repetitions of
        the circuit.

    Raises:
        ResultError: As for `collect`; or something is neither 0 nor 1, or is there twice.
    """
    if isinstance(job, PatchJobs):
        parts = [collect_bits(mine, part) for mine, part in zip(job.jobs, expected.parts, strict=True)]
        return np.concatenate(parts, axis=1)
    assert expected.readout is not None  # bits are sampled
    items = _measured(job, _raw_result(job), expected)
    width = len(expected.readout.qubits)
    if any(item.shape[-1] != width or not np.isin(item, (0, 1)).all() for item in items):
        raise ResultError(f"job {job.job_id()}: not every shot holds {width} bits of 0 or 1")
    if len({item.tobytes() for item in items}) < len(items):
        raise ResultError(f"job {job.job_id()}: two of its circuits have the same bits, shot by shot")
    return np.concatenate(items).astype(np.uint8)[:, expected.readout.columns()]


def _measured(job: Any, raw: Any, expected: ExpectedJob) -> list[NDArray[Any]]:
    """Measured bits of each item of a result, of the expected shapes.

    Raises:
        ResultError: There are none, or shots are missing.
    """
    register = "_meas" if expected.readout is None else REGISTER
    try:
        measured = [np.asarray(item[register]) for item in raw]
    except (TypeError, KeyError, IndexError):
        raise ResultError(f"job {job.job_id()}: the result holds no measured bits ({type(raw).__name__})") from None
    shapes = tuple(item.shape[:-1] for item in measured)
    if shapes != expected.shapes:
        raise ResultError(f"job {job.job_id()}: measured bits of shape {shapes} instead of {expected.shapes}")
    return measured


def _prepare(program: Program, angles: NDArray[np.float64], options: Any) -> Any:
    chosen = prepare_sampler if isinstance(options, SamplerOptions) else prepare
    try:
        quantum_program, _ = chosen(_pubs(program, angles, options), options, backend=program.backend)
    except SamplexConstructionError as error:
        raise HardwareError(
            f"`{program.backend.name}`: its gates cannot be twirled ({' '.join(str(error).split())}): use level 0 or 1 "
            "without twirling, or a device's local copy"
        ) from None
    except TranspilerError as error:
        raise HardwareError(
            f"`{program.backend.name}`: waiting qubits cannot be decoupled ({one_line(error.message)}): leave "
            "dynamical_decoupling out (--dd none), or choose a device that states durations"
        ) from None
    except IBMInputValueError as error:
        raise HardwareError(f"these options do not go together: {one_line(error)}") from None
    return quantum_program


def _pubs(program: Program, angles: NDArray[np.float64], options: Any) -> list[Any]:
    program = replace(program, circuit=with_expressions(program.circuit))
    if isinstance(options, SamplerOptions):
        return sampler_pubs(program, angles, isinstance(options, MitigatedSamplerOptions))
    return [program.pub(angles)]


def _estimates(primitive: Any, readout: Readout | None) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Values, standard errors, and whether a value may come without its error."""
    if readout is None:
        data = primitive[0].data
        # One row per observable; a packed row holds the observables of all copies.
        return np.asarray(data.evs, dtype=float).T, np.asarray(data.stds, dtype=float).T, "evs_extrapolated" in data
    bits = [item.data[REGISTER].to_bool_array(order="little") for item in primitive]
    calibration = np.stack([item.reshape(-1, item.shape[-1]) for item in bits[1:]]) if len(bits) > 1 else None
    return *readout.estimate(bits[0], calibration), False


def _raw_result(job: Any) -> Any:
    if not isinstance(job, RuntimeJobV2):
        # A local job's own `result` decodes at once; the counts are checked before that.
        return PrimitiveJob.result(job)
    try:
        return job.result(decoder=[ExecutorResultDecoder])
    except Exception as error:
        fault = judge(error)
        if fault.kind != "refused" or fault.status not in (None, 404):
            # The service has not given it: nothing is known of the result itself. One that it has lost is no result.
            raise
        raise ResultError(f"job {job.job_id()}: its result cannot be read ({fault.message})") from None


def _duration(circuit: Any, backend: BackendV2) -> float:
    """Seconds of one execution; 0 where the backend states no durations (an ideal simulator)."""
    from qiskit.exceptions import QiskitError

    try:
        return float(circuit.estimate_duration(backend.target, unit="s"))
    except QiskitError:
        return 0.0
