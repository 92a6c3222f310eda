"""In which stage the circuit of the bottleneck is noisy: training, sampling, or both (`diffusion.noise.circuit`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.config import QuantumConfig, RunConfig
from qhybrid.models.build import build_model

Stage = Literal["training", "sampling"]


def circuit_in(config: RunConfig, stage: Stage) -> RunConfig:
    """The configuration with the shots and the device noise of the circuit taken out where they do not act."""
    quantum = config.quantum
    if config.diffusion.noise.circuit in ("both", stage) or (quantum.noise is None and quantum.shots is None):
        return config
    return config.model_copy(update={"quantum": exact(quantum)})


def exact(quantum: QuantumConfig) -> QuantumConfig:
    """A circuit's section without shots and device noise: expectation values are computed exactly."""
    return quantum.model_copy(update={"noise": None, "shots": None, "gradient": "exact"})


def with_circuit(checkpoint: Checkpoint, quantum: QuantumConfig) -> Checkpoint:
    """The same weights with the circuit simulated otherwise: exactly, with shots, or under a device's noise.

    Args:
        checkpoint: Checkpoint of a trained model.
        quantum: Simulation of its circuit; ansatz, qubits and layers must be those of the checkpoint.
    """
    return with_config(checkpoint, checkpoint.config.model_copy(update={"quantum": quantum}))


def with_config(checkpoint: Checkpoint, config: RunConfig) -> Checkpoint:
    """The same weights under another configuration of the same network, e.g. with other noise in sampling."""
    classes = None if checkpoint.labels is None else len(checkpoint.labels.names)
    model = build_model(config, checkpoint.image_channels, checkpoint.spec, classes=classes)
    model.load_state_dict(checkpoint.model.state_dict())
    return replace(checkpoint, config=config, model=model.eval())
