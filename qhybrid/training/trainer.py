"""One run's model, optimizer and averaged weights: a step, a checkpoint, and going on from it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from qhybrid.checkpoints.checkpoint import load_training_state, load_weights, save_checkpoint
from qhybrid.config import RunConfig
from qhybrid.data.labels import LabelSpace
from qhybrid.diffusion.process import ForwardProcess
from qhybrid.errors import RunDirectoryError, TrainingError
from qhybrid.files import InputFile
from qhybrid.models.build import parameter_groups
from qhybrid.models.unet import UNet
from qhybrid.processes import make_accelerator
from qhybrid.rundir import RunDirectory
from qhybrid.training.batches import Batches

if TYPE_CHECKING:
    from ema_pytorch import EMA

# Decay of the averaged weights after n steps: 1 - (1 + n) ** -0.75, up to `ema_decay` (ema-pytorch's warm-up).
_EMA_POWER = 0.75


@dataclass
class _Window:
    """Sums since the last row of the log; part of the checkpoint, so that a resumed log is the uninterrupted one."""

    loss: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, loss: float) -> None:
        self.loss += loss
        self.steps += 1

    def state(self) -> dict[str, float]:
        return {"loss": self.loss, "steps": self.steps, "seconds": self.seconds + time.monotonic() - self.started}


class Trainer:
    """One run's model, optimizer and averaged weights.

    Args:
        config: Configuration of the run.
        model: Network to be trained.
        batches: Batches of the training set.
        image_shape: Shape of one image, `(C, H, W)`.
        inputs: Files that the run is made from, by kind (`data`, `bank`), as `meta.json` keeps them.
        labels: Labels that a conditional model can be asked for; `None` for an unconditional model.
    """

    def __init__(
        self,
        config: RunConfig,
        model: UNet,
        batches: Batches,
        image_shape: tuple[int, int, int],
        inputs: Mapping[str, InputFile],
        labels: LabelSpace | None = None,
    ) -> None:
        from ema_pytorch import EMA

        self.inputs = inputs
        self.config = config
        self.batches = batches
        self.image_shape = image_shape
        self.labels = labels
        self.process = ForwardProcess(config.diffusion)
        self.accelerator = make_accelerator(config.training)
        optimizer = torch.optim.Adam(model.parameters(), lr=config.training.learning_rate, fused=True)
        self.ema: EMA = EMA(
            model,
            beta=config.training.ema_decay,
            power=_EMA_POWER,
            update_after_step=0,
            update_every=1,
            include_online_model=False,
            use_foreach=True,
        ).to(self.accelerator.device)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.groups = parameter_groups(self.unwrapped)
        self.step = 0
        self.window = _Window()

    @property
    def unwrapped(self) -> UNet:
        """The model without accelerate's wrappers."""
        model: UNet = self.accelerator.unwrap_model(self.model)
        return model

    def train_step(self) -> dict[str, float]:
        """One optimizer step; returns the gradient norm of every parameter group, before clipping.

        Raises:
            TrainingError: The loss is not finite.
        """
        training = self.config.training
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        batch = self.batches[self.step].part(rank, processes).to(self.accelerator.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        with self.accelerator.autocast():
            loss = self.process.loss(lambda x, t: self.model(x, t, batch.labels), batch.images, batch.epsilon, batch.t)
        value = float(self.accelerator.reduce(loss.detach(), "mean"))
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self.step + 1}: lower `training.learning_rate` "
                f"({training.learning_rate}) and resume from the last checkpoint"
            )
        self.accelerator.backward(loss)
        norms = {name: _gradient_norm(parameters) for name, parameters in self.groups.items()}
        if training.gradient_clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), training.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update()
        self.step += 1
        self.window.add(value)
        return norms

    @property
    def learning_rate(self) -> float:
        """Learning rate of the coming step: it rises linearly over `warmup_steps`, then stays."""
        training = self.config.training
        return training.learning_rate * min(1.0, (self.step + 1) / max(1, training.warmup_steps))

    def log_row(self, norms: dict[str, float], learning_rate: float) -> dict[str, Any]:
        """The log's row over the steps since the last one; the next row starts anew."""
        sums = self.window.state()
        self.window = _Window(seconds=sums["seconds"])
        return {
            "step": self.step,
            "images_seen": self.step * self.config.training.batch_size,
            "loss": sums["loss"] / sums["steps"],
            "learning_rate": learning_rate,
            "gradient_norm": norms,
            "seconds": round(sums["seconds"], 3),
        }

    def save(self, run: RunDirectory) -> None:
        """Write a checkpoint of the current step into a run directory."""
        state = {
            "optimizer": self.optimizer.state_dict(),
            "ema_step": int(self.ema.step),
            "window": self.window.state(),
        }
        if self.accelerator.is_main_process:
            averaged = self.ema.ema_model
            save_checkpoint(run, self.config, self.step, self.unwrapped, averaged, state, self.image_shape, self.labels)
        self.accelerator.wait_for_everyone()

    def restore(self, folder: Path) -> None:
        """Set weights, optimizer, averages and step to those of a checkpoint's folder.

        Args:
            folder: `checkpoints/step-N` of a run.

        Raises:
            RunDirectoryError: Its files are damaged, or of another model.
        """
        state = load_training_state(folder)
        load_weights(self.unwrapped, folder, ema=False)
        load_weights(self.ema.ema_model, folder, ema=True)
        try:
            moments = _moments(state, self.optimizer.param_groups)
            ema_step, window = int(state["ema_step"]), state["window"]
            self.window = _Window(float(window["loss"]), int(window["steps"]), float(window["seconds"]))
            if min(ema_step, self.window.steps) < 0 or not math.isfinite(self.window.loss + self.window.seconds):
                raise ValueError("its counters are out of range")
        except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise RunDirectoryError(
                f"the training state of `{folder}` is damaged ({' '.join(str(error).split())[:200]}): remove this "
                "checkpoint"
            ) from None
        # The settings of the groups are the configuration's.
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.ema.step.fill_(ema_step)
        self.ema.initted.fill_(True)
        self.step = int(folder.name.removeprefix("step-"))


def _moments(state: Mapping[str, Any], groups: list[dict[str, Any]]) -> dict[int, dict[str, torch.Tensor]]:
    """Adam's moments of every parameter, as a checkpoint holds them.

    Raises:
        ValueError: They are not those of these parameters.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    stored: dict[int, dict[str, torch.Tensor]] = state["optimizer"]["state"]
    for index, entry in stored.items():
        # A parameter that took no part in a step has none.
        shapes = {"step": (), "exp_avg": parameters[index].shape, "exp_avg_sq": parameters[index].shape}
        if entry.keys() != shapes.keys() or any(tuple(entry[name].shape) != tuple(shapes[name]) for name in shapes):
            raise ValueError(f"the moments of parameter {index} are those of another")
        if not all(tensor.dtype == torch.float32 for tensor in entry.values()) or not entry["step"] >= 0:
            raise ValueError(f"the moments of parameter {index} are out of range")
    return stored


def _gradient_norm(parameters: list[nn.Parameter]) -> float:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
