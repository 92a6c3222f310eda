"""Noise sources as a configuration names them, ours and those of other packages.

A registered noise source is a function `(options, noise: NoiseConfig) -> NoiseSource`; see `qhybrid.registry`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from qhybrid.config import NoiseConfig, SimulatedNoiseConfig
from qhybrid.diffusion.bank_source import BankSource, Purpose, open_bank, refusal
from qhybrid.diffusion.certify import certify_simulated
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.gaussian import GaussianNoise, NoiseSource
from qhybrid.diffusion.simulate import SimulatedBits, SimulatedFluctuations
from qhybrid.registry import NOISE_SOURCES, Entry, NoOptions, register_noise
from qhybrid.seeds import Stream

_SIMULATED: dict[str, type[SimulatedBits] | type[SimulatedFluctuations]] = {
    "quantum_bits": SimulatedBits,
    "quantum_intrinsic": SimulatedFluctuations,
}


def open_source(noise: NoiseConfig, purpose: Purpose, stride: int = 1) -> NoiseSource:
    """The source of a configuration: its bank, or the registered source that it names.

    Args:
        noise: Configuration of the noise.
        purpose: Place where the numbers enter: training, latents or reverse steps.
        stride: Number of training steps, or of reverse steps.

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
        source: Noise source that the other package's builder has built.
        entry: Entry of the source in the registry, for messages.
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
            raise NoiseError(refusal(name, failed))
    return simulated_source(source, noise.simulate)


@functools.lru_cache(maxsize=4)
def simulated_source(source: str, config: SimulatedNoiseConfig) -> SimulatedBits | SimulatedFluctuations:
    """A simulated source; building one means transpiling its circuit, so the last few are kept."""
    return _SIMULATED[source](config)


@functools.lru_cache(maxsize=4)
def _failures(source: str, config: SimulatedNoiseConfig) -> tuple[str, ...]:
    return certify_simulated(simulated_source(source, config)).failed
