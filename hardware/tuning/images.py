"""What the steps of a tuning look at: noisy training images at the denoising steps that run on the device.

A device is paid by the circuit, and the loss of an image needs one. A bottleneck that does not see the image has one
circuit for each class and time step, whatever the number of images: many images share it. So what a step is given is a
number of circuits, not of images.

A quarter of the training images is held out: the steps never see it, and the weights that are kept are chosen by it.
The test images stay with the evaluation. (The model was trained on all training images; what is tuned here is how it
meets its circuit's noise, and a quarter that no step has seen tells whether that holds for others.)

The noise is Gaussian, as the law of any other source is standardized to it. All of it is a function of seed and step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.errors import HardwareError
from hardware.inference.rounds import Round
from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.data import load_data, to_tensor
from qhybrid.diffusion.process import ForwardProcess
from qhybrid.diffusion.samplers import build_sampler
from qhybrid.models.unet import Encoded
from qhybrid.seeds import generator

Numbers = NDArray[np.int64]

IMAGES_PER_CIRCUIT = 16
HELD_OUT = 0.25


@dataclass(frozen=True)
class Sight:
    """Noisy images, and the circuits that they need.

    Attributes:
        encoded: The network's first half of them, B images.
        target: What the network should predict, `(B, C, H, W)`.
        angles: Input angles of the distinct circuits in radians, `(D, n_in)`.
        rows: The circuit of each image, `(B,)`.
    """

    encoded: Encoded
    target: Tensor
    angles: NDArray[np.float64]
    rows: Tensor


class TuningImages:
    """Training images of a checkpoint in two parts, noisy at the times of denoising steps.

    Args:
        checkpoint: The trained model; its configuration names the data.
        steps: Denoising steps of the sampler.
        device_steps: Numbers of those that run on the device.
        circuits: Most circuits that a step may need.
        seed: Seed of all that is drawn.

    Raises:
        HardwareError: There are too few training images to hold some out.
    """

    def __init__(
        self, checkpoint: Checkpoint, steps: int, device_steps: tuple[int, ...], circuits: int, seed: int
    ) -> None:
        config = checkpoint.config
        data = load_data(config.data)
        self._model = checkpoint.model
        self._images = to_tensor(data.train)
        self._labels = None if checkpoint.labels is None else np.asarray(data.train_labels)
        self._process = ForwardProcess(config.diffusion)
        self._times = build_sampler(config.diffusion, "ddim", steps).timesteps[list(device_steps)].numpy()
        self._circuits, self._seed = circuits, seed
        order = generator(seed, "tuning: held out").permutation(len(self._images))
        held = int(HELD_OUT * len(order))
        if not held:
            raise HardwareError(f"{len(order)} training images are too few to hold a quarter of them out for tuning")
        self._held, self._seen = order[:held], order[held:]

    def step(self, number: int) -> Sight:
        """What step 0, 1, 2, ... looks at."""
        return self._look(self._seen, self._circuits, generator(self._seed, "tuning: step", number))

    def held_out(self) -> Sight:
        """What weights are chosen by, always the same; of twice as many circuits as a step."""
        return self._look(self._held, 2 * self._circuits, generator(self._seed, "tuning: held-out images"))

    @torch.no_grad()
    def _look(self, part: Numbers, circuits: int, rng: np.random.Generator) -> Sight:
        if self._model.bottleneck.sees_image:
            numbers, times = rng.choice(part, circuits), rng.choice(self._times, circuits)
        else:
            numbers, times = self._sharing(part, circuits, rng)
        images, t = self._images[torch.from_numpy(numbers)], torch.from_numpy(times)
        labels = None if self._labels is None else torch.from_numpy(self._labels[numbers])
        epsilon = torch.from_numpy(rng.standard_normal(tuple(images.shape), dtype=np.float32))
        encoded = self._model.encode(self._process.diffuse(images, epsilon, t), t)
        needed = Round.of((0,), self._model.core_inputs(encoded, labels).double().numpy()[None])
        return Sight(encoded, self._process.target(images, epsilon, t), needed.angles, torch.from_numpy(needed.rows[0]))

    def _sharing(self, part: Numbers, circuits: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Some pairs of a label and a time, and some images of each: numbers of images, and their times."""
        kinds = np.zeros(len(part), dtype=np.int64)
        if self._labels is not None:
            kinds = np.unique(self._labels[part], axis=0, return_inverse=True)[1].reshape(-1)
        pairs = [(kind, time) for kind in range(int(kinds.max()) + 1) for time in self._times]
        chosen = [pairs[place] for place in rng.permutation(len(pairs))[:circuits]]
        numbers = [rng.choice(part[kinds == kind], IMAGES_PER_CIRCUIT) for kind, _ in chosen]
        return np.concatenate(numbers), np.repeat([time for _, time in chosen], IMAGES_PER_CIRCUIT)
