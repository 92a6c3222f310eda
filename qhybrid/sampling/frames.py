"""Reverse diffusion as pictures: how images form out of noise, step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.checkpoints.stages import circuit_in, with_circuit
from qhybrid.config import SamplingConfig
from qhybrid.data import to_uint8
from qhybrid.sampling.generate import generate_batch, noise_of


def denoising_frames(checkpoint: Checkpoint, config: SamplingConfig, n: int) -> NDArray[np.uint8]:
    """The first n images of a sampling after each of its steps; they draw the noise that the sampling itself draws.

    Args:
        checkpoint: Checkpoint with the model to sample from.
        config: Options of the sampling. Of a conditional model with classes, image i is of the i-th of them in turn.
        n: Number of images, at least 1.

    Returns:
        uint8 `(steps, n, H, W)` or `(steps, n, H, W, 3)`; the last ones are the images.
    """
    staged = circuit_in(checkpoint.config, "sampling")
    if staged is not checkpoint.config:
        checkpoint = with_circuit(checkpoint, staged.quantum)
    labels = None if checkpoint.labels is None else checkpoint.labels.asked(config.classes, n)
    frames: list[NDArray[np.uint8]] = []

    def keep(step: int, x: Tensor) -> None:
        frames.append(to_uint8(x[:n].cpu()))

    seeds = list(range(config.seed, config.seed + n))
    generate_batch(checkpoint, config, seeds, noise_of(checkpoint, config), labels, callback=keep)
    return np.stack(frames)
