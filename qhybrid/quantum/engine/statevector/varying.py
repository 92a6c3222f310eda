"""Which parts of a program differ between the samples of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.kernels.opcodes import FIXED_ELEMENT


def varying_parts(program: Any, features: Features, shared: int) -> NDArray[np.int64]:
    """Which angles, then blocks, differ between samples if the last `shared` parameters do not, 0 or 1.

    Args:
        program: A `StateVectorProgram` or `DensityProgram`.
        features: Columns that its angles are linear in; a nonlinear one counts as different.
        shared: Number of parameters.
    """
    count = len(features.parameters)
    feature_varies = np.arange(len(features)) < count - shared
    feature_varies[count:] = True
    angles = np.zeros(len(program.angle_offset), dtype=np.int64)
    rows = np.repeat(np.arange(len(angles)), np.diff(program.angle_start))
    np.maximum.at(angles, rows, feature_varies[program.angle_feature].astype(np.int64))
    blocks = np.zeros(len(program.block_start) - 1, dtype=np.int64)
    rows = np.repeat(np.arange(len(blocks)), np.diff(program.block_start))
    turning = program.elements[:, 0] < FIXED_ELEMENT
    np.maximum.at(blocks, rows[turning], angles[program.elements[turning, 1]])
    return np.concatenate([angles, blocks])
