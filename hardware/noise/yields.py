"""How many executions a bank takes, and how they are shared out among jobs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from qiskit.providers import BackendV2
from qiskit_ibm_runtime.options_models.sampler import SamplerOptions

from hardware.errors import HardwareError
from hardware.noise.circuits import NoiseCircuit, readout_errors, repetitions
from hardware.primitives.execution import expected_job
from hardware.service import limits
from hardware.service.account import is_local
from qhybrid.config import NoiseBankConfig
from qhybrid.diffusion.bits import HASH_BLOCK, toeplitz_rate

# Our choice: at 250 us per execution a job that fails costs two minutes, and its bits fit into memory many times over.
EXECUTIONS_PER_JOB = 500_000
# Fewer tell too little of a qubit's bias, and a job takes 2 s anyway.
LEAST_EXECUTIONS = 4096
# Bits more than the expected yield, since the calibration is not of the minute, and standard errors against chance.
_MARGIN = 0.02
_SIGMAS = 5.0
# Of the least min-entropy among all qubits: 99 % confidence of each, and the unluckiest of a hundred.
_ENTROPY_SIGMAS = 6.0


@dataclass(frozen=True)
class JobSize:
    """What each job executes: `repeats` circuits of `shots` shots.

    Attributes:
        shots: Shots of each circuit.
        repeats: Number of circuits in the job.
    """

    shots: int
    repeats: int

    @property
    def executions(self) -> int:
        """Circuit executions of one job, each of one shot."""
        return self.shots * self.repeats


def job_options(size: JobSize) -> SamplerOptions:
    """Options of a job: the bits as the device gives them, since twirling would mix in pseudo-random ones."""
    options = SamplerOptions(default_shots=size.shots)
    options.twirling.enable_gates = False
    options.twirling.enable_measure = False
    return options


def job_seconds(backend: BackendV2, circuit: NoiseCircuit, size: JobSize) -> float:
    """Estimated device time of one job.

    Args:
        backend: Device, or its local copy, with the durations of its gates.
        circuit: Circuit to be executed, and its measured qubits.
        size: Shots and repetitions of the job.
    """
    program = circuit.program(backend)
    return expected_job(program, repetitions(program, size.repeats), job_options(size)).seconds


def split(executions: int, backend: BackendV2, *, multiple: int, least: int = LEAST_EXECUTIONS) -> tuple[JobSize, int]:
    """Jobs that execute at least so often, all alike.

    Args:
        executions: Number of executions wanted in all.
        backend: States the shots that a circuit may have.
        multiple: Shots of a circuit are one of this.
        least: Executions of a job are not fewer.

    Raises:
        HardwareError: The device takes fewer shots than a circuit needs.
    """
    jobs = math.ceil(executions / EXECUTIONS_PER_JOB)
    each = max(least, math.ceil(executions / jobs))
    # A local simulator takes any number, and would give every circuit of a job the same shots, from one seed.
    limit = each + multiple if is_local(backend) else int(getattr(backend, "max_shots", None) or limits.MAX_SHOTS)
    most = limit // multiple * multiple
    if not most:
        raise HardwareError(f"`{backend.name}` takes fewer than {multiple} shots of a circuit: take fewer shots")
    repeats = math.ceil(each / most)
    return JobSize(math.ceil(each / repeats / multiple) * multiple, repeats), jobs


def executions_for_bits(backend: BackendV2, circuit: NoiseCircuit, config: NoiseBankConfig) -> int:
    """Executions that give the numbers wanted but for very bad luck, as far as the calibration tells.

    Args:
        backend: Device, or its local copy, with its calibration.
        circuit: Circuit to be executed, and its measured qubits.
        config: Numbers wanted and how bits are extracted.
    """
    bits = config.normals * config.resolution
    qubits = len(circuit.qubits)
    executions = bits / (bit_rate(backend, circuit, config) * config.resolution)
    if config.extractor == "toeplitz":
        # The estimate of the min-entropy is the tighter the more shots there are, and blocks are whole.
        for _ in range(8):
            shots = min(max(executions, LEAST_EXECUTIONS), EXECUTIONS_PER_JOB)
            rate = bit_rate(backend, circuit, config, shots=shots) * config.resolution
            executions = (bits + HASH_BLOCK * math.ceil(executions / EXECUTIONS_PER_JOB)) / rate
        executions *= 1 + _MARGIN
    elif config.extractor == "von_neumann":
        # Each pair of shots of a qubit gives a bit with a probability of about 1/2.
        chance = _SIGMAS * math.sqrt(executions * qubits / 8) / (qubits / 4)
        executions = executions * (1 + _MARGIN) + chance
    return math.ceil(executions)


def bit_rate(
    backend: BackendV2, circuit: NoiseCircuit, config: NoiseBankConfig, *, shots: float = EXECUTIONS_PER_JOB
) -> float:
    """Normal numbers that one execution is expected to give, from the calibrated readout errors.

    Args:
        backend: The device, for its calibration.
        circuit: The measured qubits.
        config: Options of the draw, which name the extractor of bits.
        shots: Shots of a job, by which the min-entropy is estimated.

    Raises:
        HardwareError: Readout is so poor that no bit is left.
    """
    errors = readout_errors(backend, circuit.qubits)
    ones = (1 - errors[:, 1] + errors[:, 0]) / 2
    if config.extractor == "von_neumann":
        bits = float((ones * (1 - ones)).sum())
    elif config.extractor == "none":
        bits = float(len(ones))
    else:
        share = float(np.maximum(ones, 1 - ones).max()) + _ENTROPY_SIGMAS * 0.5 / math.sqrt(shots)
        bits = len(ones) * toeplitz_rate(-math.log2(min(share, 1.0)))
    if not bits:
        raise HardwareError(
            f"`{backend.name}` reads its qubits too unevenly for the toeplitz extractor: lower max_readout_error"
        )
    return bits / config.resolution
