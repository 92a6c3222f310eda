"""Generate images from a checkpoint: `samples/images.npz` and `samples/grid.png`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.checkpoints.checkpoint import Checkpoint, load_checkpoint
from qhybrid.checkpoints.stages import circuit_in, with_circuit
from qhybrid.config import SamplingConfig
from qhybrid.data import to_uint8
from qhybrid.diffusion.noise import image_noise, noise_source
from qhybrid.diffusion.samplers import build_sampler, sample_images
from qhybrid.diffusion.sources import check_supply, reserve, sampling_demands
from qhybrid.files import atomic_path
from qhybrid.progress import Advance, progress
from qhybrid.rundir import RunDirectory

_GRID_IMAGES = 100
# Below this many samples torch chooses other matrix kernels, and an image would differ in the last bits from the same
# image in a larger batch: small batches are filled up with repetitions.
_SMALLEST_BATCH = 8


def sample(run: RunDirectory | str | Path, config: SamplingConfig | None = None) -> NDArray[np.uint8]:
    """Generate images with the averaged weights of a run's last checkpoint.

    Args:
        run: Run directory.
        config: How; by default the run's `sampling` section.

    Returns:
        uint8 `(N, H, W)` or `(N, H, W, 3)`, as written to `samples/images.npz` beside each image's seed.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory.open(run)
    config = config or run.config().sampling or SamplingConfig()
    return sample_checkpoint(load_checkpoint(run.path), config, run)


def sample_checkpoint(checkpoint: Checkpoint, config: SamplingConfig, run: RunDirectory) -> NDArray[np.uint8]:
    """Generate images with a checkpoint; write them into a run directory, its own or another one."""
    staged = circuit_in(checkpoint.config, "sampling")
    if staged is not checkpoint.config:
        checkpoint = with_circuit(checkpoint, staged.quantum)
    _reserve(checkpoint, config)
    if checkpoint.config.training.device != "cpu" and torch.cuda.is_available():
        checkpoint.model.cuda()
    seeds = list(range(config.seed, config.seed + config.images))
    with progress("sampling", len(seeds)) as advance:
        images = generate(checkpoint, config, seeds, advance)
    with atomic_path(run.images_file) as temporary:
        np.savez_compressed(temporary, images=images, seeds=np.array(seeds, dtype=np.int64))
    from qhybrid.pictures.grids import image_grid

    image_grid(images[:_GRID_IMAGES], run.grid_file)
    return images


def generate(
    checkpoint: Checkpoint, config: SamplingConfig, seeds: list[int], advance: Advance | None = None
) -> NDArray[np.uint8]:
    """Images of the given seeds, uint8 `(N, H, W)` or `(N, H, W, 3)`; each depends on its own seed alone."""
    parts = []
    for start in range(0, len(seeds), config.batch_size):
        batch = seeds[start : start + config.batch_size]
        parts.append(to_uint8(generate_batch(checkpoint, config, batch)))
        if advance is not None:
            advance(len(batch))
    return np.concatenate(parts)


@torch.no_grad()
def generate_batch(checkpoint: Checkpoint, config: SamplingConfig, seeds: list[int]) -> Tensor:
    """One batch, `(B, C, H, W)` in [-1, 1] up to clipping."""
    filled = seeds + [seeds[-1]] * (_SMALLEST_BATCH - len(seeds))
    shape = checkpoint.image_shape
    sampler = build_sampler(checkpoint.config.diffusion, config.sampler, config.steps, config.eta)
    source = noise_source(checkpoint.config.diffusion, sampler.timesteps.tolist())
    latents = image_noise(source, filled, shape, 0).to(next(checkpoint.model.parameters()).device)
    images = sample_images(
        checkpoint.model, sampler, latents, lambda step: image_noise(source, filled, shape, step + 1)
    )
    return images[: len(seeds)].cpu()


def _reserve(checkpoint: Checkpoint, config: SamplingConfig) -> None:
    """Enter the draws into the record of the noise bank, if there is one; the same images again are the same draws."""
    diffusion = checkpoint.config.diffusion
    stochastic = config.sampler == "ddpm" or config.eta > 0
    demands = sampling_demands(diffusion.noise, config, checkpoint.image_shape, stochastic)
    text = f"{checkpoint.config.model_dump()} {checkpoint.step} {config.model_dump()}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    name = f"sampling of {checkpoint.config.name}, {config.images} images from seed {config.seed} ({digest})"
    check_supply(diffusion.noise, demands, name)
    reserve(diffusion.noise, demands, name)
