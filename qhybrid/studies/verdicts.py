"""What each comparison of a study shows, in a sentence made of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qhybrid.evaluation.explanations import HIGHER_IS_BETTER, LOWER_IS_BETTER, TITLES
from qhybrid.studies.plan import describe
from qhybrid.studies.report import is_equal
from qhybrid.studies.statistics import POWER, SIGNIFICANCE


def verdict(item: Mapping[str, Any], metric: str) -> str:
    """One sentence on one comparison: what was shown, with interval and p, and what could have been.

    Args:
        item: Entry of `comparisons` or `effects` of a `study.json`.
        metric: Metric that was compared, named as in `evaluation.json`.
    """
    title, (mine, theirs, same) = TITLES[metric], sides(item)
    subject = f"`{mine}` against `{theirs}`" + (f" ({same})" if same else "")
    if item["p"] is None:
        return f"{subject}: no seed has both, nothing can be said."
    tested = f"p = {item['p_holm']:.2g} after Holm's correction, {item['n_pairs']} pairs"
    if item["p_holm"] <= SIGNIFICANCE:
        size = _with_interval(item, sign=-1 if item["difference"] < 0 else 1)
        return f"{subject}: {title} is {_direction(item, metric)} by {size} ({tested})."
    if is_equal(item):
        return (
            f"{subject}: {title} is equal within the declared margin of {item['margin']:g}, difference "
            f"{_with_interval(item)} (two one-sided tests, p = {item['p_equal_holm']:.2g} after Holm's correction, "
            f"{item['n_pairs']} pairs)."
        )
    said = f"{subject}: no difference in {title} is shown, {_with_interval(item)} ({tested})"
    shown = item.get("detectable")
    if shown is None:
        return f"{said}."
    return f"{said}; one of {shown:.2g} would have been, with probability {POWER:.0%}. That is no proof of equality."


def outcome(item: Mapping[str, Any], metric: str) -> str:
    """The verdict in a word or two: `better`, `worse`, `equal within 0.05`, `not shown`.

    Args:
        item: Entry of `comparisons` or `effects` of a `study.json`.
        metric: Metric that was compared, named as in `evaluation.json`.
    """
    if item["p"] is None:
        return "no pairs"
    if item["p_holm"] <= SIGNIFICANCE:
        word, _, judged = _direction(item, metric).partition(" ")
        return judged.strip("()") or word
    return f"equal within {item['margin']:g}" if is_equal(item) else "not shown"


def roll_call(view: Mapping[str, Any]) -> str:
    """One sentence that names the cells which came out better and worse, and those of which nothing was shown.

    Args:
        view: Content of `study.json`, or one of its `views`, with at least one comparison.
    """
    groups: dict[str, list[str]] = {"better": [], "worse": []}
    for item in view["comparisons"]:
        mine, _, same = sides(item)
        groups.setdefault(outcome(item, view["metric"]), []).append(f"`{mine}`" + (f" ({same})" if same else ""))
    parts = "; ".join(f"{word}: {', '.join(names)}" for word, names in groups.items() if names)
    return f"{TITLES[view['metric']]}, against {reference_name(view)}: {parts}."


def reference_name(view: Mapping[str, Any]) -> str:
    """The levels that cells are compared with, between backquotes.

    Args:
        view: Content of `study.json`, or one of its `views`, with a reference.
    """
    levels = view["reference"]
    return f"`{next(iter(levels.values()))}`" if len(view["factors"]) == 1 else f"`{describe(levels)}`"


def sides(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """The levels that were compared, those that they were compared with, and those that both have.

    Args:
        item: Entry of `comparisons` or `effects` of a `study.json`.
    """
    if "factor" in item:
        return f"{item['factor'].replace('.', ' ')}={item['level']}", item["reference"], "averaged over other factors"
    own, other = item["levels"], item["reference"]
    same = {name: level for name, level in own.items() if level == other[name]}
    if len(own) == 1:
        return next(iter(own.values())), next(iter(other.values())), ""
    mine, theirs = ({name: level for name, level in levels.items() if name not in same} for levels in (own, other))
    return describe(mine), describe(theirs), describe(same) if same else ""


def _direction(item: Mapping[str, Any], metric: str) -> str:
    lower = item["difference"] < 0
    word = "lower" if lower else "higher"
    if metric not in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        return word
    return f"{word} ({'better' if lower == (metric in LOWER_IS_BETTER) else 'worse'})"


def _with_interval(item: Mapping[str, Any], sign: int = 1) -> str:
    """The difference and its interval, turned around where only its size is told."""
    text = _number(sign * item["difference"])
    if item["interval"] is None:
        return text
    low, high = sorted(sign * end for end in item["interval"])
    return f"{text} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.3g}"
