"""A bank as a noise source: which banks may be used, and which of their numbers a draw takes.

How names become places in a bank. Each purpose has a region of its own (forward process 8, latents 1, reverse steps 7
parts of the bank, among the purposes that the configuration turns on). Within its purpose every name has a rank:

    forward   a training's seed, step          rank = seed * training steps + step
    latent    an image's seed, step 0          rank = seed
    reverse   an image's seed, step k + 1      rank = seed * reverse steps + k

and a draw of c numbers of rank r is slot r mod S of the S = floor(region / c) slots. So two names share numbers if and
only if their ranks differ by a multiple of S; any S successive ranks (a run, runs of successive seeds, images of
successive seeds) share nothing, whoever draws them in whichever order, and with `reuse: n` any n * S successive ranks
use no number more than n times. A run that needs more is refused before it starts, and so is one that would exceed
`reuse` together with what others have drawn, which the bank's record counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from qhybrid.config import NoiseConfig
from qhybrid.diffusion.bank import Bank, check_numbers
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.simulate import check_patch, lay_patches
from qhybrid.seeds import Stream

Purpose = Literal["forward", "latent", "reverse"]
# Half of a bank is a training's; of the other half, images take one latent each and then noise in every reverse step.
# Other shares would give every name other numbers.
PARTS: dict[Purpose, int] = {"forward": 8, "latent": 1, "reverse": 7}


class BankSource:
    """One purpose's region of a bank, as a noise source.

    Args:
        bank: An admitted bank.
        noise: Which purposes share the bank.
        purpose: The one that draws here.
        stride: Ranks per seed: training steps, or reverse steps.
    """

    def __init__(self, bank: Bank, noise: NoiseConfig, purpose: Purpose, stride: int) -> None:
        self._bank = bank
        self._start, self._size = region(noise, purpose, bank.record.numbers, bank.record.unit)
        self._purpose = purpose
        self._stride = stride

    def draw(self, name: Stream, shape: Sequence[int]) -> Tensor:
        """Numbers of the bank at a stream's place, float32 of the shape asked for.

        Raises:
            NoiseError: The bank is too small for one draw, or images of this shape are not made of whole patches.
        """
        count = math.prod(shape)
        patch = self._bank.patch
        if patch != (1, 1):
            check_patch(patch, shape, f"the numbers of bank `{self._bank.path}`")
        slots = self.slots(count)
        if not slots:
            raise NoiseError(too_small(self._bank, self._purpose, self._size, count))
        start = self._start + self._rank(name) % slots * count
        values = self._bank.normals(start, count)
        if patch != (1, 1):
            return torch.from_numpy(lay_patches(values, patch, shape))
        return torch.from_numpy(values).reshape(tuple(shape))

    def slots(self, count: int) -> int:
        """Draws of `count` numbers that share nothing."""
        return self._size // count

    def _rank(self, name: Stream) -> int:
        seed, step = name.seed or 0, name.step or 0
        return seed * self._stride + (step if self._purpose == "forward" else max(0, step - 1))


def open_bank(noise: NoiseConfig) -> Bank:
    """The bank of a configuration, if it may be used.

    Raises:
        NoiseError: See `open_source`.
    """
    bank = Bank(noise.bank or "")
    record = bank.record
    if record.source != noise.source.name:
        raise NoiseError(
            f"bank `{bank.path}` is a source of `{record.source}`, the configuration asks for `{noise.source.name}`: "
            f"set `diffusion.noise.source: {record.source}` or take another bank"
        )
    made_by = record.provenance.get("backend")
    if noise.device is not None and made_by != noise.device:
        raise NoiseError(
            f"bank `{bank.path}` comes from `{made_by}`, `diffusion.noise.device` asks for `{noise.device}`: "
            "a device's noise is its own"
        )
    if record.name not in noise.accept:
        if record.certificate is None:
            raise NoiseError(f"bank `{bank.path}` is not certified: run `qhybrid noise certify {bank.path}` first")
        if record.certificate["failed"]:
            raise NoiseError(refusal(record.name, record.certificate["failed"]))
    check_numbers(bank.path)
    return bank


def region(noise: NoiseConfig, purpose: Purpose, numbers: int, unit: int) -> tuple[int, int]:
    """The part of a bank that belongs to one purpose.

    Args:
        noise: Configuration that says which purposes share the bank.
        purpose: Purpose whose part is asked for.
        numbers: Number of values in the whole bank.
        unit: Number of values in a patch, which stay together.

    Returns:
        Place of the first value of the part, and the number of its values, in whole patches.
    """
    active = [name for name in PARTS if getattr(noise, name)]
    before = sum(PARTS[name] for name in active[: active.index(purpose)])
    parts = sum(PARTS[name] for name in active)
    units = numbers // unit
    start, end = before * units // parts, (before + PARTS[purpose]) * units // parts
    return start * unit, (end - start) * unit


def too_small(bank: Bank, purpose: Purpose, size: int, count: int) -> str:
    """The line about a bank that is too small for a single draw.

    Args:
        bank: Bank that the draw was to be made from.
        purpose: Purpose that was to be drawn for.
        size: Numbers in the purpose's part of the bank.
        count: Numbers that one draw takes.
    """
    return (
        f"bank `{bank.path}` is exhausted by a single draw: {count:,} numbers wanted ({purpose}), {size:,} there; "
        "make a larger one"
    )


def refusal(name: str, failed: Sequence[str]) -> str:
    """The line about a source whose checks of these names failed, and how it may be used all the same."""
    return (
        f"noise source `{name}` fails its claim ({', '.join(failed)}): debias it, take another, or accept it by name "
        f"with `diffusion.noise.accept: [{name}]`"
    )
