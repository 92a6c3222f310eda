"""Memory of the density-matrix kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.density.program import DensityProgram


class DensityWorkspace(NamedTuple):
    """Memory of one thread, all of the program's precision.

    Attributes:
        states: Two states (2, D * LANES) for passes that keep nothing.
        tape: (slots, D * LANES) states before each operation of a segment, and behind the last.
        marks: (segments, D * LANES) states at the beginning of each segment.
        lam: Gradients (2, D * LANES) of the loss by the state, for backward passes: the present one and room for the
            next.
        trig: cos and sin of each angle.
        maps: (n_elements * 12 * LANES) each block's map up to and with each element.
        slopes: gradient by a block's map.
        angle_slopes: gradient by each angle.
    """

    states: Any
    tape: Any
    marks: Any
    lam: Any
    trig: Any
    maps: Any
    slopes: Any
    angle_slopes: Any


def make_density_workspace(
    program: DensityProgram, real: type[np.floating], slots: int, segments: int
) -> DensityWorkspace:
    """Memory for one thread.

    Args:
        program: Arrays of the circuit.
        real: Precision of the states.
        slots: Number of states on the tape of a backward pass; 0 for forward passes alone.
        segments: Number of segments of the tape, whose first states are kept; 0 for forward passes alone.
    """
    row = LANES << 2 * program.num_qubits
    angles = max(len(program.angle_offset), 1)

    def states(count: int) -> Any:
        return np.zeros((max(count, 1), row if count else 1), dtype=real)

    return DensityWorkspace(
        states=states(2),
        tape=states(slots),
        marks=states(segments if segments > 1 else 0),
        lam=states(2 if slots else 0),
        trig=np.zeros(2 * angles * LANES, dtype=real),
        maps=np.zeros(max(len(program.elements), 1) * 12 * LANES, dtype=real),
        slopes=np.zeros(12 * LANES, dtype=real),
        angle_slopes=np.zeros(angles * LANES, dtype=real),
    )
