"""Cosines and sines of the angles of a slice of samples, as vectors."""

from __future__ import annotations

import math
from typing import Any

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.kernels.compilation import kernel


@kernel(lean=True)
def store_turn(turns: Any, angle: int, lane: int, lanes: int, value: float) -> None:
    """cos and sin of a value into `lanes` lanes from `lane` on, as vectors `2 * angle` and `2 * angle + 1`."""
    cosine, sine = turns.dtype.type(math.cos(value)), turns.dtype.type(math.sin(value))
    for k in range(lane, lane + lanes):
        turns[2 * angle * LANES + k] = cosine
        turns[(2 * angle + 1) * LANES + k] = sine
