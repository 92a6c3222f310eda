"""Generate images from a checkpoint: `samples/images.npz` and `samples/grid.png`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.checkpoints.checkpoint import Checkpoint, load_checkpoint
from qhybrid.checkpoints.stages import circuit_in, with_circuit
from qhybrid.config import SamplingConfig, check_sampling
from qhybrid.data import to_uint8
from qhybrid.data.images import Labels
from qhybrid.diffusion.gaussian import NoiseSource
from qhybrid.diffusion.noise import image_noise, noise_source
from qhybrid.diffusion.process import Denoiser
from qhybrid.diffusion.samplers import build_sampler, sample_images
from qhybrid.diffusion.supply import check_supply, reserve, sampling_demands
from qhybrid.files import atomic_path
from qhybrid.models.unet import UNet
from qhybrid.progress import Advance, progress
from qhybrid.rundir import RunDirectory
from qhybrid.tracking.tracked import tracked

_GRID_IMAGES = 100
_GRID_COLUMNS = 10
# Below this many samples torch chooses other matrix kernels, and an image would differ in the last bits from the same
# image in a larger batch: small batches are filled up with repetitions.
_SMALLEST_BATCH = 8


def sample(run: RunDirectory | str | Path, config: SamplingConfig | None = None) -> NDArray[np.uint8]:
    """Generate images with the averaged weights of a run's last checkpoint.

    Args:
        run: Directory of the run.
        config: Options of the sampling; by default the run's `sampling` section.

    Returns:
        Images as written to `samples/images.npz`, uint8 `(N, H, W)` or `(N, H, W, 3)`; each image's seed and, of a
        conditional model, its label stand beside them there.

    Raises:
        ConfigError: Classes or guidance asked of an unconditional model, or too many steps.
        DataError: A class that the training images do not have.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory.open(run)
    config = config or run.config().sampling or SamplingConfig()
    return sample_checkpoint(load_checkpoint(run.path), config, run)


def sample_checkpoint(checkpoint: Checkpoint, config: SamplingConfig, run: RunDirectory) -> NDArray[np.uint8]:
    """Generate images with a checkpoint; write them into a run directory, its own or another one.

    Args:
        checkpoint: Checkpoint with the model to sample from.
        config: Options of the sampling: number of images, seeds and sampler.
        run: Run directory that `samples/` is written into.
    """
    check_sampling(checkpoint.config, config)
    with run.locked():
        images = _sample_into(checkpoint, config, run)
        with tracked(run) as trackers:
            trackers.picture(run.grid_file, checkpoint.step)
        return images


def _sample_into(checkpoint: Checkpoint, config: SamplingConfig, run: RunDirectory) -> NDArray[np.uint8]:
    arrays = drawn(checkpoint, config)
    with atomic_path(run.images_file) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
    _save_grid(arrays["images"], arrays.get("labels"), run)
    return arrays["images"]


def drawn(checkpoint: Checkpoint, config: SamplingConfig) -> dict[str, NDArray[Any]]:
    """Generate images and enter their draws into the record of the noise bank, if there is one.

    Args:
        checkpoint: Checkpoint with the model to sample from; moved to the GPU where its configuration allows.
        config: Options of the sampling: number of images, seeds and sampler.

    Returns:
        Arrays as `samples/images.npz` holds them: `images`, uint8 `(N, H, W)` or `(N, H, W, 3)`, their `seeds`, int64
        `(N,)`, and of a conditional model their `labels`, int64 `(N,)` or `(N, K)`.

    Raises:
        DataError: A class that the training images do not have.
    """
    labels = asked_labels(checkpoint, config, config.images)
    staged = circuit_in(checkpoint.config, "sampling")
    if staged is not checkpoint.config:
        checkpoint = with_circuit(checkpoint, staged.quantum)
    reserve_noise(checkpoint, config)
    if checkpoint.config.training.device != "cpu" and torch.cuda.is_available():
        checkpoint.model.cuda()
    seeds = list(range(config.seed, config.seed + config.images))
    with progress("sampling", len(seeds)) as advance:
        images = generate(checkpoint, config, seeds, advance, labels=labels)
    arrays: dict[str, Any] = {"images": images, "seeds": np.array(seeds, dtype=np.int64)}
    if labels is not None:
        arrays["labels"] = labels
    return arrays


def asked_labels(checkpoint: Checkpoint, config: SamplingConfig, n: int) -> Labels | None:
    """Labels of the first n images that a configuration asks for, see `LabelSpace.asked`; `None` if unconditional.

    Args:
        checkpoint: The model, which knows the labels of its training images.
        config: Which classes are asked for.
        n: Number of images.

    Raises:
        DataError: A class that the training images do not have.
    """
    return None if checkpoint.labels is None else checkpoint.labels.asked(config.classes, n)


def generate(
    checkpoint: Checkpoint,
    config: SamplingConfig,
    seeds: list[int],
    advance: Advance | None = None,
    *,
    labels: Labels | None = None,
) -> NDArray[np.uint8]:
    """Images of the given seeds; each depends on its own seed and label alone.

    Args:
        checkpoint: Checkpoint with the model to sample from.
        config: Options of the sampling.
        seeds: Seeds of the images, one per image.
        advance: Function that is called after each batch.
        labels: Labels of the images, `(N,)` or `(N, K)`; by default those that `config.classes` asks for. Not for an
            unconditional model.

    Returns:
        Generated images, uint8 `(N, H, W)` or `(N, H, W, 3)`.
    """
    if labels is None:
        labels = asked_labels(checkpoint, config, len(seeds))
    source = noise_of(checkpoint, config)
    parts = []
    for start in range(0, len(seeds), config.batch_size):
        batch = slice(start, start + config.batch_size)
        chosen = None if labels is None else labels[batch]
        parts.append(to_uint8(generate_batch(checkpoint, config, seeds[batch], source, chosen)))
        if advance is not None:
            advance(len(parts[-1]))
    return np.concatenate(parts)


def noise_of(checkpoint: Checkpoint, config: SamplingConfig) -> NoiseSource:
    """The source of all noise of a sampling, opened once for all of its batches."""
    sampler = build_sampler(checkpoint.config.diffusion, config.sampler, config.steps, config.eta)
    return noise_source(checkpoint.config.diffusion, sampler.timesteps.tolist())


@torch.no_grad()
def generate_batch(
    checkpoint: Checkpoint,
    config: SamplingConfig,
    seeds: list[int],
    source: NoiseSource,
    labels: Labels | None = None,
    *,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """One batch of images.

    Args:
        checkpoint: Checkpoint with the model to sample from.
        config: Options of the sampling.
        seeds: Seeds of the B images, one per image.
        source: Noise source that `noise_of` gave.
        labels: Labels of the images, `(B,)` or `(B, K)`; `None` for an unconditional model.
        callback: Called with (k, x) after each step k, x `(B', C, H, W)`; its first B images are those of the seeds.

    Returns:
        Generated images, float32 `(B, C, H, W)`, in [-1, 1] up to clipping.
    """
    missing = max(0, _SMALLEST_BATCH - len(seeds))
    filled = seeds + [seeds[-1]] * missing
    shape = checkpoint.image_shape
    sampler = build_sampler(checkpoint.config.diffusion, config.sampler, config.steps, config.eta)
    device = next(checkpoint.model.parameters()).device
    latents = image_noise(source, filled, shape, 0).to(device)
    asked = None if labels is None else torch.from_numpy(np.concatenate([labels, labels[-1:].repeat(missing, axis=0)]))
    images = sample_images(
        guided(checkpoint.model, None if asked is None else asked.to(device), config),
        sampler,
        latents,
        lambda step: image_noise(source, filled, shape, step + 1),
        callback=callback,
    )
    return images[: len(seeds)].cpu()


def guided(model: UNet, labels: Tensor | None, config: SamplingConfig) -> Denoiser:
    """The prediction that a sampler follows.

    Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): `g = p(no label) + w (p(label) - p(no label))`
    for the predictions p of the network and the weight w. With w = 1 that is p(label), and the network runs once.
    Schedules that end in pure noise, as all here do, make g overexposed; so it is brought back to the standard
    deviation of p(label) over each image (Lin et al. 2024, arXiv 2305.08891, equations 15 and 16).

    Args:
        model: Network whose predictions are combined.
        labels: Labels of the images, `(B,)` or `(B, K)`; `None` for an unconditional model.
        config: Options of the sampling: `guidance` is w, and `guidance_rescale` says how far g is brought back.
    """

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        prediction: Tensor = model(x, t, labels)
        if config.guidance == 1.0:
            return prediction
        free: Tensor = model(x, t)
        pushed = free + config.guidance * (prediction - free)
        return torch.lerp(pushed, pushed * (_spread(prediction) / _spread(pushed)), config.guidance_rescale)

    return denoise


def _spread(prediction: Tensor) -> Tensor:
    # An untrained network predicts zero everywhere.
    return prediction.std(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)


def _save_grid(images: NDArray[np.uint8], labels: Labels | None, run: RunDirectory) -> None:
    """The first images as a grid; of a conditional model, a row for each class."""
    from qhybrid.pictures.grids import image_grid

    if labels is None or labels.ndim == 2:
        image_grid(images[:_GRID_IMAGES], run.grid_file)
        return
    rows = [np.flatnonzero(labels == label)[:_GRID_COLUMNS] for label in np.unique(labels)]
    columns = max(len(row) for row in rows)
    # Only whole rows keep the classes apart.
    blank = np.full_like(images[:1], 255)
    filled = [np.concatenate([images[row], *[blank] * (columns - len(row))]) for row in rows]
    image_grid(np.concatenate(filled), run.grid_file, columns)


def reserve_noise(checkpoint: Checkpoint, config: SamplingConfig) -> None:
    """Enter the draws of a sampling into the record of its noise bank, if there is one.

    The same images again are the same draws, and count once.

    Args:
        checkpoint: Checkpoint with the model to sample from.
        config: Options of the sampling, which name the images.

    Raises:
        NoiseError: The bank is too small, or used up by others.
    """
    diffusion = checkpoint.config.diffusion
    stochastic = build_sampler(diffusion, config.sampler, config.steps, config.eta).stochastic
    demands = sampling_demands(diffusion.noise, config, checkpoint.image_shape, stochastic)
    text = f"{checkpoint.config.model_dump()} {checkpoint.step} {config.model_dump()}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    name = f"sampling of {checkpoint.config.name}, {config.images} images from seed {config.seed} ({digest})"
    check_supply(diffusion.noise, demands, name)
    reserve(diffusion.noise, demands, name)
