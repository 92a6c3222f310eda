"""Train on synthetic, test on real: are generated images of use in place of real ones?

A new classifier is trained on generated images and the labels that they were asked to have, and tested on real images;
beside it stands the same classifier trained on as many real images (Esteban et al. 2017, arXiv 1706.02633, section 4).
A sampler that makes clear but uniform images of each class scores high in class accuracy and low here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import EvaluationConfig
from qhybrid.data import ImageData
from qhybrid.evaluation.conditional import Labels, hits, mean_auc
from qhybrid.evaluation.features import predict_after_training
from qhybrid.evaluation.intervals import CONFIDENCE, bootstrap_interval, wilson_interval
from qhybrid.seeds import generator

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

MOST_IMAGES = 5000
"""Most images that are trained or tested with."""

MINIMUM = 20
"""Fewest generated, training and test images for a value."""

_REPEATS = 300


def synthetic_training(
    images: Images, labels: Labels, data: ImageData, config: EvaluationConfig, *, device: str
) -> dict[str, Any]:
    """The entry `synthetic_training`: accuracy on real test images, or mean ROC area of a multi-label set.

    Args:
        images: Generated images, uint8 (N, H, W, C).
        labels: What they were asked to show, (N,) or (N, K).
        data: Training and test images of the run.
        config: Configuration of the evaluation, whose seed chooses images, initial weights and order.
        device: `auto`, `cpu` or `cuda`.
    """
    rng = generator(config.seed, "evaluation: train on synthetic")
    train, train_labels = _of_classes(data.train, data.train_labels, labels)
    test, test_labels = _of_classes(data.test, data.test_labels, labels)
    count = min(len(images), len(train), MOST_IMAGES)
    entry: dict[str, Any] = {"n_train": count, "n_real": len(test), "n_generated": len(images), "seed": config.seed}
    reason = None
    if len(np.unique(labels, axis=0)) < 2:
        reason = "all images were asked to show the same: there is nothing to tell apart"
    elif min(count, len(test)) < MINIMUM:
        reason = f"{len(images)} generated, {len(train)} training and {len(test)} test images, {MINIMUM} are needed"
    if reason is not None:
        return {"value": None, "interval": None, "reason": reason, **entry, "floor": None}
    kept = rng.permutation(len(test))[:MOST_IMAGES]
    test, test_labels = test[kept], test_labels[kept]
    results = []
    for pool, answers, title in ((images, labels, "train on synthetic"), (train, train_labels, "train on real")):
        drawn = rng.permutation(len(pool))[:count]
        probabilities = predict_after_training(
            pool[drawn],
            answers[drawn],
            test,
            classes=len(data.class_names),
            seed=config.seed,
            device=device,
            title=title,
        )
        results.append(_score(probabilities, test_labels, rng))
    (value, interval), (real, real_interval) = results
    return {
        "value": value,
        "interval": interval,
        "confidence": CONFIDENCE,
        "interval_method": "Wilson" if labels.ndim == 1 else f"bootstrap over test images, {_REPEATS} repeats",
        **entry,
        "n_real": len(test),
        "measure": "accuracy" if labels.ndim == 1 else "mean area under the ROC curve",
        "floor": {
            "value": real,
            "interval": real_interval,
            "n_real": len(test),
            "method": f"the same classifier trained on {count} real training images",
        },
    }


def _of_classes(images: Images, truth: Labels, asked: Labels) -> tuple[Images, Labels]:
    """The images of the classes that were asked for; of a multi-label set all."""
    if asked.ndim == 2:
        return images, truth
    kept = np.isin(truth, asked)
    return images[kept], truth[kept]


def _score(probabilities: Floats, truth: Labels, rng: np.random.Generator) -> tuple[float | None, list[float] | None]:
    if truth.ndim == 1:
        value = float(hits(probabilities, truth).mean())
        return value, list(wilson_interval(value, len(truth)))
    area = mean_auc(probabilities, truth)
    if area is None:
        return None, None

    def again(i: NDArray[np.int64]) -> float:
        drawn = mean_auc(probabilities[i], truth[i])
        return area if drawn is None else drawn

    return area, list(bootstrap_interval(again, len(truth), repeats=_REPEATS, rng=rng))
