"""Reverse diffusion whose bottleneck is evaluated elsewhere at chosen steps, and which can stop before any step.

DDIM with eta = 0 (Song et al. 2021, arXiv 2010.02502): few steps, no randomness but that of the latents and of the
device, and each step depends on the present images alone, so that a stored state is all that going on needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.arrays import read_arrays
from hardware.errors import HardwareError
from hardware.inference.exact import ExactEvaluator
from hardware.inference.rounds import Round
from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.diffusion.noise import image_noise, noise_source
from qhybrid.diffusion.samplers import build_sampler, sample_images
from qhybrid.files import atomic_path
from qhybrid.models.cores import PublishedCore, QuantumCore
from qhybrid.models.unet import Encoded

Evaluate = Callable[[Round], NDArray[np.float64]]
"""Expectation values `(D, n_out)` of the distinct parameter sets `(D, n_in)` of a round."""


@dataclass(frozen=True)
class ReverseState:
    """Images between two steps.

    Attributes:
        step: The next step, from 0 to the number of steps.
        images: `(B, C, H, W)` float32, noisy unless all steps are done.
        sent: Circuits that the next step needs, if they have been sent to a device. They are kept rather than computed
            again, since another machine's last digits would make another job of them.
    """

    step: int
    images: NDArray[np.float32]
    sent: Round | None = None

    def save(self, path: Path, key: str) -> None:
        """Write an npz file, atomically; `key` names the run that it belongs to."""
        arrays = {"step": np.array(self.step), "images": self.images, "key": np.array(key)}
        if self.sent is not None:
            arrays |= {"steps": np.array(self.sent.steps), "angles": self.sent.angles, "rows": self.sent.rows}
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path, key: str) -> ReverseState | None:
        """Read it back; `None` if there is none, or one of another model or other options.

        Raises:
            HardwareError: Damaged.
        """
        if not path.exists():
            return None
        stored = read_arrays(path, ("step", "images", "key"), optional=("steps", "angles", "rows"))
        if str(stored["key"]) != key:
            return None
        step, images, angles, sent = stored["step"], stored["images"], stored.get("angles"), None
        sound = step.ndim == 0 and step.dtype.kind == "i" and bool(step >= 0)
        sound = sound and images.ndim == 4 and images.dtype == np.float32
        if sound and angles is not None:
            # Before there were rounds, a state held the angles of its own step, one row per image.
            rows = stored["rows"] if "rows" in stored else np.arange(len(images))[None]
            steps = stored["steps"] if "steps" in stored else np.array([step], dtype=np.int64)
            sound = sound and angles.ndim == 2 and angles.dtype == np.float64 and steps.ndim == 1
            sound = sound and steps.dtype.kind == rows.dtype.kind == "i" and rows.shape == (len(steps), len(images))
            sound = sound and bool(((rows >= 0) & (rows < len(angles))).all())
            sent = Round(tuple(steps.tolist()), angles, rows) if sound else None
        if not sound:
            raise HardwareError(f"`{path}` holds no state of a reverse process: remove it")
        return cls(int(step), images, sent)


class ReverseProcess:
    """The few-step sampler of a checkpoint for given image seeds.

    Args:
        checkpoint: Trained model with a circuit in its bottleneck.
        steps: Number of reverse steps.
        seeds: One seed per image; image i is the same whichever others go with it. A conditional model gives the images
            its classes in turn.

    Raises:
        HardwareError: The model has no circuit, or one that a device cannot stand in for.
    """

    def __init__(self, checkpoint: Checkpoint, steps: int, seeds: Collection[int]) -> None:
        core = checkpoint.model.bottleneck.core
        if not isinstance(core, QuantumCore):
            raise HardwareError(f"checkpoint `{checkpoint.path}` has no circuit to run: train a `quantum` core")
        if type(core).forward not in (QuantumCore.forward, PublishedCore.forward):
            name = checkpoint.config.model.bottleneck.core.name
            raise HardwareError(
                f"bottleneck core `{name}` makes something of its own of the circuit's expectation values, which a "
                "device would leave out: run a core that keeps `QuantumCore.forward`"
            )
        if checkpoint.config.model.bottleneck.place == "features":
            raise HardwareError(
                f"checkpoint `{checkpoint.path}` has its circuit at every position of the features "
                "(`place: features`): a device runs one circuit per image; train a `gate` or `condition`"
            )
        self.model = checkpoint.model
        self.core = core
        self.exact = ExactEvaluator(core.spec, circuit_weights(core))
        self.steps = steps
        self.seeds = list(seeds)
        self.labels = None if checkpoint.labels is None else checkpoint.labels.asked("balanced", len(self.seeds))
        self._labels = None if self.labels is None else torch.from_numpy(self.labels)
        self._shape = checkpoint.image_shape
        self._sampler = build_sampler(checkpoint.config.diffusion, "ddim", steps)
        self._source = noise_source(checkpoint.config.diffusion)

    def start(self) -> ReverseState:
        """Pure noise."""
        return ReverseState(0, self._noise(0).numpy())

    @property
    def together(self) -> bool:
        """Whether the circuits of all steps can be sent together: the bottleneck does not see the image."""
        return not self.model.bottleneck.sees_image

    def rounds(self, device_steps: Collection[int]) -> list[tuple[int, ...]]:
        """Denoising steps on the device, in groups whose circuits can be sent together; each queues once."""
        steps = tuple(sorted(device_steps))
        return [steps] if self.together else [(step,) for step in steps]

    @torch.no_grad()
    def known_round(self, steps: Sequence[int]) -> Round:
        """The circuits of denoising steps, from classes and time alone; only where the image is not seen (`together`).

        Args:
            steps: Numbers of the denoising steps.
        """
        labels, images = None, np.zeros(len(self.seeds), dtype=np.int64)
        classes = 1
        if self.labels is not None:
            # One row of the network per class: rows of one class differ in their last digits.
            distinct, inverse = np.unique(self.labels, axis=0, return_inverse=True)
            classes, images = len(distinct), inverse.reshape(-1)
            labels = torch.from_numpy(np.tile(distinct, (len(steps), *[1] * (distinct.ndim - 1))))
        times = self._sampler.timesteps[list(steps)].repeat_interleave(classes)
        angles = self.model.core_inputs_without_image(times, labels).double().numpy()
        return Round.of(steps, angles.reshape(len(steps), classes, -1)[:, images])

    def simulate(self, save: Callable[[ReverseState], None] = lambda state: None) -> ReverseState:
        """All steps from pure noise with exact expectation values; `save` is called after each."""
        return self.run(self.start(), lambda asked: self.exact.values(asked.angles), (), save)

    def run(
        self,
        state: ReverseState,
        evaluate: Evaluate,
        device_steps: Collection[int],
        save: Callable[[ReverseState], None] = lambda state: None,
    ) -> ReverseState:
        """Go on from a state to the end.

        Args:
            state: State to go on from: that of `start`, or the last one that `save` was given.
            evaluate: Called once for each round of `device_steps`; whatever it raises ends the run, which `save` has
                made ready to go on.
            device_steps: Numbers of the denoising steps on the device; all others use exact simulation.
            save: Called before each round and after every step.

        Returns:
            The state after the last step.
        """
        current = state
        values: NDArray[np.float64] | None = None

        def measured(encoded: Encoded) -> NDArray[np.float64]:
            nonlocal current, values
            if current.sent is None:
                current = replace(current, sent=self._round(current.step, encoded, device_steps))
                save(current)
            assert current.sent is not None
            if values is None:
                values = evaluate(current.sent)
            return current.sent.of_images(current.step, values)

        @torch.no_grad()
        def denoise(x: Tensor, t: Tensor) -> Tensor:
            encoded = self.model.encode(x, t)
            if current.step not in device_steps:
                return self.model.decode(encoded, self.exact(self.model.core_inputs(encoded, self._labels)))
            return self.model.decode(encoded, torch.from_numpy(measured(encoded)).to(x.dtype))

        def finished(step: int, x: Tensor) -> None:
            nonlocal current, values
            sent = current.sent if current.sent is not None and step < current.sent.steps[-1] else None
            values = None if sent is None else values
            current = ReverseState(step + 1, x.numpy().copy(), sent)
            save(current)

        if state.step < self.steps:
            latents = torch.from_numpy(state.images)
            sample_images(
                denoise,
                self._sampler,
                latents,
                lambda step: self._noise(step + 1),
                start=state.step,
                callback=finished,
            )
        return current

    def _round(self, step: int, encoded: Encoded, device_steps: Collection[int]) -> Round:
        if self.together:
            return self.known_round(sorted(later for later in device_steps if later >= step))
        angles = self.model.core_inputs(encoded, self._labels).double().numpy()
        return Round.of((step,), angles[None])

    def _noise(self, step: int) -> Tensor:
        return image_noise(self._source, self.seeds, self._shape, step)


def circuit_weights(core: QuantumCore) -> NDArray[np.float64]:
    """Trained weights of a core's circuit, in the order of `spec.weights`."""
    (weights,) = core.layer.state_dict().values()
    return np.asarray(weights.detach().cpu().double().numpy(), dtype=np.float64)
