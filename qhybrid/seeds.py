"""Where every NumPy generator of the project comes from, and the seeds of torch's: one scheme, in one module.

A draw is named by what it is for, by the seed that the user gave, and by its place (a step, an epoch, an attempt).
The same name always gives the same numbers, whatever was drawn before, by whom and in which process, and different
names give statistically independent numbers. NumPy's `SeedSequence`, which hashes all words of a name, sees to both;
seeding by sums or products of the integers would let streams coincide.

New draws use `generator(seed, purpose, *place)`: a child of the seed's sequence, spawned by the name of its purpose.
The other functions keep, in value, what stored checkpoints, images and banks were made with, each under its own rule:

- `Stream`: noise, time steps, orders of images and measured shots. Words of the name: a number for the purpose
  (none for images), the seed, the step.
- `initial_seed`: initial weights of a model's three parts, `3 * seed + part`.
- `permutation`: subsets and splits of a data set, from the raw numbers of PCG64, which no version of NumPy changes.
- `evaluation_generator`: images and repeats that an evaluation draws, `[seed, number of the part]`.
- `value_digest`: sampled expectation values, SHA-256 of the seed and the parameter values, so that equal calls give
  equal samples and a resumed training sees what the uninterrupted one would have seen.
- `plain_generator`: numbers that stand alone, by one seed: angles at which a circuit is probed, bootstrap repeats, the
  matrix of a hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Purpose = Literal["image", "order", "times", "training", "bank", "certificate", "calibration"]
"""What a stream is for: an image's latent and reverse steps; a training's order of images, time steps and noise; the
numbers of a simulated bank; numbers that only certify, or only calibrate, a simulated source."""

# Image seeds, training seeds and steps lie below 2 ** 60, so the words of two purposes never agree.
_PURPOSE_WORDS: dict[Purpose, tuple[int, ...]] = {
    "image": (),
    "order": (0,),
    "times": (1,),
    "training": (2,),
    "bank": (1 << 60,),
    "certificate": (1 << 61,),
    "calibration": (1 << 62,),
}
_PARTS = {"unet": 0, "gate": 1, "circuit": 2}
_EVALUATIONS = {"distances": 1, "classes": 2, "memorisation": 3, "held_out": 4}


@dataclass(frozen=True)
class Stream:
    """The name of one stream of random numbers.

    Attributes:
        purpose: What the numbers are for.
        seed: The image's, the run's or the bank's seed; `None` for purposes that have none.
        step: The place within the seed: 0 for an image's latent and k + 1 for its reverse step k; the step of a
            training; the epoch of an order; the piece of a bank. `None` for the only draw of its seed.
    """

    purpose: Purpose
    seed: int | None = None
    step: int | None = None

    @property
    def words(self) -> tuple[int, ...]:
        """The integers that name the stream."""
        place = tuple(word for word in (self.seed, self.step) if word is not None)
        return (*_PURPOSE_WORDS[self.purpose], *place)

    def torch_generator(self) -> torch.Generator:
        """A generator of torch on the CPU, at the start of the stream."""
        import torch

        return torch.Generator().manual_seed(_hash(self.words))

    def numpy_generator(self) -> np.random.Generator:
        """A generator of NumPy at the start of the stream."""
        return np.random.default_rng(self.words)

    def shots_generator(self, attempt: int | None = None) -> np.random.Generator:
        """A generator for measured shots; each attempt to measure enough of them has numbers of its own."""
        words = self.words if attempt is None else (*self.words, attempt)
        return np.random.default_rng(_hash(words) >> 2)


def generator(seed: int, purpose: str, *place: int) -> np.random.Generator:
    """A generator for one purpose under a seed.

    Args:
        seed: The user's seed, at least 0.
        purpose: What the numbers are for, in words of the caller's choice, e.g. `evaluation of classes`.
        place: Further integers of the name, at least 0.
    """
    name = purpose.encode()
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(name), *name, *place)))


def plain_generator(seed: int | Sequence[int] | NDArray[np.uint32] | None) -> np.random.Generator:
    """A generator for numbers that stand alone, seeded by one name as it is.

    Args:
        seed: An integer, or the words of a digest; `None` for numbers that nobody wants to repeat.
    """
    return np.random.default_rng(seed)


def initial_seed(seed: int, part: Literal["unet", "gate", "circuit"]) -> int:
    """The seed of the initial weights of a part of the model, in [0, 2 ** 64).

    Three parts have three streams, so that all arms of a study start from the same shared layers.

    Args:
        seed: Seed of the run.
        part: `unet` for the shared layers, `gate` for the arm's own classical layers, `circuit` for its weights.
    """
    return (3 * seed + _PARTS[part]) % (1 << 64)


def evaluation_generator(
    seed: int, part: Literal["distances", "classes", "memorisation", "held_out"]
) -> np.random.Generator:
    """A generator for what one part of an evaluation draws: subsets of images and bootstrap repeats."""
    return np.random.default_rng([seed, _EVALUATIONS[part]])


def permutation(n: int, seed: int) -> NDArray[np.intp]:
    """A permutation of 0, ..., n - 1, shape `(n,)`, that depends on the seed alone.

    NumPy promises the raw stream of a bit generator for all versions, but not that of `Generator.permutation`.
    """
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def value_digest(prefix: str, *values: NDArray[np.float64]) -> bytes:
    """SHA-256 of a name and of parameter values: 32 bytes to seed the sampling at these values with.

    Args:
        prefix: The seed, and what the samples are for if one seed serves for several things.
        values: float64 arrays of any shape.
    """
    digest = hashlib.sha256(prefix.encode())
    for array in values:
        digest.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return digest.digest()


def _hash(words: tuple[int, ...]) -> int:
    """64 bits of a name. `SeedSequence` fills short names up with zeros; with the length, (5,) and (5, 0) differ."""
    return int(np.random.SeedSequence((*words, len(words))).generate_state(1, np.uint64)[0])
