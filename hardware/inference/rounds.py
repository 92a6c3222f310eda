"""Denoising steps whose circuits can be sent together, and the distinct parameter sets that they need.

Where the bottleneck sees the noisy image, the angles of a step are known only after the step before: each step is a
round of its own, and queues anew. Where it sees class and time alone, all angles are known before anything is sent: all
steps are one round, whatever the number of images.

Equal parameter sets of a round are one circuit. So all images of a class share one measured expectation value at a
step, with its one shot noise; more shots make it smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Radians (decimal places) below which two angles are one: equal inputs leave a matrix product with different last
# digits, and no device resolves a millionth.
_DECIMALS = 6


@dataclass(frozen=True)
class Round:
    """Circuits that are sent together.

    Attributes:
        steps: Denoising steps that they belong to, in order.
        angles: `(D, n_in)` radians; no two rows are equal.
        rows: `(S, B)`: for each step and image, the row of `angles` that it needs.
    """

    steps: tuple[int, ...]
    angles: NDArray[np.float64]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, steps: Sequence[int], angles: NDArray[np.float64]) -> Round:
        """Find the distinct parameter sets, in the order in which they first occur.

        Args:
            steps: Numbers of the S denoising steps.
            angles: `(S, B, n_in)` radians, for each step and image.
        """
        flat = angles.reshape(-1, angles.shape[-1])
        # Adding 0 makes a negative zero equal to a positive one.
        _, first, inverse = np.unique(np.round(flat, _DECIMALS) + 0.0, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return cls(tuple(steps), flat[first[order]], place[inverse.reshape(-1)].reshape(angles.shape[:2]))

    def first_steps(self) -> tuple[int, ...]:
        """First denoising step that needs a parameter set, for each of the D sets."""
        _, first = np.unique(self.rows, return_index=True)
        return tuple(self.steps[int(place) // self.rows.shape[1]] for place in first)

    def of_images(self, step: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What was found for the parameter sets, brought to the images.

        Args:
            step: Number of one of the round's denoising steps.
            values: Expectation values of the distinct parameter sets, `(D, n_out)`.

        Returns:
            Expectation values of each image in this step, `(B, n_out)`.
        """
        found: NDArray[np.float64] = values[self.rows[self.steps.index(step)]]
        return found
