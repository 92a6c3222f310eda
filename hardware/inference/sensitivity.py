"""Which denoising steps depend on the bottleneck: measured, deterministic, without a device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hardware.inference.reverse_process import Evaluate, ReverseProcess, ReverseState
from hardware.inference.rounds import Round
from qhybrid.seeds import plain_generator

# The size of shot noise and device error together: the response of a real run, not an infinitesimal one.
PERTURBATION = 0.1


def measure_sensitivity(process: ReverseProcess, perturbation: float = PERTURBATION) -> list[float]:
    """How much the final images move when the expectation values of a single step are off.

    For each step k, the reverse process is run again from the images before step k with every expectation value of that
    step shifted by +-`perturbation` (signs fixed by the step), all other steps exact.

    Args:
        process: Reverse process of a few images; the cost is about `steps**2 / 2` evaluations of the network.
        perturbation: Shift of each expectation value.

    Returns:
        Root mean square change of the final pixels (range [-1, 1]) per unit of shift, one number for each step.
    """
    states = [process.start()]
    final = process.simulate(states.append).images
    changes = []
    for step, state in enumerate(states[: process.steps]):
        moved = process.run(ReverseState(step, state.images), _shifted(process, perturbation), (step,)).images
        changes.append(float(np.sqrt(np.mean((moved - final) ** 2)) / perturbation))
    return changes


def _shifted(process: ReverseProcess, perturbation: float) -> Evaluate:
    def evaluate(asked: Round) -> NDArray[np.float64]:
        values = process.exact.values(asked.angles)
        signs = plain_generator(asked.steps[0]).choice([-1.0, 1.0], size=values.shape)
        return values + perturbation * signs

    return evaluate
