"""The cores of the bottleneck that this package registers: circuits, and the classical controls beside them.

A core's builder is called as `builder(options, request)` and returns a module `(rows, n_in) -> (rows, n_out)`, n_in and
n_out being those of the request. All of them stand between the same two linear maps, so they differ by the parameters
of their own alone, which are a hundredth of the bottleneck's or less.

| core | outputs | its own parameters (n qubits, L layers of the default circuit) |
|---|---|---|
| `quantum` | expectation values of the circuit | 2 n L |
| `quantum_frozen` | the same circuit with its random initial weights | none that are trained |
| `quantum_product` | the same circuit without the gates that entangle | 2 n L |
| `published` | the circuit of arXiv 2504.00034, as printed | 96, none of which can learn |
| `se` | ReLU: squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507) | none |
| `se_frozen` | ReLU of a random mixture of the inputs | none that are trained |
| `sine` | sine of a linear map of the inputs | n (n + 1) |
| `fourier` | a Fourier series of random frequencies that the circuit's encoding can reach | 2 n L |
| `none` | nothing: the U-Net alone | none |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qhybrid.config import QuantumConfig
from qhybrid.quantum.analysis.spectrum import draw_frequencies
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.registry import NoOptions, register_bottleneck


@dataclass(frozen=True)
class CoreRequest:
    """What a core is built for.

    Attributes:
        spec: The circuit of the configuration, or of the checkpoint; classical cores take their sizes from it.
        quantum: Configuration of the circuit's simulation.
        seed: Seed of the core's own initial numbers; torch's global generator is seeded with it while the builder runs.
    """

    spec: CircuitSpec
    quantum: QuantumConfig
    seed: int

    @property
    def n_in(self) -> int:
        """Inputs of the core: those of the circuit."""
        return len(self.spec.inputs)

    @property
    def n_out(self) -> int:
        """Outputs of the core: the circuit's observables."""
        return self.spec.num_outputs


class QuantumCore(nn.Module):
    """Expectation values of a parametrized circuit, angles `(rows, n_in)` in radians -> `(rows, n_out)`.

    Attributes:
        spec: Circuit and observables of the core.
        layer: The circuit as a Torch module with its weights.
    """

    def __init__(self, request: CoreRequest) -> None:
        from qhybrid.quantum import QuantumLayer, build_estimator, build_qnn

        super().__init__()
        self.spec = request.spec
        estimator = build_estimator(request.spec, request.quantum, request.seed)
        self.layer = QuantumLayer(build_qnn(request.spec, estimator), seed=request.seed)

    def forward(self, angles: Tensor) -> Tensor:
        """Evaluate the circuit."""
        outputs: Tensor = self.layer(angles)
        return outputs


class PublishedCore(QuantumCore):
    """As printed in arXiv 2504.00034: angles unbounded and cut off from the gradient, so that nothing before learns."""

    bounded = False

    def forward(self, angles: Tensor) -> Tensor:
        """Evaluate the circuit; no gradient passes to the angles."""
        return super().forward(angles.detach())


class ReluCore(nn.Module):
    """`relu(mix(inputs))`; with as many outputs as inputs `mix` is the identity, unless it is a frozen random one.

    Args:
        n_in: Number of inputs.
        n_out: Number of hidden units.
        frozen: Whether `mix` is random and never trained.
    """

    bounded = False

    def __init__(self, n_in: int, n_out: int, *, frozen: bool) -> None:
        super().__init__()
        self.mix: nn.Module = nn.Identity() if n_in == n_out and not frozen else nn.Linear(n_in, n_out)
        if frozen:
            self.mix.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Hidden units `(rows, n_out)` of inputs `(rows, n_in)`."""
        return torch.relu(self.mix(inputs))


class SineCore(nn.Module):
    """`sin(W angles + b)`: a sine for each expectation value, without a circuit."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.mix = nn.Linear(n_in, n_out)

    def forward(self, angles: Tensor) -> Tensor:
        """Sines `(rows, n_out)` of angles `(rows, n_in)`."""
        return torch.sin(self.mix(angles))


class FourierCore(nn.Module):
    """A Fourier series over random frequencies of the circuit's spectrum (Landman et al. 2022, arXiv 2210.13200).

    An expectation value of a circuit is a Fourier series in its inputs whose frequencies the encoding decides. Output m
    is `sum_k a_mk cos(w_mk . x) + b_mk sin(w_mk . x)` with drawn frequency vectors w and trained a, b, as many of
    them as the circuit has weights, to the next multiple.
    """

    frequencies: Tensor

    def __init__(self, spec: CircuitSpec, seed: int) -> None:
        super().__init__()
        terms = max(1, round(len(spec.weights) / (2 * spec.num_outputs)))
        drawn = draw_frequencies(spec, terms, seed)
        self.register_buffer("frequencies", torch.from_numpy(drawn).float())
        # Each output starts with the variance of a cosine.
        self.amplitudes = nn.Parameter(torch.randn(spec.num_outputs, 2 * terms) * (2 * terms) ** -0.5)

    def forward(self, angles: Tensor) -> Tensor:
        """Sums `(rows, n_out)` for angles `(rows, n_in)`."""
        phases = torch.einsum("bi,mki->bmk", angles, self.frequencies.to(angles.dtype))
        waves = torch.cat([phases.cos(), phases.sin()], dim=2)
        return (waves * self.amplitudes).sum(dim=2)


@register_bottleneck("quantum")
def _quantum(options: NoOptions, request: CoreRequest) -> nn.Module:
    return QuantumCore(request)


@register_bottleneck("quantum_frozen")
def _quantum_frozen(options: NoOptions, request: CoreRequest) -> nn.Module:
    core = QuantumCore(request)
    core.layer.requires_grad_(False)
    return core


@register_bottleneck("quantum_product")
def _quantum_product(options: NoOptions, request: CoreRequest) -> nn.Module:
    return QuantumCore(request)


@register_bottleneck("published")
def _published(options: NoOptions, request: CoreRequest) -> nn.Module:
    return PublishedCore(request)


@register_bottleneck("se")
def _se(options: NoOptions, request: CoreRequest) -> nn.Module:
    return ReluCore(request.n_in, request.n_out, frozen=False)


@register_bottleneck("se_frozen")
def _se_frozen(options: NoOptions, request: CoreRequest) -> nn.Module:
    return ReluCore(request.n_in, request.n_out, frozen=True)


@register_bottleneck("sine")
def _sine(options: NoOptions, request: CoreRequest) -> nn.Module:
    return SineCore(request.n_in, request.n_out)


@register_bottleneck("fourier")
def _fourier(options: NoOptions, request: CoreRequest) -> nn.Module:
    return FourierCore(request.spec, request.seed)


@register_bottleneck("none")
def _none(options: NoOptions, request: CoreRequest) -> nn.Module:
    return nn.Identity()
