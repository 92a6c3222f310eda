"""Which metrics the evaluation of a run will have no value for: known from its configuration and data alone."""

from __future__ import annotations

import numpy as np

from qhybrid.config import EvaluationConfig, RunConfig, SamplingConfig
from qhybrid.data import ImageData
from qhybrid.data.labels import LabelSpace
from qhybrid.errors import EvaluationError
from qhybrid.evaluation.classifier import FEATURE_DIM
from qhybrid.evaluation.conditional import CLASS_MINIMUM, Labels
from qhybrid.evaluation.memorisation import held_out
from qhybrid.evaluation.samples import asked_mix, members
from qhybrid.evaluation.synthetic import MINIMUM as SYNTHETIC_MINIMUM
from qhybrid.seeds import evaluation_generator

_OF_LABELS = ("class_accuracy", "label_auc", "class_kid", "synthetic_training")
_OF_NEIGHBOURS = ("precision", "recall", "density", "coverage")


def unmeasured(config: RunConfig, data: ImageData) -> dict[str, str]:
    """The metrics that `evaluation.json` will lack or give no value, each with the reason and what helps.

    Args:
        config: Configuration of the run.
        data: Data set of the run.

    Raises:
        DataError: `sampling.classes` asks for a class that no training image has.
    """
    evaluation, sampling = config.evaluation or EvaluationConfig(), config.sampling or SamplingConfig()
    labels = None
    if config.model.condition != "none":
        labels = LabelSpace.of(data).asked(sampling.classes, sampling.images)
    real = len(data.test) if labels is None else len(asked_mix(labels, data.test_labels, evaluation.seed))
    counts = f"{sampling.images} generated and {real} test images"
    least = min(sampling.images, real)
    found = {}
    if least <= FEATURE_DIM:
        found["fid"] = f"it needs {FEATURE_DIM + 1} of each, found {counts}: raise `sampling.images`, or take `kid`"
    if least <= evaluation.neighbours:
        reason = f"it needs {evaluation.neighbours + 1} of each, found {counts}: lower `evaluation.neighbours`"
        found |= dict.fromkeys(_OF_NEIGHBOURS, reason)
    try:
        held_out(data, evaluation_generator(evaluation.seed, "held_out"))
    except EvaluationError as error:
        found |= dict.fromkeys(("memorisation_share", "memorisation_ratio"), str(error))
    if labels is None:
        reason = "its images are asked for no class: set `model.condition: class`, or take `kid`"
        return found | dict.fromkeys(_OF_LABELS, reason)
    return found | _of_labels(labels, data)


def _of_labels(labels: Labels, data: ImageData) -> dict[str, str]:
    """Metrics without a value although images are asked for classes."""
    found = {}
    if not data.multi_label:
        found["label_auc"] = "its images have one class each: take `class_accuracy`"
    else:
        found["class_accuracy"] = "its images have several labels or none: take `label_auc`"
        if not _can_be_told(labels):
            found["label_auc"] = "no label is asked for of some images only: raise `sampling.images`"
    classes = range(len(data.class_names))
    fewest = [min(len(members(labels, k)), len(members(data.test_labels, k))) for k in classes]
    if max(fewest) < CLASS_MINIMUM:
        found["class_kid"] = f"no class has {CLASS_MINIMUM} generated and test images: raise `sampling.images`"
    train, test = data.train_labels, data.test_labels
    if not data.multi_label:
        train, test = (truth[np.isin(truth, labels)] for truth in (train, test))
    if len(np.unique(labels, axis=0)) < 2:
        found["synthetic_training"] = "all images are asked for the same: name more in `sampling.classes`"
    elif min(len(labels), len(train), len(test)) < SYNTHETIC_MINIMUM:
        found["synthetic_training"] = (
            f"it needs {SYNTHETIC_MINIMUM} of each, found {len(labels)} generated, {len(train)} training and "
            f"{len(test)} test images: take more"
        )
    elif data.multi_label and not _can_be_told(test):
        found["synthetic_training"] = "no label is carried by some test images only: take `kid`"
    return found


def _can_be_told(labels: Labels) -> bool:
    """Whether some label (N, K) is carried by some images and not by others."""
    return bool((labels.any(axis=0) & ~labels.all(axis=0)).any())
