"""Learned rescaling in a run: which points are the reference, what is sent with the first round, what images get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.arrays import read_arrays
from hardware.errors import HardwareError
from hardware.inference.affine import Array, Measured
from hardware.inference.rescaling import Rescaling, learn, spread_points
from hardware.inference.results import Results, read_results
from hardware.inference.reverse_process import ReverseProcess
from hardware.inference.rounds import Round
from hardware.planning.bill import Plan
from hardware.planning.references import LEAST_POINTS
from qhybrid.files import atomic_path

REFERENCES_FILE = "references.npz"


class RunRescaling:
    """What rescaling adds to the rounds of a run; nothing, where the plan has none.

    Args:
        folder: `hardware/` of the run.
        plan: Stored plan of the run.
        process: Gives exact values, and the angles of an exact run.
        echo: Called once with a line that tells what was learned.
    """

    def __init__(
        self, folder: Path, plan: Plan, process: ReverseProcess, echo: Callable[[str], None] = lambda line: None
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._process = process
        self._echo = echo
        self._learned: Rescaling | None = None

    def beside(self, asked: Round) -> Array:
        """Reference points that are sent before a round's own parameter sets, `(R, n_in)` in radians."""
        if not self._plan.sets_beside or asked.steps[0] != self._plan.qpu_steps[0]:
            return np.empty((0, asked.angles.shape[1]))
        return self._reference_angles()

    def values(self, asked: Round, measured: Measured) -> Array:
        """What the images get.

        Args:
            asked: Round that the values were measured for.
            measured: Values from the device, first for the points `beside`, then for those of the round.

        Returns:
            Expectation values of the round's own parameter sets, `(D, n_out)`.
        """
        plan = self._plan
        if plan.references is None:
            return measured.values
        if self._process.together:
            return self._learn(asked.angles, measured).known(measured)[0]
        beside = len(measured) - len(asked.angles)
        if self._learned is None:
            if beside:
                self._learn(self._reference_angles(), measured.rows(slice(beside)))
            else:
                stored = read_results(self._folder, plan).rows(slice(plan.sets_beside))
                self._learn(stored.angles, stored.measured(plan.shots))
        assert self._learned is not None
        return self._learned.others(measured.rows(slice(beside, None)))[0]

    def _learn(self, angles: Array, measured: Measured) -> Rescaling:
        self._learned = learn(self._process.exact.values(angles), measured, self._plan.pack)
        self._echo(self._learned.line())
        return self._learned

    def _reference_angles(self) -> Array:
        """Stored before they are sent: another machine's last digits would make another job of them."""
        path, plan = self._folder / REFERENCES_FILE, self._plan
        if path.exists():
            stored = read_arrays(path, ("key", "angles"))
            if str(stored["key"]) == plan.key:
                angles, shape = stored["angles"], (plan.sets_beside, len(self._process.core.spec.inputs))
                if angles.dtype != np.float64 or angles.shape != shape:
                    raise HardwareError(f"`{path}` holds no reference points of this run: remove it")
                return angles
        angles = choose_references(self._process, plan.qpu_steps, plan.sets_beside)
        with atomic_path(path) as temporary:
            np.savez(temporary, key=np.array(plan.key), angles=angles)
        return angles


def choose_references(process: ReverseProcess, steps: tuple[int, ...], count: int) -> Array:
    """Angles of the exact run of the same seeds whose expectation values lie far from each other.

    Args:
        process: Reverse process of the run.
        steps: Denoising steps on the device.
        count: Number of points; they repeat where the run has fewer different ones.

    Returns:
        Input angles of the chosen points, `(count, n_in)`, in radians.
    """
    needed: list[Array] = []

    def record(asked: Round) -> NDArray[np.float64]:
        needed.append(asked.angles)
        return process.exact.values(asked.angles)

    process.run(process.start(), record, steps)
    angles = Round.of((0,), np.concatenate(needed)[None]).angles
    return angles[np.resize(spread_points(process.exact.values(angles), count), count)]


def rescaled_results(
    results: Results, plan: Plan, process: ReverseProcess
) -> tuple[Results, Measured, Rescaling | None]:
    """What the images of a run got from its results.

    Args:
        results: All results of the run, as measured.
        plan: Stored plan of the run.
        process: Gives exact values.

    Returns:
        The results without the reference points that were sent beside them, their values and errors as the images got
        them, and what was learned; `None` without rescaling, or as long as there are too few reference points.
    """
    own = results.rows(slice(plan.sets_beside, None))
    measured = own.measured(plan.shots)
    references = results.rows(slice(plan.sets_beside or None))
    if plan.references is None or len(references.angles) < max(plan.sets_beside, LEAST_POINTS):
        return own, measured, None
    learned = learn(process.exact.values(references.angles), references.measured(plan.shots), plan.pack)
    values, errors = learned.known(measured) if process.together else learned.others(measured)
    return own, Measured(values, errors, measured.copies), learned
