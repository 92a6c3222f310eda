"""Copies of a circuit that are simulated one by one, and their jobs as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.placement.program import Program
from hardware.placement.sharing import share


@dataclass(frozen=True)
class PatchJobs:
    """The local jobs of the copies of one packed circuit, in their order; copies without an image have none.

    Attributes:
        jobs: Job objects of the local client, one per copy that runs an image.
    """

    jobs: tuple[Any, ...]

    def job_id(self) -> str:
        """The id of the first copy's job, which stands for all."""
        return str(self.jobs[0].job_id())

    def status(self) -> Any:
        """The state of the first job that is not done; of the last one where all are."""
        return next((job.status() for job in self.jobs if not job.done()), self.jobs[-1].status())


def shares(program: Program, angles: NDArray[np.float64]) -> list[tuple[Program, NDArray[np.float64]]]:
    """Each copy that runs an image, with the angles `(B_k, n_in)` of its images."""
    found = [(part, share(angles, number, program.copies)) for number, part in enumerate(program.parts)]
    return [(part, mine) for part, mine in found if len(mine)]
