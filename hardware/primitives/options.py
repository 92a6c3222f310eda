"""Options of a job from the configuration: Estimator or Sampler, twirling, decoupling, readout, extrapolation.

The classes come from `options_models` and forbid unknown fields; what is `None` here follows the resilience level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions
from qiskit_ibm_runtime.options_models.sampler import SamplerOptions

from qhybrid.config import HardwareConfig

# What decides a result beside circuit, parameters, calibration and chance.
RESULT_OPTIONS = (
    "backend",
    "primitive",
    "level",
    "shots",
    "twirling",
    "dynamical_decoupling",
    "trex",
    "zne",
    "zne_factors",
    "readout_mitigation",
)

# Mitigation as the resilience level has it, nothing chosen beside it.
LEVEL_MITIGATION = {"trex": None, "zne": None, "zne_factors": None}


class MitigatedSamplerOptions(SamplerOptions):  # type: ignore[misc]  # qiskit_ibm_runtime is untyped
    """Sampler options of a job that measures the readout errors as well, and whose values are corrected for them."""


def estimator_options(
    level: int, shots: int, *, seed: int | None = None, tags: Sequence[str] = (), max_seconds: float | None = None
) -> EstimatorOptions:
    """Options of an Estimator job at a resilience level, nothing else chosen.

    Args:
        level: Resilience level 0, 1 or 2.
        shots: Shots per parameter set (and per noise factor at level 2).
        seed: Seed of a local simulation; a device draws its own randomness and ignores it.
        tags: Tags by which the service finds the job again.
        max_seconds: Device time in seconds after which the service ends the job; `None` sets no limit.
    """
    options = EstimatorOptions(resilience_level=level, default_shots=shots)
    return addressed(options, seed, tags, max_seconds)


def job_options(
    config: HardwareConfig, *, seed: int | None = None, tags: Sequence[str] = (), max_seconds: float | None = None
) -> EstimatorOptions | SamplerOptions:
    """Options of a job as configured.

    Args:
        config: Primitive, level, shots, mitigation.
        seed: Seed of a local simulation; a device draws its own randomness and ignores it.
        tags: Tags by which the service finds the job again.
        max_seconds: Device time in seconds after which the service ends the job; `None` sets no limit.
    """
    if config.primitive == "sampler":
        kind = MitigatedSamplerOptions if config.readout_mitigation else SamplerOptions
        options = addressed(kind(default_shots=config.shots), seed, tags, max_seconds)
    else:
        options = estimator_options(config.level, config.shots, seed=seed, tags=tags, max_seconds=max_seconds)
        options.resilience.measure_mitigation = config.trex
        options.resilience.zne_mitigation = config.zne
        if config.zne_factors is not None:
            options.resilience.zne.noise_factors = tuple(config.zne_factors)
    if config.twirling is not None:
        options.twirling.enable_gates = config.twirling
    if config.twirling:
        options.twirling.enable_measure = True
    if config.dynamical_decoupling is not None:
        options.dynamical_decoupling.enable = True
        options.dynamical_decoupling.sequence_type = config.dynamical_decoupling
    return options


def addressed(options: Any, seed: int | None, tags: Sequence[str], max_seconds: float | None) -> Any:
    """Options of one job from those of all: with its seed, its tags and its limit, as for `estimator_options`.

    Args:
        options: Options of the primitive, changed in place.
        seed: Seed of a local simulation; `None` for a device, which draws its own randomness.
        tags: Tags by which the service finds the job again.
        max_seconds: Device time after which the service ends the job; None sets no limit.
    """
    options.environment.job_tags = list(tags)
    options.simulator.seed_simulator = seed
    if max_seconds is not None:
        options.max_execution_time = max(1, math.floor(max_seconds))
    return options
