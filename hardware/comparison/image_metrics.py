"""How images with the bottleneck on a device differ from their twins, the same seeds in exact simulation.

A run on a device makes a few images, and distances between distributions (KID, FID) mean nothing at n = 16. But each
image has a twin, so each difference is paired: in pixels, in structure (Wang et al. 2004, SSIM), and in what the
classifier of the data set sees. Images of classes that were asked for are judged by them as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.data.images import Labels
from qhybrid.evaluation.conditional import hits
from qhybrid.evaluation.features import FeatureExtractor, stored_extractor
from qhybrid.evaluation.intervals import wilson_interval
from qhybrid.evaluation.record import read_features
from qhybrid.rundir import RunDirectory

Images = NDArray[np.uint8]

_SSIM_WINDOW = 7


def compare_images(images: Images, twins: Images, classifier: FeatureExtractor | None) -> dict[str, Any]:
    """Paired differences between two sets of images.

    Args:
        images: Generated images, uint8 `(N, H, W)` or `(N, H, W, 3)`.
        twins: Images of the same shape, made from the same seeds in exact simulation.
        classifier: Classifier of the data set; `None` leaves out the two numbers that need one.

    Returns:
        `n`; `rms` of pixels on a scale from 0 to 1; `ssim`, mean structural similarity, 1 for equal images;
        `same_class`, share of images that the classifier puts into the class of their twin; `feature_distance`, mean
        distance to the twin in the classifier's features, as part of the mean distance between two twins (0: the same
        image, 1: as far as another image); `None` where there is no classifier, or only one image.
    """
    if images.ndim == 3:
        images, twins = images[..., None], twins[..., None]
    difference = (images.astype(np.float64) - twins.astype(np.float64)) / 255
    found: dict[str, Any] = {
        "n": len(images),
        "rms": float(np.sqrt(np.mean(difference**2))),
        "ssim": _mean_ssim(images, twins),
        "same_class": None,
        "feature_distance": None,
    }
    if classifier is not None:
        features, classes = _seen(classifier, images)
        twin_features, twin_classes = _seen(classifier, twins)
        found["same_class"] = float(np.mean((classes == twin_classes).all(axis=1)))
        apart = _mean_distance(twin_features)
        if apart:
            found["feature_distance"] = float(np.linalg.norm(features - twin_features, axis=1).mean() / apart)
    return found


def class_accuracies(
    sources: Mapping[str, Images], labels: Labels | None, classifier: FeatureExtractor | None
) -> dict[str, Any] | None:
    """How often the classifier sees the class that was asked for.

    Args:
        sources: Images `(N, H, W)` or `(N, H, W, 3)` by where their bottleneck ran.
        labels: Class asked for of each image, `(N,)`.
        classifier: Classifier of the data set, if there is one.

    Returns:
        `n`, and by source `value` and its 95 % `interval` (Wilson 1927); `None` without a classifier, of an
        unconditional model, and of images with several labels, of which no one class is asked for.
    """
    if classifier is None or labels is None or labels.ndim != 1:
        return None
    found: dict[str, Any] = {"n": len(labels)}
    for name, images in sources.items():
        _, probabilities = classifier(images[..., None] if images.ndim == 3 else images)
        share = float(hits(probabilities, labels).mean())
        found[name] = {"value": share, "interval": list(wilson_interval(share, len(labels)))}
    return found


def run_classifier(run: RunDirectory, image_shape: tuple[int, int, int]) -> FeatureExtractor | None:
    """The classifier that the run's evaluation used; `None` if the run was not evaluated, or not on this machine.

    Args:
        run: Directory of the run.
        image_shape: Shape of one image, `(C, H, W)`.

    Raises:
        RunDirectoryError: `evaluation.json` is damaged.
    """
    if not run.evaluation_file.exists():
        return None
    return stored_extractor(read_features(run), channels=image_shape[0], image_size=image_shape[1])


def _mean_ssim(images: Images, twins: Images) -> float:
    from skimage.metrics import structural_similarity

    side = min(images.shape[1:3])
    window = min(_SSIM_WINDOW, side if side % 2 else side - 1)
    pairs = zip(images, twins, strict=True)
    return float(
        np.mean([structural_similarity(a, b, win_size=window, data_range=255, channel_axis=-1) for a, b in pairs])
    )


def _seen(classifier: FeatureExtractor, images: Images) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features `(N, d)`, and the class `(N, 1)` or, where an image has several, every label `(N, classes)`."""
    features, probabilities = classifier(images)
    if classifier.multi_label:
        return features, (probabilities > 0.5).astype(np.int64)
    return features, probabilities.argmax(axis=1)[:, None]


def _mean_distance(features: NDArray[np.float64]) -> float:
    """Between all pairs of different rows."""
    from scipy.spatial.distance import pdist

    return float(pdist(features).mean()) if len(features) > 1 else 0.0
