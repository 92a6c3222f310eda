"""What circuits that are sent together cost on a device: jobs within the service's limits, executions, seconds.

Seconds are 2 per job + (repetition delay + circuit length) x executions; in a session, which is billed by wall clock,
the classical network's time between two jobs is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hardware.errors import HardwareError
from hardware.placement.program import Program, without_idle_qubits
from hardware.primitives.execution import ExpectedJob, expected_job
from hardware.primitives.options import LEVEL_MITIGATION, job_options
from hardware.service import limits
from qhybrid.config import HardwareConfig


@dataclass(frozen=True)
class RoundCost:
    """Circuits that are sent together.

    Attributes:
        jobs: Number of jobs that their parameter sets are split into.
        executions: Circuit executions of all of them.
        seconds: Estimated device time in seconds.
        parameter_bytes: Size in bytes of the parameter values in the largest request.
    """

    jobs: int
    executions: int
    seconds: float
    parameter_bytes: int

    def times(self, rounds: int) -> dict[str, Any]:
        """The price of as many such rounds: `jobs`, `executions`, `seconds`, `rounds`."""
        return {
            "jobs": self.jobs * rounds,
            "executions": self.executions * rounds,
            "seconds": self.seconds * rounds,
            "rounds": rounds,
        }


def round_cost(program: Program, config: HardwareConfig, sets: int) -> RoundCost:
    """Cost of circuits that are sent together, split into jobs at the service's limits.

    Args:
        program: The circuit on the device.
        config: Options of the run.
        sets: Parameter sets; of one denoising step, one per image at most.

    Raises:
        HardwareError: A single parameter set is over the limits.
    """
    options = job_options(config)
    jobs = math.ceil(math.ceil(sets / program.copies) / limits.MAX_PARAMETER_SETS_PER_JOB)
    while True:
        largest = _prepare(program, math.ceil(sets / jobs), options)
        excess = max(
            largest.executions / limits.MAX_EXECUTIONS_PER_JOB,
            largest.seconds / limits.MAX_SECONDS_PER_JOB,
            largest.parameter_bytes / limits.MAX_PARAMETER_BYTES_PER_JOB,
        )
        if excess <= 1:
            break
        if jobs == sets:
            raise HardwareError(
                f"one image takes {largest.executions:,} executions and {largest.seconds:.0f} s, a job at most "
                f"{limits.MAX_EXECUTIONS_PER_JOB:,} and {limits.MAX_SECONDS_PER_JOB:.0f} s "
                f"({limits.JOB_LIMITS_PAGE}): take fewer shots"
            )
        jobs = min(sets, max(jobs + 1, math.ceil(jobs * excess)))
    sizes = part_sizes(sets, jobs)
    by_size = {size: largest if size == sizes[0] else _prepare(program, size, options) for size in set(sizes)}
    return RoundCost(
        jobs=jobs,
        executions=sum(by_size[size].executions for size in sizes),
        seconds=sum(by_size[size].seconds for size in sizes),
        parameter_bytes=largest.parameter_bytes,
    )


def run_cost(cost_of: Callable[[int], RoundCost], sets: int, rounds: int, references: int) -> RoundCost:
    """Cost of a whole run.

    Args:
        cost_of: Function that gives the cost of a number of parameter sets that are sent together.
        sets: Number of parameter sets in a round.
        rounds: Number of rounds in the run.
        references: Number of further parameter sets in the first round.
    """
    first, later = cost_of(sets + references), cost_of(sets)
    return RoundCost(
        jobs=first.jobs + (rounds - 1) * later.jobs,
        executions=first.executions + (rounds - 1) * later.executions,
        seconds=first.seconds + (rounds - 1) * later.seconds,
        parameter_bytes=max(first.parameter_bytes, later.parameter_bytes),
    )


def costs_by_level(
    program: Program,
    config: HardwareConfig,
    cost: RoundCost,
    sets: int,
    rounds: int,
    references: int = 0,
    unet_seconds: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """What the same circuits would take at each resilience level of the Estimator, and with the Sampler.

    Twirling and decoupling are kept, mitigation is that of the level. What cannot run is left out: the Sampler where an
    observable is not diagonal, a level at which one image is over the limits, extrapolation with fractional gates.

    Args:
        program: The circuit on the device.
        config: Options as configured.
        cost: Cost of the run as configured.
        sets: Number of parameter sets in a round.
        rounds: Number of rounds in the run.
        references: Number of further parameter sets in the first round.
        unet_seconds: Time of the network at home in all steps on the device, which a session is billed for.
    """
    narrow = without_idle_qubits(program)
    levels = (0, 1) if config.fractional_gates else (0, 1, 2)
    variants: list[dict[str, Any]] = [{"primitive": "estimator", "level": level} for level in levels]
    for variant in [*variants, {"primitive": "sampler", "level": 0}]:
        changed = {**variant, **LEVEL_MITIGATION}
        own = all(getattr(config, key) == value for key, value in changed.items())
        try:
            there = config.model_copy(update=changed)
            priced = cost if own else run_cost(partial(round_cost, narrow, there), sets, rounds, references)
        except HardwareError:
            continue
        waiting = unet_seconds if config.mode == "session" else 0.0
        yield {
            **variant,
            "jobs": priced.jobs,
            "executions": priced.executions,
            "seconds": priced.seconds + waiting,
            "parameter_bytes": priced.parameter_bytes,
        }


def part_sizes(sets: int, jobs: int) -> list[int]:
    """Parameter sets per job, as equal as possible, larger ones first."""
    return [sets // jobs + (index < sets % jobs) for index in range(jobs)]


def _prepare(program: Program, samples: int, options: Any) -> ExpectedJob:
    return expected_job(program, np.zeros((samples, program.num_inputs)), options)
