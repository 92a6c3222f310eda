"""Class filter and seeded subsets of the training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qhybrid.data.images import ImageData, Labels
from qhybrid.errors import DataError
from qhybrid.seeds import permutation


def select(data: ImageData, classes: list[int] | None, n_train: int | None, seed: int) -> ImageData:
    """Keep some classes in every split, then draw `n_train` training images; the others become `unused`.

    Args:
        data: The full set.
        classes: Class numbers to keep; None keeps all.
        n_train: Size of the subset; None keeps all.
        seed: Seed of the subset. With one seed, a smaller subset is part of a larger one.

    Raises:
        DataError: Unknown class; a class filter on a multi-label set; more images asked for than there are.
    """
    if classes is not None:
        data = _filter_classes(data, classes)
    if n_train is None:
        return data
    available = len(data.train)
    if n_train > available:
        of = f"`{data.name}`" + (f" in classes {sorted(set(classes))}" if classes is not None else "")
        raise DataError(
            f"`data.n_train: {n_train}` exceeds the {available} training images of {of}: ask for at most {available}"
        )
    drawn = np.zeros(available, dtype=bool)
    drawn[balanced_subset(data.train_labels, n_train, seed)] = True
    return replace(
        data,
        train=data.train[drawn],
        train_labels=data.train_labels[drawn],
        unused=data.train[~drawn],
        unused_labels=data.train_labels[~drawn],
    )


def balanced_subset(labels: Labels, n: int, seed: int) -> npt.NDArray[np.intp]:
    """Draw n images, as evenly over the classes as their sizes allow.

    Classes are dealt one image each in turn; a class that runs out is passed over. So class counts differ by at most
    one unless a class has too few images, and with one seed subsets are nested. Multi-label rows have no one
    class: there the draw is uniform over images.

    Args:
        labels: (N,) class numbers, or (N, K) multi-label.
        n: Number of images to draw, at most N.
        seed: Seed of the draw.

    Returns:
        Positions of the drawn images in ascending order, (n,).
    """
    order = permutation(len(labels), seed)
    if labels.ndim == 2:
        return np.sort(order[:n])
    shuffled = labels[order]
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = shuffled == label
        turn[members] = np.arange(np.count_nonzero(members))
    # Sorting by turn, stably on the shuffled order, also shuffles which classes get the remainder of the last turn.
    return np.sort(order[np.argsort(turn, kind="stable")[:n]])


def _filter_classes(data: ImageData, classes: list[int]) -> ImageData:
    if data.multi_label:
        raise DataError(
            f"`data.classes: {classes}`: `{data.name}` is a multi-label set, where an image can carry several classes "
            "or none, so it cannot be filtered by class: leave `data.classes` out"
        )
    unknown = sorted(set(classes) - set(range(len(data.class_names))))
    if unknown:
        known = ", ".join(_describe_class(number, name) for number, name in enumerate(data.class_names))
        raise DataError(f"`data.classes: {classes}`: `{data.name}` has no class {unknown[0]}; its classes are {known}")
    train, val, test = (np.isin(labels, classes) for labels in (data.train_labels, data.val_labels, data.test_labels))
    return replace(
        data,
        train=data.train[train],
        train_labels=data.train_labels[train],
        val=data.val[val],
        val_labels=data.val_labels[val],
        test=data.test[test],
        test_labels=data.test_labels[test],
    )


def _describe_class(number: int, name: str) -> str:
    return str(number) if name == str(number) else f"{number} ({name})"
