"""How many reference points learned rescaling takes, and what they may cost."""

from __future__ import annotations

from hardware.errors import HardwareError

REFERENCE_SHARE = 0.1
"""Most executions of reference points, as part of those of the run."""
LEAST_POINTS = 4
"""Fewer can be neither fitted nor tested."""


def reference_sets(sets: int, rounds: int, copies: int) -> int:
    """How many reference points a tenth of a run's executions pays for; all copies run one in each repetition.

    Args:
        sets: Number of parameter sets in a round.
        rounds: Number of rounds in the run.
        copies: Copies of the circuit side by side.
    """
    repetitions = rounds * -(-sets // copies)
    return copies * int(REFERENCE_SHARE * repetitions + 1e-9)


def require_references(points: int, *, own: bool) -> None:
    """Refuse rescaling by too few points.

    Args:
        points: Reference points of the run.
        own: Whether they are the run's own circuits.

    Raises:
        HardwareError: Says how many there are, and what to change.
    """
    if points >= LEAST_POINTS:
        return
    there = "the run has" if own else f"{REFERENCE_SHARE:.0%} of the run's executions pay for"
    raise HardwareError(
        f"rescale: {there} {points} reference points, and {LEAST_POINTS} are needed: take more denoising steps or "
        "images, fewer side by side (--pack), or leave rescaling out"
    )
