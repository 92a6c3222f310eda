"""Quantum sources as a configuration names them: admission of banks, the address of each draw, the reuse counter.

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

A registered noise source is a function `(options, noise: NoiseConfig) -> NoiseSource`; see `qhybrid.registry`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from qhybrid.config import NoiseConfig, RunConfig, SamplingConfig, SimulatedNoiseConfig
from qhybrid.diffusion.bank import Bank, BankRecord, check_numbers, locked_record, read_record, write_record
from qhybrid.diffusion.certify import certify_simulated
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.gaussian import GaussianNoise, NoiseSource
from qhybrid.diffusion.simulate import SimulatedBits, SimulatedFluctuations, check_patch, lay_patches, patch_of
from qhybrid.files import InputFile, sha256_of
from qhybrid.registry import NOISE_SOURCES, Entry, NoOptions, register_noise
from qhybrid.seeds import Stream

Purpose = Literal["forward", "latent", "reverse"]
_SIMULATED: dict[str, type[SimulatedBits] | type[SimulatedFluctuations]] = {
    "quantum_bits": SimulatedBits,
    "quantum_intrinsic": SimulatedFluctuations,
}
# Half of a bank is a training's; of the other half, images take one latent each and then noise in every reverse step.
# Other shares would give every name other numbers.
_PARTS: dict[Purpose, int] = {"forward": 8, "latent": 1, "reverse": 7}


@dataclass(frozen=True)
class Demand:
    """Draws that a consumer is going to make: `draws` successive ranks, each a tensor of `shape`."""

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
        noise: Where the source's numbers enter.
        sampling: Number of images and reverse steps.
        image_shape: `(C, H, W)`.
        stochastic: Whether the sampler's reverse steps draw noise.
    """
    shape = tuple(image_shape)
    latent = [Demand("latent", sampling.images, shape)] if noise.latent else []
    reverse = [Demand("reverse", sampling.images * sampling.steps, shape)] if noise.reverse and stochastic else []
    return latent + reverse


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
        self._start, self._size = _region(noise, purpose, bank.record.numbers, bank.record.unit)
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
            raise NoiseError(_too_small(self._bank, self._purpose, self._size, count))
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


def open_source(noise: NoiseConfig, purpose: Purpose, stride: int = 1) -> NoiseSource:
    """The source of a configuration: its bank, or the registered source that it names.

    Args:
        noise: The configuration.
        purpose: Where its numbers enter.
        stride: Training steps, or reverse steps.

    Raises:
        NoiseError: The bank is damaged, foreign, or its certificate fails and the configuration does not accept it.
        CircuitError: There is no such device.
        ConfigError: Nobody registers the source.
    """
    if noise.bank is not None:
        return BankSource(open_bank(noise), noise, purpose, stride)
    entry = NOISE_SOURCES.find(noise.source.name)
    source: NoiseSource = entry.builder(noise.source.options, noise)
    return source if entry.package == "qhybrid" else CheckedSource(source, entry)


class CheckedSource:
    """A source of another package, whose numbers are looked at before they are used.

    Args:
        source: What the package's builder has built.
        entry: Its entry in the registry, for messages.
    """

    def __init__(self, source: NoiseSource, entry: Entry) -> None:
        self._source = source
        self._what = f"noise source `{entry.name}` of package `{entry.package}`"
        if not callable(getattr(source, "draw", None)):
            raise NoiseError(
                f"{self._what} builds a {type(source).__name__}, which has no method `draw(stream, shape)`"
            )

    def draw(self, name: Stream, shape: Sequence[int]) -> Tensor:
        """The source's numbers of the stream `name`.

        Raises:
            NoiseError: They are no finite float32 tensor of the shape that was asked for.
        """
        drawn = self._source.draw(name, shape)
        if not isinstance(drawn, Tensor) or drawn.dtype != torch.float32 or tuple(drawn.shape) != tuple(shape):
            found = f"{drawn.dtype} {tuple(drawn.shape)}" if isinstance(drawn, Tensor) else type(drawn).__name__
            raise NoiseError(f"{self._what} draws {found} where a torch.float32 tensor {tuple(shape)} was asked for")
        if not bool(torch.isfinite(drawn).all()):
            raise NoiseError(f"{self._what} draws numbers that are not finite")
        return drawn


@register_noise("gaussian")
def _gaussian(_options: NoOptions, _noise: NoiseConfig) -> NoiseSource:
    return GaussianNoise()


@register_noise("quantum_bits")
def _quantum_bits(_options: NoOptions, noise: NoiseConfig) -> NoiseSource:
    return _certified("quantum_bits", noise)


@register_noise("quantum_intrinsic")
def _quantum_intrinsic(_options: NoOptions, noise: NoiseConfig) -> NoiseSource:
    return _certified("quantum_intrinsic", noise)


def _certified(source: str, noise: NoiseConfig) -> NoiseSource:
    """A simulated source that keeps its claim, or is accepted by name."""
    assert noise.simulate is not None  # the configuration has it, or a bank
    name = f"{source}:{noise.simulate.device}"
    if name not in noise.accept:
        failed = _failures(source, noise.simulate)
        if failed:
            raise NoiseError(_refusal(name, failed))
    return simulated_source(source, noise.simulate)


@functools.lru_cache(maxsize=4)
def simulated_source(source: str, config: SimulatedNoiseConfig) -> SimulatedBits | SimulatedFluctuations:
    """A simulated source; building one means transpiling its circuit, so the last few are kept."""
    return _SIMULATED[source](config)


@functools.lru_cache(maxsize=4)
def _failures(source: str, config: SimulatedNoiseConfig) -> tuple[str, ...]:
    return certify_simulated(simulated_source(source, config)).failed


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
            raise NoiseError(_refusal(record.name, record.certificate["failed"]))
    check_numbers(bank.path)
    return bank


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
        noise: The configuration.
        demands: What the run is going to draw.
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
        noise: The configuration.
        demands: What is going to be drawn.

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
        _, size = _region(noise, demand.purpose, bank.record.numbers, bank.record.unit)
        slots = size // demand.count
        if not slots:
            raise NoiseError(_too_small(bank, demand.purpose, size, demand.count))
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
        demands: What the run draws.
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
        noise: The configuration.
        numbers: How many the bank is going to hold.
        demands: All that the run is going to draw from it.

    Raises:
        NoiseError: It is too small; says which size would do.
    """
    parts = sum(_PARTS[name] for name in _PARTS if getattr(noise, name))
    needed = 0
    for demand in demands:
        size = math.ceil(demand.draws / noise.reuse) * demand.count
        if _region(noise, demand.purpose, numbers, 1)[1] < size:
            # One more, since the bounds of the parts are rounded.
            needed = max(needed, math.ceil((size + 1) * parts / _PARTS[demand.purpose]))
    if needed:
        raise NoiseError(
            f"`noise_bank.normals: {numbers}` are too few for the training and the images of this run: draw at least "
            f"{needed}, or raise `diffusion.noise.reuse` ({noise.reuse})"
        )


def _region(noise: NoiseConfig, purpose: Purpose, numbers: int, unit: int) -> tuple[int, int]:
    """First number and size of a purpose's part of a bank, in whole patches of `unit` numbers."""
    active = [name for name in _PARTS if getattr(noise, name)]
    before = sum(_PARTS[name] for name in active[: active.index(purpose)])
    parts = sum(_PARTS[name] for name in active)
    units = numbers // unit
    start, end = before * units // parts, (before + _PARTS[purpose]) * units // parts
    return start * unit, (end - start) * unit


def _too_small(bank: Bank, purpose: Purpose, size: int, count: int) -> str:
    return (
        f"bank `{bank.path}` is exhausted by a single draw: {count:,} numbers wanted ({purpose}), {size:,} there; "
        "make a larger one"
    )


def _refusal(name: str, failed: Sequence[str]) -> str:
    return (
        f"noise source `{name}` fails its claim ({', '.join(failed)}): debias it, take another, or accept it by name "
        f"with `diffusion.noise.accept: [{name}]`"
    )
