"""What a run is going to draw, whether its bank suffices, and the bank's record of who has drawn how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qhybrid.config import NoiseConfig, RunConfig, SamplingConfig
from qhybrid.diffusion.bank import BankRecord, locked_record, read_record, write_record
from qhybrid.diffusion.bank_source import PARTS, Purpose, open_bank, region, too_small
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.simulate import check_patch, patch_of
from qhybrid.files import InputFile, sha256_of


@dataclass(frozen=True)
class Demand:
    """Draws that a consumer is going to make.

    Attributes:
        purpose: Place where the numbers enter: `forward`, `latent` or `reverse`.
        draws: Number of draws, which follow each other in the purpose's part of the source.
        shape: Shape of the tensor that one draw gives.
    """

    purpose: Purpose
    draws: int
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Numbers per draw."""
        return math.prod(self.shape)


def training_demands(config: RunConfig, image_shape: Sequence[int]) -> list[Demand]:
    """What a training draws from a source that is not plainly Gaussian."""
    noise = config.diffusion.noise
    if not noise.forward:
        return []
    return [Demand("forward", config.training.steps, (config.training.batch_size, *image_shape))]


def sampling_demands(
    noise: NoiseConfig, sampling: SamplingConfig, image_shape: Sequence[int], stochastic: bool
) -> list[Demand]:
    """What sampling draws from a quantum source.

    Args:
        noise: Configuration that says where the source's numbers enter.
        sampling: Number of images and reverse steps.
        image_shape: Shape of one image, `(C, H, W)`.
        stochastic: Whether the sampler's reverse steps draw noise.
    """
    shape = tuple(image_shape)
    latent = [Demand("latent", sampling.images, shape)] if noise.latent else []
    reverse = [Demand("reverse", sampling.images * sampling.steps, shape)] if noise.reverse and stochastic else []
    return latent + reverse


def bank_input(noise: NoiseConfig) -> dict[str, InputFile]:
    """What a run records of its bank, under `bank`; empty without one.

    Raises:
        NoiseError: There is no such file.
    """
    if noise.bank is None:
        return {}
    path = Path(noise.bank)
    read_record(path)
    return {"bank": InputFile(str(path.absolute()), sha256_of(path))}


def check_supply(noise: NoiseConfig, demands: Sequence[Demand], consumer: str) -> None:
    """Find out before a run starts whether its source suffices.

    Args:
        noise: Configuration of the noise.
        demands: Draws that the run is going to make.
        consumer: Who asks; what it has reserved before counts once, since a repeated run draws the same numbers.

    Raises:
        NoiseError: The bank is too small, or used up by others; or images are not made of whole patches.
    """
    record = check_regions(noise, demands)
    if record is None:
        return
    others = sum(count for name, count in record.drawn.items() if name != consumer)
    wanted = _total(demands)
    if others + wanted > noise.reuse * record.numbers:
        raise NoiseError(
            f"bank `{noise.bank}` is exhausted: of its {record.numbers:,} numbers {others:,} are drawn and this "
            f"run needs {wanted:,}; make a new one or set `diffusion.noise.reuse: "
            f"{math.ceil((others + wanted) / record.numbers)}`"
        )


def check_regions(noise: NoiseConfig, demands: Sequence[Demand]) -> BankRecord | None:
    """Find out whether a source is fit for draws, whatever others have drawn from it.

    Args:
        noise: Configuration of the noise.
        demands: Draws that are going to be made.

    Returns:
        The record of the bank; `None` without one.

    Raises:
        NoiseError: The bank is too small for the draws; or images are not made of whole patches.
    """
    if noise.simulate is not None and noise.source.name == "quantum_intrinsic":
        for demand in demands:
            check_patch(patch_of(noise.simulate.qubits), demand.shape, f"{noise.simulate.qubits} qubits")
    if noise.bank is None:
        return None
    bank = open_bank(noise)
    for demand in demands:
        check_patch(bank.patch, demand.shape, f"the numbers of bank `{bank.path}`")
        _, size = region(noise, demand.purpose, bank.record.numbers, bank.record.unit)
        slots = size // demand.count
        if not slots:
            raise NoiseError(too_small(bank, demand.purpose, size, demand.count))
        if demand.draws > slots * noise.reuse:
            raise NoiseError(
                f"bank `{bank.path}` is exhausted after {slots * noise.reuse:,} of {demand.draws:,} draws of "
                f"{demand.count:,} numbers ({demand.purpose}, {size:,} of {bank.record.numbers:,} numbers): make a "
                f"larger one or set `diffusion.noise.reuse: {math.ceil(demand.draws / slots)}`"
            )
    return bank.record


def reserve(noise: NoiseConfig, demands: Sequence[Demand], consumer: str) -> None:
    """Enter a run's draws into the bank's record; entering the same run again changes nothing.

    Args:
        noise: Names the bank, if there is one.
        demands: Draws that the run makes.
        consumer: Name of the run in the record.

    Raises:
        NoiseError: See `check_supply`; or the record cannot be written.
    """
    if noise.bank is None or not demands:
        return
    path = Path(noise.bank)
    with locked_record(path) as record:
        check_supply(noise, demands, consumer)
        if record.drawn.get(consumer) != _total(demands):
            write_record(path, replace(record, drawn=record.drawn | {consumer: _total(demands)}))


def _total(demands: Sequence[Demand]) -> int:
    return sum(demand.draws * demand.count for demand in demands)


def has_drawn(noise: NoiseConfig, consumer: str) -> bool:
    """Whether a consumer stands in the record of a configuration's bank; without a bank nobody does.

    Raises:
        NoiseError: There is no such bank, or its record is damaged.
    """
    return noise.bank is not None and consumer in read_record(Path(noise.bank)).drawn


def check_size(noise: NoiseConfig, numbers: int, demands: Sequence[Demand]) -> None:
    """Find out whether a bank that is yet to be drawn will be large enough.

    Args:
        noise: Configuration of the noise.
        numbers: Number of values that the bank is going to hold.
        demands: Draws that the run is going to make from the bank.

    Raises:
        NoiseError: It is too small; says which size would do.
    """
    parts = sum(PARTS[name] for name in PARTS if getattr(noise, name))
    needed = 0
    for demand in demands:
        size = math.ceil(demand.draws / noise.reuse) * demand.count
        if region(noise, demand.purpose, numbers, 1)[1] < size:
            # One more, since the bounds of the parts are rounded.
            needed = max(needed, math.ceil((size + 1) * parts / PARTS[demand.purpose]))
    if needed:
        raise NoiseError(
            f"`noise_bank.normals: {numbers}` are too few for the training and the images of this run: draw at least "
            f"{needed}, or raise `diffusion.noise.reuse` ({noise.reuse})"
        )
