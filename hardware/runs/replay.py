"""A finished run without its device: stored results take the place of jobs, the stored calibration that of the backend.

`backend: replay` evaluates a hardware run again, offline and with no account: after a change of what is computed from
the results, on another machine, or in a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.comparison.expectation_values import compare
from hardware.errors import HardwareError
from hardware.inference.references import rescaled_results
from hardware.inference.results import read_results
from hardware.inference.rounds import Round
from hardware.inference.workload import Workload, load_workload
from qhybrid.rundir import RunDirectory

REPLAY = "replay"
# Another machine's last digits, through a few steps of the network, and no other run's parameters.
_TOLERANCE = 1e-3


class ReplayEvaluator:
    """Expectation values of a round from the results that a run has stored.

    Args:
        workload: The planned run.
    """

    def __init__(self, workload: Workload) -> None:
        self._folder = workload.run.hardware
        results = read_results(self._folder, workload.plan)
        self._results, self._given, _ = rescaled_results(results, workload.plan, workload.process)
        self._one_round = workload.process.together

    def __call__(self, asked: Round) -> NDArray[np.float64]:
        """Expectation values `(D, n_out)` of the parameter sets of a round, as the images got them.

        Raises:
            HardwareError: The round has no result, or one of other parameters.
        """
        step, angles = asked.steps[0], asked.angles
        here = np.full(len(self._results.steps), True) if self._one_round else self._results.steps == step
        if not here.any():
            raise HardwareError(
                f"`{self._folder}` has no result of denoising step {step} to replay: finish the run first"
            )
        stored = self._results.angles[here]
        if stored.shape != angles.shape or np.abs(stored - angles).max() > _TOLERANCE:
            raise HardwareError(
                f"`{self._folder}`: the stored results of denoising step {step} belong to other parameters than the "
                "model gives now: run it on the device again"
            )
        given: NDArray[np.float64] = self._given.values[here]
        return given


def replay(run: RunDirectory, echo: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Images and comparison of a finished run from its stored results; nothing is sent, no account is asked for.

    Args:
        run: Directory of a run with a finished hardware stage.
        echo: Called with a line that tells what is replayed.

    Returns:
        Content of comparison.json.

    Raises:
        HardwareError: Nothing was planned, a result is missing, or the model has changed since.
    """
    workload = load_workload(run, offline=True)
    if workload is None:
        raise HardwareError(f"`{run.path}` has no hardware run to replay: run `qhybrid hardware infer` first")
    plan, process = workload.plan, workload.process
    echo(f"replaying {plan.jobs} jobs of {plan.backend}, calibrated {plan.calibrated or 'never'}")
    final = process.run(process.start(), ReplayEvaluator(workload), plan.qpu_steps)
    workload.save_images(torch.from_numpy(final.images))
    return compare(workload)
