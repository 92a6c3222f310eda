"""Assemble the model that a configuration names; refuse what cannot be trained or simulated before anything is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from qhybrid.config import RunConfig
from qhybrid.errors import ConfigError
from qhybrid.models.bottleneck import PlainGate, QuantumGate, SqueezeExcitationGate
from qhybrid.models.unet import UNet
from qhybrid.seeds import initial_seed

if TYPE_CHECKING:
    from qhybrid.quantum.circuits.spec import CircuitSpec

_CLASSICAL = ("plain", "se")


def circuit_spec(config: RunConfig) -> CircuitSpec | None:
    """The circuit in the bottleneck, or `None` for a classical arm.

    Raises:
        CircuitError: The circuit cannot be simulated on this machine.
    """
    if config.model.bottleneck in _CLASSICAL:
        return None
    from qhybrid.quantum import published_spec, require_feasible, spec_from_config

    if config.model.bottleneck == "published":
        return published_spec()
    if config.quantum.qubits is not None:
        # Before the circuit is built: a million qubits take long even to write down.
        require_feasible(config.quantum.qubits, config.training.batch_size)
    spec = spec_from_config(config.quantum)
    require_feasible(spec, config.training.batch_size)
    return spec


def check_trainable(config: RunConfig) -> None:
    """Refuse a circuit with parameters that no gradient ever reaches.

    Raises:
        ConfigError: There are dead parameters and `quantum.allow_dead_parameters` is false.
    """
    spec = circuit_spec(config)
    if spec is None or config.quantum.allow_dead_parameters:
        return
    from qhybrid.quantum import diagnose

    dead = diagnose(spec).dead
    if dead:
        shown = ", ".join(dead[:4]) + (f" and {len(dead) - 4} more" if len(dead) > 4 else "")
        raise ConfigError(
            f"circuit `{spec.name}`: {len(dead)} of {len(spec.weights)} weights can never learn, since no expectation "
            f"value depends on them ({shown}); mend the circuit or set `quantum.allow_dead_parameters: true`"
        )


def build_model(config: RunConfig, image_channels: int, spec: CircuitSpec | None = None) -> UNet:
    """The U-Net with its arm, initialized from `config.seed`; all arms start from the same shared layers.

    Args:
        config: The run.
        image_channels: 1 or 3.
        spec: The circuit, if it comes from a checkpoint; by default the configuration's.
    """
    spec = spec or circuit_spec(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_seed(config.seed, "unet"))
        model = UNet(image_channels, config.model.channels, config.model.time_dim, PlainGate())
        torch.manual_seed(initial_seed(config.seed, "gate"))
        model.bottleneck = _build_gate(config, spec, initial_seed(config.seed, "circuit"))
    # Channels innermost is what the CPU's convolutions work on; weights laid out so carry it through the network.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _build_gate(config: RunConfig, spec: CircuitSpec | None, circuit_seed: int) -> nn.Module:
    width = config.model.channels[-1]
    if config.model.bottleneck == "plain":
        return PlainGate()
    if spec is None:
        from qhybrid.quantum import spec_from_config

        # As many hidden units as the circuit that this arm is compared with has inputs.
        return SqueezeExcitationGate(width, config.quantum.qubits or len(spec_from_config(config.quantum).inputs))
    from qhybrid.quantum import QuantumLayer, build_estimator, build_qnn

    estimator = build_estimator(spec, config.quantum, circuit_seed)
    layer = QuantumLayer(build_qnn(spec, estimator), seed=circuit_seed)
    return QuantumGate(width, layer, spec, published=config.model.bottleneck == "published")


def parameter_groups(model: UNet) -> dict[str, list[nn.Parameter]]:
    """Trainable parameters by part: `unet`, `bottleneck` (linear maps of the gate) and `circuit`."""
    groups: dict[str, list[nn.Parameter]] = {"unet": [], "bottleneck": [], "circuit": []}
    for name, parameter in model.named_parameters():
        if name.startswith("bottleneck.layer."):
            groups["circuit"].append(parameter)
        elif name.startswith("bottleneck."):
            groups["bottleneck"].append(parameter)
        else:
            groups["unet"].append(parameter)
    return {name: parameters for name, parameters in groups.items() if parameters}


def parameter_counts(model: UNet) -> dict[str, int]:
    """Number of trainable parameters of each group."""
    return {name: sum(p.numel() for p in parameters) for name, parameters in parameter_groups(model).items()}
