"""Learned rescaling: a device's values with its factors and shifts undone, where a test on held-out points allows it.

Where all angles are known beforehand, the run's own points are the reference, at no further execution. Their exact
values are known at home as well, so that nothing may be taken from them but few parameters: the points are split into
parts, and each part is rescaled by a fit to the others, which has never seen it.

Where angles depend on the images, reference points are chosen spread among the angles that the exact run of the same
seeds needs, and are sent in the same job as the first round. They are split in the same way for the test alone; what
rescales the run is a fit to all of them.

The test, on held-out points. The fit holds if their errors after rescaling are those stated (reduced chi-square, 99.9 %
quantile) or, where the device's noise is not quite affine, if the scatter beyond shots is at most half of the
distortion that was there before. It pays if the RMS error falls. Else all values stay as they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from hardware.inference.affine import Array, Distortion, Measured, fit_distortion
from hardware.planning.references import LEAST_POINTS

PARTS = 4
CONFIDENCE = 0.999
MOST_SCATTER = 0.5
"""Most scatter that is left on held-out points, as part of the distortion before."""
LEAST_FACTOR = 0.1
"""Less than this of a signal is not made whole again."""


@dataclass(frozen=True)
class Rescaling:
    """What was learned from reference points.

    Attributes:
        distortions: One per part of the points, fitted to the others; the last is fitted to all.
        record: JSON-able: `held`, `reason` (of a refusal), `references` (points), `n` (held-out values), `rms_measured`
            and `rms` (of held-out points, before and after), `chi2` (reduced, of held-out points), `chi2_limit`,
            `left` (scatter beyond shots as part of the distortion before), `left_limit`, `scatter`, `factors` and
            `shifts` (least, mean and largest).
    """

    distortions: tuple[Distortion, ...]
    record: dict[str, Any]

    @property
    def held(self) -> bool:
        """Whether values are rescaled."""
        return bool(self.record["held"])

    def line(self) -> str:
        """What was found, in one line for people."""
        return rescaling_words(self.record)

    def known(self, points: Measured) -> tuple[Array, Array]:
        """Rescaled values and standard errors of the reference points, each by a fit that has not seen it."""
        values, errors = points.values.copy(), points.errors.copy()
        if self.held:
            part = parts_of(points.copies)
            for number, distortion in enumerate(self.distortions[:-1]):
                here = part == number
                values[here], errors[here] = distortion.undo(points.rows(here))
        return values, errors

    def others(self, points: Measured) -> tuple[Array, Array]:
        """Rescaled values and standard errors of points that are no reference."""
        return self.distortions[-1].undo(points) if self.held else (points.values, points.errors)


def rescaling_words(found: Mapping[str, Any]) -> str:
    """`Rescaling.record` in one line for people."""
    reason = found["reason"]
    if not found["n"]:
        return f"rescaling refused, values stay as measured: {reason}"
    test = f"RMS error {found['rms_measured']:.4f} -> {found['rms']:.4f} of {found['n']} held-out values"
    if reason is not None:
        return f"rescaling refused, values stay as measured: {reason} ({test})"
    low, _, high = found["factors"]
    return f"rescaled by {found['references']} reference points: factors {low:.2f} to {high:.2f}, {test}"


def learn(exact: Array, points: Measured, copies: int) -> Rescaling:
    """Fit to reference points, and test on held-out ones.

    Args:
        exact: Exact values of the points, `(P, n_out)`.
        points: What the device gave; at least two.
        copies: Copies of the circuit.
    """
    if np.isfinite(points.errors).sum() < LEAST_POINTS * exact.shape[1]:
        reason = "most values come without a standard error"
        return Rescaling((), {"held": False, "reason": reason, "references": len(points), "n": 0})
    part = parts_of(points.copies)
    values, of_shots = np.empty(exact.shape), np.empty(exact.shape)
    distortions = []
    for number in range(int(part.max()) + 1):
        here = part == number
        distortions.append(fit_distortion(exact[~here], points.rows(~here), copies))
        values[here], of_shots[here] = distortions[-1].undo(points.rows(here), scatter=False)
    distortions.append(fit_distortion(exact, points, copies))
    known = np.isfinite(points.errors)
    record = _judge(exact[known], points.values[known], points.errors[known], values[known], of_shots[known])
    lost = min(float(distortion.factors.min()) for distortion in distortions)
    if lost < LEAST_FACTOR:
        reason = f"an observable keeps {lost:.2f} of its signal, and at least {LEAST_FACTOR:g} is needed"
        record |= {"held": False, "reason": reason}
    whole = distortions[-1]
    record |= {
        "references": len(points),
        "scatter": whole.scatter,
        "factors": _spread(whole.factors),
        "shifts": _spread(whole.shifts),
    }
    return Rescaling(tuple(distortions), record)


def _judge(exact: Array, measured: Array, errors: Array, rescaled: Array, of_shots: Array) -> dict[str, Any]:
    """The test, on held-out values; `of_shots` are the errors of the rescaled ones by shots and fit alone."""
    count = len(exact)
    before, after = measured - exact, rescaled - exact
    reduced = float(np.mean((after / of_shots) ** 2))
    limit = float(chi2.ppf(CONFIDENCE, count)) / count
    distortion, scatter = (
        max(0.0, float(np.mean(found**2 - noise**2))) ** 0.5 for found, noise in ((before, errors), (after, of_shots))
    )
    left = scatter / distortion if distortion else None
    rms_before, rms_after = (float(np.sqrt(np.mean(values**2))) for values in (before, after))
    reason = None
    if reduced > limit and (left is None or left > MOST_SCATTER):
        words = "no distortion was found" if left is None else f"{left:.0%} of the distortion is left"
        reason = (
            f"the noise is not affine: reduced chi-square {reduced:.2f} over {limit:.2f}, and {words} "
            f"(at most {MOST_SCATTER:.0%})"
        )
    elif rms_after >= rms_before:
        reason = "the error does not fall"
    return {
        "held": reason is None,
        "reason": reason,
        "n": count,
        "rms_measured": rms_before,
        "rms": rms_after,
        "chi2": reduced,
        "chi2_limit": limit,
        "left": left,
        "left_limit": MOST_SCATTER,
    }


def parts_of(copies: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part of each point, `(P,)`: the points of a copy are dealt out in turn, each copy from another part on."""
    rank = np.zeros(len(copies), dtype=np.int64)
    for copy in np.unique(copies):
        here = copies == copy
        rank[here] = np.arange(here.sum())
    dealt: NDArray[np.int64] = np.unique((rank + copies) % min(PARTS, len(copies)), return_inverse=True)[1]
    return dealt


def spread_points(values: Array, count: int) -> NDArray[np.int64]:
    """Rows that lie far from each other (farthest-point sampling, Gonzalez 1985), in the order of choice.

    Args:
        values: `(N, d)`, without equal rows; the first chosen is the farthest from the mean.
        count: Number of rows to choose, at most N.
    """
    chosen = [int(np.argmax(((values - values.mean(axis=0)) ** 2).sum(axis=1)))]
    distance = ((values - values[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(values)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((values - values[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen, dtype=np.int64)


def _spread(values: Array) -> list[float]:
    return [float(values.min()), float(values.mean()), float(values.max())]
