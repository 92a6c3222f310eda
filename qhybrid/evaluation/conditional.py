"""Do images show the class that was asked for? Accuracy, KID within classes, and training on them.

The reference beside each value is what real test images reach. Of a multi-label set an image carries several labels or
none: instead of accuracy, which the many absent labels would decide, it is judged by the area under the ROC curve, and
"within a class" means all images that carry its label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import EvaluationConfig
from qhybrid.data import ImageData
from qhybrid.evaluation.intervals import CONFIDENCE, bootstrap_interval, wilson_interval
from qhybrid.evaluation.samples import members
from qhybrid.evaluation.scores import kid_score
from qhybrid.seeds import generator

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

CLASS_MINIMUM = 10
"""Fewest generated and real images of a class for a KID of its own."""

_REPEATS = 300


@dataclass(frozen=True)
class Judged:
    """Images as the evaluation's classifier sees them.

    Attributes:
        features: Standardized features of the images, (N, D).
        probabilities: Probability of each class, (N, K), in [0, 1].
        labels: Classes asked for, or true ones: (N,), or (N, K) of a multi-label set.
    """

    features: Floats
    probabilities: Floats
    labels: Labels

    @property
    def multi_label(self) -> bool:
        """Whether an image can carry several labels."""
        return self.labels.ndim == 2


def class_metrics(generated: Judged, real: Judged, data: ImageData, config: EvaluationConfig) -> dict[str, Any]:
    """The entries of `evaluation.json` that need to know which class each image was asked to show.

    Args:
        generated: Generated images as the classifier judges them, with the labels asked for.
        real: Test images as the classifier judges them, with their own labels.
        data: The data set, for the names of the classes.
        config: Subsets and seed.
    """
    accuracy = (
        {"class_accuracy": _not_for_multi_label(generated, config), "label_auc": _label_auc(generated, real, config)}
        if generated.multi_label
        else {"class_accuracy": _class_accuracy(generated, real, data.class_names, config)}
    )
    return accuracy | {"class_kid": _class_kid(generated, real, data.class_names, config)}


def hits(probabilities: Floats, labels: Labels) -> NDArray[np.bool_]:
    """Whether the classifier's first choice is the class asked for, (N,)."""
    return np.asarray(probabilities.argmax(axis=1) == labels)


def mean_auc(probabilities: Floats, labels: Labels) -> float | None:
    """Area under the ROC curve, mean over the labels that some images carry and others do not; None without any.

    Args:
        probabilities: Probability of each label, (N, K), in [0, 1].
        labels: True labels, 0 or 1, (N, K).
    """
    from scipy.stats import rankdata

    carried = labels == 1
    positive, negative = carried.sum(axis=0), (~carried).sum(axis=0)
    judged = (positive > 0) & (negative > 0)
    if not judged.any():
        return None
    # The area is the Mann-Whitney statistic: how often an image with the label ranks above one without, ties half.
    ranks = np.where(carried, rankdata(probabilities, axis=0), 0).sum(axis=0)
    areas = (ranks - positive * (positive + 1) / 2)[judged] / (positive * negative)[judged]
    return float(areas.mean())


def _class_accuracy(
    generated: Judged, real: Judged, names: tuple[str, ...], config: EvaluationConfig
) -> dict[str, Any]:
    right, real_right = hits(generated.probabilities, generated.labels), hits(real.probabilities, real.labels)
    by_class = {
        names[label]: {
            **_share(right[members(generated.labels, label)], "n_generated"),
            "floor": _share(real_right[members(real.labels, label)], "n_real"),
        }
        for label in np.unique(generated.labels).tolist()
    }
    return {
        **_share(right, "n_generated"),
        "confidence": CONFIDENCE,
        "interval_method": "Wilson",
        "n_real": len(real_right),
        "seed": config.seed,
        "by_class": by_class,
        "floor": _weighted_floor(by_class),
    }


def _share(right: NDArray[np.bool_], count: str) -> dict[str, Any]:
    """A share of right ones with its interval; nothing is known of no images."""
    if not len(right):
        return {"value": None, "interval": None, count: 0}
    value = float(right.mean())
    return {"value": value, "interval": list(wilson_interval(value, len(right))), count: len(right)}


def _weighted_floor(by_class: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy on real images with the classes as often as they were asked for.

    The classes of the test images may come in other numbers than those asked for, and some are harder to tell than
    others. The interval is Wilson's at Kish's effective number 1 / sum(w^2 / n) of the weighted mean.
    """
    asked = {name: entry for name, entry in by_class.items() if entry["floor"]["n_real"]}
    if not asked:
        return None
    weights = np.array([entry["n_generated"] for entry in asked.values()], float)
    weights /= weights.sum()
    counts = np.array([entry["floor"]["n_real"] for entry in asked.values()])
    value = float(weights @ np.array([entry["floor"]["value"] for entry in asked.values()]))
    effective = float(1 / (weights**2 / counts).sum())
    return {
        "value": min(value, 1.0),
        "interval": list(wilson_interval(min(value, 1.0), effective)),
        "n_real": int(counts.sum()),
        "method": "the real test images, classes weighted as asked for",
    }


def _not_for_multi_label(generated: Judged, config: EvaluationConfig) -> dict[str, Any]:
    return {
        "value": None,
        "interval": None,
        "reason": "an image of this set carries several labels or none: see `label_auc`",
        "n_generated": len(generated.labels),
        "seed": config.seed,
        "floor": None,
    }


def _label_auc(generated: Judged, real: Judged, config: EvaluationConfig) -> dict[str, Any]:
    rng = generator(config.seed, "evaluation: labels")

    def entry(judged: Judged, count: str) -> dict[str, Any]:
        value = mean_auc(judged.probabilities, judged.labels)
        if value is None:
            return {"value": None, "interval": None, "reason": "no label is carried by some images only"}

        def again(i: NDArray[np.int64]) -> float:
            drawn = mean_auc(judged.probabilities[i], judged.labels[i])
            return value if drawn is None else drawn

        interval = bootstrap_interval(again, len(judged.labels), repeats=_REPEATS, rng=rng)
        return {"value": value, "interval": list(interval), count: len(judged.labels)}

    floor = entry(real, "n_real")
    return {
        "n_generated": len(generated.labels),
        **entry(generated, "n_generated"),
        "confidence": CONFIDENCE,
        "interval_method": f"bootstrap over images, {_REPEATS} repeats",
        "n_real": len(real.labels),
        "seed": config.seed,
        "floor": None if floor["value"] is None else {**floor, "method": "the real test images and their own labels"},
    }


def _class_kid(generated: Judged, real: Judged, names: tuple[str, ...], config: EvaluationConfig) -> dict[str, Any]:
    """KID of each class against real images of that class, and its mean over the classes that have enough."""
    rng = generator(config.seed, "evaluation: KID within classes")
    present = generated.labels.sum(axis=0).nonzero()[0] if generated.multi_label else np.unique(generated.labels)
    by_class: dict[str, Any] = {}
    for label in present.tolist():
        own, reference = members(generated.labels, label), members(real.labels, label)
        counts = {"n_generated": len(own), "n_real": len(reference)}
        few = min(counts.values()) < CLASS_MINIMUM
        reason = f"{len(own)} generated and {len(reference)} real images, {CLASS_MINIMUM} of each are needed"
        by_class[names[label]] = (
            {"value": None, "interval": None, "reason": reason, **counts, "floor": None}
            if few
            else kid_score(generated.features[own], real.features[reference], config, rng)
        )
    measured = [entry for entry in by_class.values() if entry["value"] is not None]
    common = {
        "n_generated": len(generated.labels),
        "n_real": len(real.labels),
        "seed": config.seed,
        "classes_measured": len(measured),
        "classes_left_out": [name for name, entry in by_class.items() if entry["value"] is None],
        "by_class": by_class,
    }
    if not measured:
        reason = f"no class has {CLASS_MINIMUM} generated and {CLASS_MINIMUM} real images: sample more images"
        return {"value": None, "interval": None, "reason": reason, **common, "floor": None}
    value = float(np.mean([entry["value"] for entry in measured]))
    return {
        "value": value,
        "interval": _interval_of_mean(value, [entry["interval"] for entry in measured]),
        "confidence": CONFIDENCE,
        "interval_method": "from the classes' own intervals, classes being independent",
        **common,
        "floor": _mean_floor([entry["floor"] for entry in measured]),
    }


def _interval_of_mean(value: float, intervals: list[list[float] | None]) -> list[float] | None:
    """Normal interval of the mean of independent values that have normal intervals of their own."""
    if None in intervals:
        return None
    errors = np.array([(high - low) / 2 for low, high in intervals if high is not None])  # type: ignore[misc]
    half = float(np.sqrt((errors**2).sum()) / len(errors))
    return [value - half, value + half]


def _mean_floor(floors: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    known = [floor for floor in floors if floor is not None]
    if len(known) < len(floors):
        return None
    return {
        "value": float(np.mean([floor["value"] for floor in known])),
        "generated_at_same_n": float(np.mean([floor["generated_at_same_n"] for floor in known])),
        "n_per_side": min(floor["n_per_side"] for floor in known),
        "method": "mean over the classes, disjoint halves of the real test images of each",
    }
