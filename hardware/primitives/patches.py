"""Copies of a circuit that are simulated one by one: who gets which image, and their jobs as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.placement.program import Program


@dataclass(frozen=True)
class PatchJobs:
    """The local jobs of the copies of one packed circuit, in their order; copies without an image have none."""

    jobs: tuple[Any, ...]

    def job_id(self) -> str:
        """Identifier of the first copy's job, by which all of them are known."""
        return str(self.jobs[0].job_id())

    def status(self) -> Any:
        """State of the first job that is not done, else of the last one."""
        return next((job.status() for job in self.jobs if not job.done()), self.jobs[-1].status())


def shares(program: Program, angles: NDArray[np.float64]) -> list[tuple[Program, NDArray[np.float64]]]:
    """Each copy with the angles of its images: image i is copy i modulo their number; see `Program.pack`."""
    return [
        (part, angles[number :: program.copies])
        for number, part in enumerate(program.parts)
        if len(angles[number :: program.copies])
    ]


def interleave(found: Sequence[NDArray[np.float64]], samples: int) -> NDArray[np.float64]:
    """Rows of all copies `(B_k, n_out)` in the order of the images `(B, n_out)`."""
    whole = np.empty((samples, found[0].shape[1]))
    for number, rows in enumerate(found):
        # With fewer images than copies only the first copies have any, one each.
        whole[number :: max(len(found), 1)] = rows
    return whole
