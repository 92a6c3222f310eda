"""Drawings of a study's page as inline SVG: they take the page's colours, light or dark, and its width.

Written out with a fixed number of digits and no library, so that one `study.json` gives one page, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Pair = tuple[float, float]

SERIES = 6
"""Number of colours, `--s0` to `--s5` of the page; further series take them again, dashed."""

_WIDTH, _HEIGHT = 480.0, 280.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 14.0, 12.0, 44.0
_TICKS = 4


@dataclass(frozen=True)
class Point:
    """A value of a curve.

    Attributes:
        x: Place on the axis below.
        mean: Mean over seeds.
        interval: Lower and upper end of its interval; `None` where there is none.
    """

    x: float
    mean: float
    interval: Pair | None


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Attributes:
        label: Name in the legend.
        points: Points of the curve, from left to right.
    """

    label: str
    points: tuple[Point, ...]


def span_of(values: Sequence[float]) -> Pair:
    """Ends of an axis that holds values and 0, with a little room on both sides.

    Args:
        values: Finite numbers, at least one.
    """
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def forest_bar(mean: float, interval: Pair | None, span: Pair, *, unseen: float | None, margin: float | None) -> Markup:
    """A row of a forest plot: the difference as a disc, its interval as a bar, 0 as a line.

    Args:
        mean: Difference of the row, in the units of the metric.
        interval: Lower and upper end of its interval; `None` where there is none.
        span: Ends of the axis, the same in all rows.
        unseen: Smallest difference that would have been shown; smaller ones are shaded. `None` shades nothing.
        margin: Largest difference that counts as none, drawn as two dashed lines; `None` draws none.
    """
    low, high = span

    def x(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.2f}"

    parts = []
    if unseen is not None:
        left, right = x(-unseen), x(unseen)
        parts.append(f'<rect class="unseen" x="{left}" y="0" width="{float(right) - float(left):.2f}" height="20"/>')
    for edge in () if margin is None else (-margin, margin):
        if low <= edge <= high:
            parts.append(f'<path class="margin" d="M{x(edge)} 0V20"/>')
    parts.append(f'<path class="zero" d="M{x(0.0)} 0V20"/>')
    if interval is not None:
        parts.append(f'<path class="whisker" d="M{x(interval[0])} 10H{x(interval[1])}"/>')
    parts.append(f'<path class="disc" d="M{x(mean)} 10h0"/>')
    return Markup('<svg class="forest" viewBox="0 0 100 20" preserveAspectRatio="none">' + "".join(parts) + "</svg>")


def curves(lines: Sequence[Curve], xlabel: str, ylabel: str) -> Markup:
    """Lines with intervals over numbers, the axis below in the order and distances of the numbers.

    Args:
        lines: Curves to be drawn, at least one, each with a point or more.
        xlabel: Name of the axis below.
        ylabel: Name of the axis at the left.
    """
    points = [point for line in lines for point in line.points]
    places = sorted({point.x for point in points})
    left, right = places[0], places[-1]
    ends = [end for point in points for end in (point.mean, *(point.interval or ()))]
    bottom, top = span_of(ends)
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(value: float, index: int) -> float:
        # Curves stand a little beside each other, so that their intervals can be told apart.
        beside = (index - (len(lines) - 1) / 2) * min(7.0, 40.0 / len(lines))
        share = (value - left) / (right - left) if right > left else 0.5
        return _LEFT + 26 + share * (inner_width - 52) + beside

    def up(value: float) -> float:
        return _TOP + inner_height * (top - value) / (top - bottom)

    parts = []
    for tick in _ticks(bottom, top):
        y = up(tick)
        parts.append(f'<path class="grid" d="M{_LEFT:.0f} {y:.1f}H{_WIDTH - _RIGHT:.0f}"/>')
        parts.append(f'<text x="{_LEFT - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{_text(tick)}</text>')
    for place in places:
        x = across(place, 0) + across(place, len(lines) - 1)
        parts.append(f'<text x="{x / 2:.1f}" y="{_HEIGHT - 24:.0f}" text-anchor="middle">{place:g}</text>')
    parts.append(
        f'<text x="{_LEFT + inner_width / 2:.0f}" y="{_HEIGHT - 5:.0f}" text-anchor="middle">{escape(xlabel)}</text>'
    )
    for index, line in enumerate(lines):
        where = [(across(point.x, index), up(point.mean)) for point in line.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in where)
        parts.append(f'<g class="series s{index % SERIES}{" again" if index >= SERIES else ""}"><path d="M{path}"/>')
        for point, (x, _) in zip(line.points, where, strict=True):
            if point.interval is not None:
                parts.append(
                    f'<path class="whisker" d="M{x:.1f} {up(point.interval[0]):.1f}V{up(point.interval[1]):.1f}"/>'
                )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in where]
        parts.append("</g>")
    title = f"{escape(ylabel)} over {escape(xlabel)}"
    head = f'<svg class="curves" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{title}">'
    return Markup(head + "".join(parts) + "</svg>")


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within an axis, about `_TICKS` of them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _text(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
