"""What the numbers of reliance say, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "zeroed": "set to zero",
    "mean": "at their mean",
    "shuffled": "shuffled between images",
    "shrunk": "shrunk as on a device",
}
"""What is done to the core's outputs, for people."""


def reliance_statement(result: Mapping[str, Any]) -> dict[str, Any]:
    """`depends`, whether images depend on the core as far as the numbers show, and the `statement` made from them.

    Images depend on the core if KID or class accuracy change when its outputs are set to zero: the interval of the
    difference, paired by seed, does not include 0. If so, outputs at their mean and shuffled between images tell
    whether what is needed is a constant or something that varies.
    """
    core = "circuit" if result["circuit"] else f"core (`{result['core']}`)"
    outputs = result["outputs"]
    changes = {name: outputs[name]["difference"] for name in ("zeroed", "mean", "shuffled")}
    depends = _changes(changes["zeroed"])
    numbers = _numbers(result["untouched"], outputs["zeroed"])
    if not depends:
        moved = outputs["zeroed"]["pixel_difference"]["value"]
        return {
            "statement": f"The images do not depend on the {core}, as far as can be seen: outputs set to zero, "
            f"{numbers}; a pixel moves by {moved:.2g} of 255.",
            "depends": False,
        }
    constant = not (_changes(changes["mean"]) or _changes(changes["shuffled"]))
    what = f"need a constant from the {core}, not what varies in it" if constant else f"depend on the {core}"
    return {"statement": f"The images {what}: outputs set to zero, {numbers}.", "depends": True}


def _changes(difference: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference in KID or class accuracy excludes 0."""
    found = (difference[name]["interval"] for name in ("kid", "class_accuracy") if name in difference)
    return any(not low <= 0 <= high for low, high in found)


def _numbers(untouched: Mapping[str, Any], zeroed: Mapping[str, Any]) -> str:
    """`class accuracy goes from 0.970 to 0.100 (-0.870 [-0.900, -0.840]), KID from ...`."""
    parts: list[str] = []
    for name, title in (("class_accuracy", "class accuracy"), ("kid", "KID")):
        if name in zeroed:
            low, high = zeroed["difference"][name]["interval"]
            parts.append(
                f"{title} {'goes ' if not parts else ''}from {untouched[name]['value']:.3f} to "
                f"{zeroed[name]['value']:.3f} ({zeroed['difference'][name]['value']:+.3f} [{low:+.3f}, {high:+.3f}])"
            )
    return ", ".join(parts)
