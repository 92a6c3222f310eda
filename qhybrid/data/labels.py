"""Which labels a data set has, and which of them images are asked to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from qhybrid.data.images import ImageData, Labels
from qhybrid.errors import DataError

Classes = Literal["balanced"] | Sequence[int] | Mapping[int, int]
"""Every class alike, the classes to take in turn, or how many images of each."""

# Multiples of the golden ratio, modulo 1, fill the unit interval evenly however many are taken.
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, eq=False)
class LabelSpace:
    """The labels that a conditional model was trained with.

    Attributes:
        names: Name of each of the K classes of the full data set.
        labels: Distinct labels of the training images, in ascending order: class numbers `(P,)`, or for a multi-label
            set rows of 0 and 1 `(P, K)`.
        counts: Training images with each of them `(P,)`.
    """

    names: tuple[str, ...]
    labels: Labels
    counts: Labels

    @classmethod
    def of(cls, data: ImageData) -> LabelSpace:
        """The labels of a data set's training images."""
        labels, counts = np.unique(data.train_labels, axis=0, return_counts=True)
        return cls(data.class_names, labels, counts.astype(np.int64))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LabelSpace:
        """The label space that `to_json` has written.

        Raises:
            KeyError, TypeError, ValueError: It has another content.
        """
        labels, counts = (np.asarray(content[key], dtype=np.int64) for key in ("labels", "counts"))
        names = tuple(str(name) for name in content["names"])
        if labels.ndim not in (1, 2) or counts.shape != labels.shape[:1] or not names or not len(labels):
            raise ValueError("labels and counts do not fit each other")
        most = len(names) - 1 if labels.ndim == 1 else 1
        if labels.min() < 0 or labels.max() > most or labels.shape[1:] not in ((), (len(names),)) or counts.min() < 1:
            raise ValueError("labels and names do not fit each other")
        return cls(names, labels, counts)

    def to_json(self) -> dict[str, Any]:
        """The label space as values that JSON can hold."""
        return {"names": list(self.names), "labels": self.labels.tolist(), "counts": self.counts.tolist()}

    @property
    def multi_label(self) -> bool:
        """Whether an image can have several classes."""
        return self.labels.ndim == 2

    @property
    def classes(self) -> list[int]:
        """Numbers of the classes that training images have, in ascending order."""
        if self.multi_label:
            return [int(k) for k in np.flatnonzero(self.labels.any(axis=0))]
        return [int(k) for k in self.labels]

    def asked(self, classes: Classes, n: int) -> Labels:
        """The label of each of n images; of a smaller n, the first ones.

        Args:
            classes: `balanced`: image i gets the (i mod P)-th of the classes, or in a multi-label set rows in
                proportion to the training images that have them. A list is gone through in turn. A mapping of classes
                to counts gives first all images of its first class; n beyond their sum starts again. In a multi-label
                set a class that is named stands for the row that has it alone.
            n: Number of images.

        Returns:
            int64 `(n,)`, or `(n, K)` for a multi-label set.

        Raises:
            DataError: A class that no training image has.
        """
        if isinstance(classes, str):
            return np.asarray(self.labels[self._balanced(n)], dtype=np.int64)
        if isinstance(classes, Mapping):
            wanted = [int(k) for k, count in classes.items() for _ in range(count)]
        else:
            wanted = [int(k) for k in classes]
        known = self.classes
        for k in wanted:
            if k not in known:
                listed = ", ".join(str(c) if self.names[c] == str(c) else f"{c} ({self.names[c]})" for c in known)
                raise DataError(f"class {k} was asked for, but the training images have none of it: they have {listed}")
        numbers: Labels = np.asarray(np.resize(wanted, n), dtype=np.int64)
        if not self.multi_label:
            return numbers
        return np.asarray(numbers[:, None] == np.arange(len(self.names)), dtype=np.int64)

    def _balanced(self, n: int) -> npt.NDArray[np.intp]:
        if not self.multi_label:
            return np.arange(n) % len(self.labels)
        shares = np.cumsum(self.counts) / self.counts.sum()
        places = np.mod((np.arange(n) + 0.5) * _GOLDEN, 1.0)
        rows: npt.NDArray[np.intp] = np.searchsorted(shares[:-1], places, side="right")
        return rows
