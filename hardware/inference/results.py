"""What a run's device has given so far: the stored results of all its jobs, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.inference.affine import Measured
from hardware.jobs.job_log import JobLog, read_result
from hardware.placement.sharing import copy_of_each
from hardware.planning.bill import Plan

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Results:
    """Results, one row per parameter set.

    Attributes:
        steps: Denoising step of each row, the first of those that share it, `(R,)`.
        patches: Copy of the circuit that each row was run on, `(R,)`.
        angles: Input angles in radians, `(R, n_in)`.
        values: Expectation values from the device, `(R, n_out)`, as measured.
        errors: Standard errors that the device states for the values, `(R, n_out)`; NaN where unknown.
    """

    steps: NDArray[np.int64]
    patches: NDArray[np.int64]
    angles: Array
    values: Array
    errors: Array

    def measured(self, shots: int) -> Measured:
        """Values with errors that are nowhere 0, as the agreement of all shots states.

        Args:
            shots: Shots per parameter set.
        """
        return Measured(self.values, np.maximum(self.errors, 1.0 / shots), self.patches)

    def rows(self, chosen: slice) -> Results:
        """Some of the rows."""
        return Results(*(array[chosen] for array in vars(self).values()))


def read_results(folder: Path, plan: Plan) -> Results:
    """All results of a plan so far, in the order of steps and jobs; reference points of rescaling come first.

    Args:
        folder: `hardware/` of the run.
        plan: Stored plan of the run.

    Raises:
        HardwareError: There is none yet, or a file is damaged.
    """
    rows = JobLog(folder / "jobs.jsonl").results(plan.key)
    if not rows:
        raise HardwareError(
            f"`{folder}` has no result of a device yet for its present plan: run `qhybrid hardware infer` or `submit`, "
            "which use stored results of the same options again"
        )
    files = [read_result(folder / "results" / row["file"]) for row in rows]
    return Results(
        steps=np.concatenate(
            [
                file["steps"] if "steps" in file else np.full(len(file["angles"]), row["step"])
                for row, file in zip(rows, files, strict=True)
            ]
        ),
        patches=np.concatenate([copy_of_each(len(file["angles"]), plan.pack) for file in files]),
        angles=np.concatenate([file["angles"] for file in files]),
        values=np.concatenate([file["values"] for file in files]),
        errors=np.concatenate([file["errors"] for file in files]),
    )
