"""The feature space of the metrics: a small classifier, trained once per data set on its full training split.

All classes and all training images are used, whatever class filter and subset the run itself was trained on, so runs on
parts of one data set are measured in one space. Trained weights are kept in a cache folder and their hash stands in
every result; a hash differs where the machine adds in another order (thread count, GPU), and metrics are comparable
only under one hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from qhybrid.data import ImageData, to_tensor
from qhybrid.errors import EvaluationError, RunDirectoryError
from qhybrid.evaluation.classifier import FEATURE_DIM, Classifier
from qhybrid.files import atomic_path, cache_folder
from qhybrid.progress import progress

Floats = NDArray[np.float64]

ARCHITECTURE = "convnet-1"
"""Changes whenever network or training change: it is part of the cache's key."""

_BATCH = 64
_EPOCHS = 15
_MIN_STEPS, _MAX_STEPS = 300, 1200
_STEPS_ANEW = 150


@dataclass(frozen=True)
class FeatureExtractor:
    """A trained classifier and the standardization of its features.

    Attributes:
        network: Classifier in evaluation mode, on the CPU.
        mean, scale: Mean and standard deviation of each feature over the training images, (FEATURE_DIM,); the latter is
            1 where a feature hardly varies.
        multi_label: Logits are independent labels rather than exclusive classes.
        record: What a result says of its features: architecture, hash of the weights, seed, data, accuracy.
        cached: Read from the cache rather than trained now.
    """

    network: Classifier
    mean: Floats
    scale: Floats
    record: Mapping[str, Any]
    multi_label: bool
    cached: bool

    def __call__(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Standardized features (N, FEATURE_DIM) and class probabilities (N, classes) of uint8 images (N, H, W, C)."""
        features, logits = _apply(self.network, images)
        probabilities = torch.sigmoid(logits) if self.multi_label else torch.softmax(logits, dim=1)
        return (features.double().numpy() - self.mean) / self.scale, probabilities.double().numpy()


def feature_extractor(full: ImageData, *, seed: int = 0, device: str = "auto") -> FeatureExtractor:
    """The classifier of a data set: from the cache, or trained now and put there.

    Args:
        full: The whole data set, neither filtered by class nor reduced to a subset.
        seed: Seed of the initial weights and the order of images.
        device: `auto`, `cpu` or `cuda`; for training only.

    Raises:
        EvaluationError: Fewer than two classes.
    """
    multi_label = full.multi_label
    classes = full.train_labels.shape[1] if multi_label else len(full.class_names)
    if classes < 2:
        raise EvaluationError(f"data set `{full.name}` has {classes} class: classifier features need at least 2")
    side, channels = full.image_size, full.channels
    key = hashlib.sha256(
        json.dumps([full.checksum, ARCHITECTURE, seed, side, channels, classes, multi_label]).encode()
    ).hexdigest()
    path = cache_folder("features") / f"{full.name}-{key[:16]}.safetensors"
    network = _initial(seed, channels, side, classes)
    cached = _read(path, network)
    if cached is not None:
        return FeatureExtractor(network, *cached, multi_label=multi_label, cached=True)
    # A damaged file may have left half of its weights.
    network = _initial(seed, channels, side, classes)
    steps = min(max(_EPOCHS * len(full.train) // _BATCH, _MIN_STEPS), _MAX_STEPS)
    _train(network, full.train, full.train_labels, seed, _device(device), steps, "feature classifier")
    features = _apply(network, full.train)[0].double()
    mean, spread = features.mean(dim=0), features.std(dim=0)
    # A feature that is constant on real images says nothing, and dividing by its rounding error would make it loud.
    scale = torch.where(spread > 1e-3 * spread.mean(), spread, torch.ones_like(spread))
    tensors = {**network.state_dict(), "feature_mean": mean, "feature_scale": scale}
    _, logits = _apply(network, full.test)
    record = {
        "architecture": ARCHITECTURE,
        "hash": weights_hash(tensors),
        "seed": seed,
        "dataset": full.name,
        "data_checksum": full.checksum,
        "dimension": FEATURE_DIM,
        "multi_label": multi_label,
        "n_train": len(full.train),
        "n_test": len(full.test),
        "accuracy": _accuracy(logits, full.test_labels, multi_label),
    }
    _write(path, tensors, record)
    return FeatureExtractor(network, mean.numpy(), scale.numpy(), record, multi_label=multi_label, cached=False)


def predict_after_training(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    test: NDArray[np.uint8],
    *,
    classes: int,
    seed: int,
    device: str,
    title: str,
) -> Floats:
    """Class probabilities (M, K) of `test` by a new classifier of the same architecture, trained on other images.

    Args:
        images: Training images, uint8 (N, H, W, C).
        labels: Labels of the training images, (N,), or (N, K) where an image has several.
        test: Images to be classified, uint8 (M, H, W, C).
        classes: Number of classes, K.
        seed: Seed of the initial weights and the order of images.
        device: `auto`, `cpu` or `cuda`; for training only.
        title: Title of the progress bar.
    """
    network = _initial(seed, images.shape[3], images.shape[1], classes)
    _train(network, images, labels, seed, _device(device), _STEPS_ANEW, title)
    logits = _apply(network, test)[1]
    probabilities = torch.sigmoid(logits) if labels.ndim == 2 else torch.softmax(logits, dim=1)
    return probabilities.double().numpy()


def stored_extractor(record: Mapping[str, Any], *, channels: int, image_size: int) -> FeatureExtractor | None:
    """The very classifier that an evaluation used, if this machine keeps its weights; no data set is read.

    Args:
        record: `features` of an `evaluation.json`.
        channels: Number of channels of the images, 1 or 3.
        image_size: Side of the images in pixels.
    """
    for path in sorted(cache_folder("features").glob("*.safetensors")):
        if not path.name.startswith(f"{record['dataset']}-"):
            continue
        try:
            with safe_open(path, framework="pt") as file:
                kept = json.loads(file.metadata()["record"])
                classes = file.get_slice("head.bias").get_shape()[0]
                same = kept["hash"] == record["hash"]
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            continue
        if same:
            network = _initial(0, channels, image_size, classes)
            found = _read(path, network)
            return (
                None
                if found is None
                else FeatureExtractor(network, *found, kept.get("multi_label", False), cached=True)
            )
    return None


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _initial(seed: int, channels: int, side: int, classes: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(channels, side, classes).eval()


def _device(name: str) -> torch.device:
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _train(
    network: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    seed: int,
    device: torch.device,
    steps: int,
    title: str,
) -> None:
    """Adam with one learning-rate cycle; labels `(N,)`, or `(N, K)` where an image has several."""
    multi_label = labels.ndim == 2
    count = len(images)
    targets = torch.from_numpy(labels).to(torch.float32 if multi_label else torch.int64)
    order = torch.Generator().manual_seed(seed)
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    queue = torch.empty(0, dtype=torch.int64)
    with progress(title, steps) as advance, torch.backends.cudnn.flags(deterministic=True):
        for _ in range(steps):
            while len(queue) < _BATCH:
                queue = torch.cat([queue, torch.randperm(count, generator=order)])
            batch, queue = queue[:_BATCH], queue[_BATCH:]
            _, logits = network(to_tensor(images[batch.numpy()]).to(device))
            target = targets[batch].to(device)
            loss = (
                F.binary_cross_entropy_with_logits(logits, target) if multi_label else F.cross_entropy(logits, target)
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cycle.step()
            advance()
    network.to("cpu").eval()


@torch.no_grad()
def _apply(network: Classifier, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    parts = [network(to_tensor(images[start : start + 500])) for start in range(0, len(images), 500)]
    return torch.cat([features for features, _ in parts]), torch.cat([logits for _, logits in parts])


def _accuracy(logits: Tensor, labels: NDArray[np.int64], multi_label: bool) -> float:
    """Share of right classes; of right labels where an image has several."""
    guess = (logits > 0).long() if multi_label else logits.argmax(dim=1)
    return float((guess.numpy() == labels).mean())


_TOLD: set[Path] = set()
"""Folders of which this process has said that they cannot be written."""


def _write(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(dict(tensors), metadata={"record": json.dumps(record)}))
    except (OSError, RunDirectoryError) as error:
        # Trained again for the next evaluation; the hours before this one are worth more.
        if path.parent not in _TOLD:
            sys.stderr.write(f"the classifier is not kept ({error}): set QHYBRID_CACHE to a writable folder\n")
        _TOLD.add(path.parent)


def _read(path: Path, network: Classifier) -> tuple[Floats, Floats, dict[str, Any]] | None:
    """Load the cached weights into `network`; None if there are none, or if the file is damaged."""
    if not os.path.isfile(path):
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
            record = json.loads(file.metadata()["record"])
        if weights_hash(tensors) != record["hash"]:
            return None
        mean, scale = tensors.pop("feature_mean").numpy(), tensors.pop("feature_scale").numpy()
        network.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError):
        return None
    return mean, scale, record
