"""What a job will make the device do, and what is taken from its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.primitives.readout import Readout


@dataclass(frozen=True)
class ExpectedJob:
    """What a job will make the device do.

    Attributes:
        executions: Circuit executions in all, each of one shot.
        seconds: Estimated device time in seconds.
        parameter_bytes: Size of the parameter values in the request.
        shapes: Expected shape of each item's measured bits, without the last axis (bits).
        copies: Copies of the circuit in one execution.
        readout: Rule by which sampled bits become expectation values; `None` for the Estimator.
        parts: Expected jobs of the copies that are simulated one by one; empty where there are none.
    """

    executions: int
    seconds: float
    parameter_bytes: int
    shapes: tuple[tuple[int, ...], ...]
    copies: int = 1
    readout: Readout | None = None
    parts: tuple[ExpectedJob, ...] = ()


@dataclass(frozen=True)
class Expectations:
    """Checked result of a job.

    Attributes:
        values: Expectation values `(B, n_out)`; mitigated ones may leave [-1, 1].
        errors: Standard errors `(B, n_out)` as stated by the Estimator; NaN where its extrapolation to zero noise
            (level 2) has a value and an infinite error, as the fit to points without a trend has.
        primitives: Results as the client decoded them: a `PrimitiveResult`, or one per copy that was simulated alone;
            empty if read from a file.
    """

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    primitives: tuple[Any, ...] = ()
