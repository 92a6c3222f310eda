"""Reverse diffusion whose bottleneck is evaluated elsewhere at chosen steps, and which can stop before any step.

DDIM with eta = 0 (Song et al. 2021, arXiv 2010.02502): few steps, no randomness but that of the latents and of the
device, and each step depends on the present images alone, so that a stored state is all that going on needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.arrays import read_arrays
from hardware.errors import HardwareError
from hardware.inference.exact import ExactEvaluator
from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.diffusion.noise import image_noise, noise_source
from qhybrid.diffusion.samplers import build_sampler, sample_images
from qhybrid.files import atomic_path
from qhybrid.models.cores import PublishedCore, QuantumCore
from qhybrid.models.unet import Encoded

Evaluate = Callable[[int, NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class ReverseState:
    """Images between two steps.

    Attributes:
        step: The next step, from 0 to the number of steps.
        images: `(B, C, H, W)` float32, noisy unless all steps are done.
        angles: `(B, n_in)` of the next step if they have been sent to a device. They are kept rather than computed
            again, since another machine's last digits would make another job of them.
    """

    step: int
    images: NDArray[np.float32]
    angles: NDArray[np.float64] | None = None

    def save(self, path: Path, key: str) -> None:
        """Write an npz file, atomically; `key` names the run that it belongs to."""
        arrays = {"step": np.array(self.step), "images": self.images, "key": np.array(key)}
        if self.angles is not None:
            arrays["angles"] = self.angles
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
        stored = read_arrays(path, ("step", "images", "key"), optional=("angles",))
        if str(stored["key"]) != key:
            return None
        return cls(int(stored["step"]), stored["images"], stored.get("angles"))


class ReverseProcess:
    """The few-step sampler of a checkpoint for given image seeds.

    Args:
        checkpoint: With a circuit in its bottleneck.
        steps: Reverse steps.
        seeds: One per image; image i is the same whichever others go with it. Of a conditional model, the images have
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

    def simulate(self, save: Callable[[ReverseState], None] = lambda state: None) -> ReverseState:
        """All steps from pure noise with exact expectation values; `save` is called after each."""
        return self.run(self.start(), lambda _, angles: self.exact.values(angles), (), save)

    def run(
        self,
        state: ReverseState,
        evaluate: Evaluate,
        device_steps: Collection[int],
        save: Callable[[ReverseState], None] = lambda state: None,
    ) -> ReverseState:
        """Go on from a state to the end.

        Args:
            state: From `start`, or as last given to `save`.
            evaluate: `(step, angles (B, n_in)) -> expectation values (B, n_out)`, called at the steps in
                `device_steps`; whatever it raises ends the run, which `save` has made ready to go on.
            device_steps: All other steps use exact simulation.
            save: Called before each step of `device_steps` and after every step.

        Returns:
            The state after the last step.
        """
        current = state

        @torch.no_grad()
        def denoise(x: Tensor, t: Tensor) -> Tensor:
            nonlocal current
            encoded = self.model.encode(x, t)
            if current.step not in device_steps:
                return self.model.decode(encoded, self.exact(self.model.core_inputs(encoded, self._labels)))
            angles = current.angles
            if angles is None:
                angles = self._angles(encoded)
                current = replace(current, angles=angles)
                save(current)
            return self.model.decode(encoded, torch.from_numpy(evaluate(current.step, angles)).to(x.dtype))

        def finished(step: int, x: Tensor) -> None:
            nonlocal current
            current = ReverseState(step + 1, x.numpy().copy())
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

    @torch.no_grad()
    def angles(self, x: Tensor, t: Tensor) -> NDArray[np.float64]:
        """Encoding angles `(B, n_in)` of the circuit at images `(B, C, H, W)` and time steps `(B,)`."""
        return self._angles(self.model.encode(x, t))

    def _angles(self, encoded: Encoded) -> NDArray[np.float64]:
        return self.model.core_inputs(encoded, self._labels).double().numpy()

    def _noise(self, step: int) -> Tensor:
        return image_noise(self._source, self.seeds, self._shape, step)


def circuit_weights(core: QuantumCore) -> NDArray[np.float64]:
    """Trained weights of a core's circuit, in the order of `spec.weights`."""
    (weights,) = core.layer.state_dict().values()
    return np.asarray(weights.detach().cpu().double().numpy(), dtype=np.float64)
