"""The images to be judged, and the real ones that they are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import RunConfig
from qhybrid.data import ImageData
from qhybrid.errors import EvaluationError, RunDirectoryError
from qhybrid.files import DamagedFileError, read_npz
from qhybrid.rundir import RunDirectory
from qhybrid.seeds import generator

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

MINIMUM = 10
"""Fewest generated and real images that are judged at all."""


@dataclass(frozen=True)
class Samples:
    """What `samples/images.npz` holds.

    Attributes:
        images: Generated images, uint8 (N, H, W, C).
        seeds: Seed of each image, (N,).
        labels: Classes asked for, (N,), or (N, K) of a multi-label set; None of an unconditional model.
    """

    images: Images
    seeds: Labels
    labels: Labels | None


def check_evaluable(config: RunConfig, data: ImageData) -> None:
    """Find out before a training whether its images can be judged afterwards.

    Args:
        config: The run; without an `evaluation` section nothing is asked.
        data: Data set of the run.

    Raises:
        EvaluationError: Too few images will be generated, or the data set has too few test images or one class only.
        CircuitError: There is no device of the name in `evaluation.reliance.device`.
    """
    if config.evaluation is None:
        return
    if config.sampling is not None and config.sampling.images < MINIMUM:
        raise EvaluationError(
            f"`sampling.images: {config.sampling.images}`: `evaluation` needs at least {MINIMUM}: raise it, or leave "
            "`evaluation` out"
        )
    if len(data.test) < MINIMUM:
        raise EvaluationError(
            f"`{data.name}` has {len(data.test)} test images of these classes, `evaluation` needs at least {MINIMUM}: "
            "choose more classes in `data.classes`, or leave `evaluation` out"
        )
    if len(data.class_names) < 2:
        raise EvaluationError(
            f"data set `{data.name}` has 1 class: the classifier of `evaluation` needs at least 2: leave it out"
        )
    reliance = config.evaluation.reliance
    if reliance is not None and reliance.device is not None:
        from qhybrid.quantum.devices.snapshots import snapshot

        snapshot(reliance.device)


def load_samples(run: RunDirectory, data: ImageData) -> Samples:
    """The sampled images, checked against the data set.

    Raises:
        RunDirectoryError: The file is missing or damaged.
        EvaluationError: Too few images, another shape than the data set's, or labels that it does not have.
    """
    try:
        arrays = read_npz(run.images_file, ["images", "seeds"], ["labels"])
    except FileNotFoundError:
        raise RunDirectoryError(
            f"`{run.path}` has no samples/images.npz: run `qhybrid sample {run.path}` first"
        ) from None
    except DamagedFileError as error:
        raise RunDirectoryError(f"`{run.images_file}` cannot be read ({error}): run `qhybrid sample` again") from None
    images, seeds, labels = arrays["images"], arrays["seeds"], arrays.get("labels")
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.shape[1:] != data.test.shape[1:]:
        raise EvaluationError(
            f"generated images are {images.dtype} {images.shape[1:]}, those of `{data.name}` are uint8 "
            f"{data.test.shape[1:]}: evaluate a run with the data set it was trained on"
        )
    for count, what, remedy in (
        (len(images), "generated images", "raise `sampling.images`"),
        (len(data.test), "real test images of these classes", "choose more classes in `data.classes`"),
    ):
        if count < MINIMUM:
            raise EvaluationError(f"{count} {what}, at least {MINIMUM} are needed: {remedy}")
    if labels is not None:
        _check_labels(labels, len(images), data)
    return Samples(np.asarray(images, np.uint8), seeds, labels)


def members(labels: Labels, k: int) -> Labels:
    """Places of the images of class k, or of those of a multi-label set that carry it."""
    return np.flatnonzero(labels[:, k] == 1 if labels.ndim == 2 else labels == k)


def _check_labels(labels: Labels, count: int, data: ImageData) -> None:
    most = 1 if data.multi_label else len(data.class_names) - 1
    shape = (count, *data.train_labels.shape[1:])
    if labels.shape != shape or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > most:
        found = f" from {labels.min()} to {labels.max()}" if labels.size else ""
        raise EvaluationError(
            f"samples/images.npz has labels {labels.dtype} {labels.shape}{found}, those of `{data.name}` are "
            f"integers {shape} from 0 to {most}: run `qhybrid sample` again"
        )


def asked_mix(labels: Labels, truth: Labels, seed: int) -> Labels:
    """Places of the real images that conditional ones are compared with: as many as show the classes as asked for.

    Images asked for in equal numbers of each class follow another law than a test set in which one class is rare, and
    would keep their distance however good each class is. Rows of a multi-label set are asked for as often as they
    occur.

    Args:
        labels: What each generated image was asked to show, `(N,)` or `(N, K)`.
        truth: What each real image shows, `(M,)` or `(M, K)`.
        seed: Seed of the draw.
    """
    everything = np.arange(len(truth))
    if truth.ndim == 2:
        return everything
    asked, counts = np.unique(labels, return_counts=True)
    members = [np.flatnonzero(truth == label) for label in asked]
    scale = min((len(own) / n for own, n in zip(members, counts, strict=True) if len(own)), default=0.0)
    order = generator(seed, "evaluation: reference of the classes asked for")
    drawn = [order.permutation(own)[: round(scale * n)] for own, n in zip(members, counts, strict=True)]
    kept = np.sort(np.concatenate(drawn))
    return kept if len(kept) >= MINIMUM else everything
