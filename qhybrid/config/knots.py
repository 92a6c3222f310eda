"""Curves over time that are given by points."""

from __future__ import annotations

import itertools
import math


def check_knots(kind: str, knots: list[list[float]] | None) -> None:
    """Refuse a curve whose points are missing, not asked for, or do not run over u from 0 to 1.

    Args:
        kind: Kind of the curve; `knots` is the one that has points.
        knots: Points [u, value], u the place in time from 0 to 1; `None` if there are none.

    Raises:
        ValueError: They are not what the kind asks for; says how.
    """
    if (knots is not None) != (kind == "knots"):
        raise ValueError(f"`knots` are given if and only if `kind` is knots, found `kind: {kind}`")
    if knots is None:
        return
    if len(knots) < 2 or any(len(knot) != 2 for knot in knots):
        raise ValueError(f"`knots` are at least two pairs [u, value], found {knots}")
    positions = [u for u, _ in knots]
    rising = all(u < v for u, v in itertools.pairwise(positions))
    if positions[0] != 0 or positions[-1] != 1 or not rising:
        raise ValueError(f"the u of the knots must rise from 0 to 1, found {positions}")
    if not all(math.isfinite(value) for _, value in knots):
        raise ValueError(f"the values of the knots must be finite, found {[value for _, value in knots]}")
