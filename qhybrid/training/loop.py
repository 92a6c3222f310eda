"""The training loop: `RunConfig` -> run directory with checkpoints and a log."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from qhybrid.checkpoints.checkpoint import latest_checkpoint, load_training_state, load_weights, save_checkpoint
from qhybrid.checkpoints.stages import circuit_in
from qhybrid.circuit_copies import check_copies, keep_copies, with_copies
from qhybrid.config import RunConfig, TrainingConfig, dump_config
from qhybrid.data import load_data, to_tensor
from qhybrid.data.labels import LabelSpace
from qhybrid.diffusion.noise import forward_noise
from qhybrid.diffusion.process import ForwardProcess
from qhybrid.diffusion.schedules import time_density
from qhybrid.diffusion.sources import bank_input, check_supply, has_drawn, reserve, training_demands
from qhybrid.errors import Interrupted, RunDirectoryError, TrainingError
from qhybrid.files import InputFile, append_line, read_jsonl, write_text
from qhybrid.models.build import build_model, check_trainable, parameter_groups
from qhybrid.models.unet import UNet
from qhybrid.preflight import check_stages, later_demands
from qhybrid.progress import progress
from qhybrid.rundir import RunDirectory
from qhybrid.training.batches import Batches

if TYPE_CHECKING:
    from accelerate import Accelerator
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
    """One run's model, optimizer and averaged weights."""

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
        self.accelerator = _accelerator(config.training)
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


def prepare(config: RunConfig, run: RunDirectory | None = None, *, stages: bool = True) -> Trainer:
    """Everything that training needs, before anything is written.

    Args:
        config: The run.
        run: Where it was begun, if it was: its data set and noise bank must be what they were, and a circuit of the
            user's own is read from the copy there.
        stages: Whether the stages that the configuration names will follow the training.

    Raises:
        QHybridError: The data, the circuit or the device cannot be had, or have changed since the run began; or a
            stage that follows cannot work.
    """
    if config.training.threads is not None:
        torch.set_num_threads(config.training.threads)
    wanted = config
    if run is not None:
        check_copies(run.path, config)
        run.check_inputs()
        config = run.relocated(with_copies(run.path, config))
    check_trainable(config)
    data = load_data(config.data)
    if run is not None:
        run.check_input("data", data.input_file.path, data.input_file.sha256)
    images = to_tensor(data.train)
    if stages:
        check_stages(config, data)
    labels = LabelSpace.of(data) if config.model.condition == "class" else None
    classes = None if labels is None else len(labels.names)
    model = build_model(circuit_in(config, "training"), data.channels, classes=classes)
    demands = training_demands(config, images.shape[1:])
    if stages and not has_drawn(config.diffusion.noise, _consumer(wanted)):
        # A run that was begun may have drawn for its images as well.
        demands += later_demands(config, images.shape[1:])
    check_supply(config.diffusion.noise, demands, _consumer(wanted))
    batches = Batches(
        images,
        config.training.batch_size,
        config.diffusion.timesteps,
        forward_noise(config.diffusion, config.training.steps),
        config.seed,
        density=None if config.diffusion.times.kind == "uniform" else time_density(config.diffusion),
        labels=None if labels is None else torch.from_numpy(data.train_labels),
        label_dropout=config.training.label_dropout,
    )
    inputs = {"data": data.input_file} | bank_input(config.diffusion.noise)
    return Trainer(wanted, model, batches, (data.channels, data.image_size, data.image_size), inputs, labels)


def check_start(config: RunConfig, out: str | Path | None, *, resume: bool) -> None:
    """Find out whether a training may begin or go on where it is to be written; nothing is written.

    Args:
        config: The run.
        out: Its directory; `None` is a new one.
        resume: Whether it goes on with the run that is there.

    Raises:
        RunDirectoryError: `resume` without `out`; or the folder is not writable, or holds something else.
    """
    if resume and out is None:
        begun = sorted(Path("runs").glob(f"{glob.escape(config.name)}-*"), key=lambda path: path.stat().st_mtime)
        newest = f"; the newest of this name is `{begun[-1]}`" if begun else ""
        raise RunDirectoryError(f"--resume goes on with the run directory that --out names: name it{newest}")
    RunDirectory.check_place(out, config, resume=resume)


def train(
    config: RunConfig, out: str | Path | None = None, *, resume: bool = False, stages: bool = True
) -> RunDirectory:
    """Train a model into a run directory, writing its log and checkpoints.

    On SIGINT or SIGTERM a checkpoint is written and `Interrupted` raised; after SIGKILL the last one is there.
    A resumed run ends with the weights of one that was never interrupted, bit for bit (CPU, same thread count).

    Args:
        config: The run.
        out: Run directory; by default `runs/<name>-<time>`.
        resume: Go on from the last checkpoint in `out`.
        stages: Whether the stages that the configuration names will follow: one that cannot work is refused now.

    Raises:
        QHybridError: Bad configuration, data or output folder, a later stage that cannot work (nothing is written), or
            a loss that is not finite.
    """
    check_start(config, out, resume=resume)
    begun_here = out is not None and resume and RunDirectory(out).config_file.exists()
    trainer = prepare(config, RunDirectory(out or "") if begun_here else None, stages=stages)
    accelerator = trainer.accelerator
    main = accelerator.is_main_process
    with accelerator.main_process_first():
        run = RunDirectory.create(out, config, resume=resume or not main, inputs=trainer.inputs)
    with run.locked() if main else nullcontext():
        folder = latest_checkpoint(run)
        if folder is not None:
            trainer.restore(folder)
        if main:
            keep_copies(run.path, config)
            noise = run.relocated(config).diffusion.noise
            reserve(noise, training_demands(config, trainer.image_shape), _consumer(config))
            _trim_log(run, trainer.step)
        with _interruptible() as interrupted:
            _run_steps(trainer, run, interrupted)
    return run


def _consumer(config: RunConfig) -> str:
    """By what name a run stands in the record of its noise bank; a repeated or resumed run is the same consumer."""
    digest = hashlib.sha256(dump_config(config).encode()).hexdigest()[:12]
    return f"training of {config.name}, seed {config.seed} ({digest})"


def _run_steps(trainer: Trainer, run: RunDirectory, interrupted: list[int]) -> None:
    training = trainer.config.training
    main = trainer.accelerator.is_main_process
    with progress("training", training.steps, trainer.step, quiet=not main) as advance:
        while trainer.step < training.steps:
            rate = trainer.learning_rate
            norms = trainer.train_step()
            note = ""
            if trainer.step % training.log_every == 0 or trainer.step == training.steps:
                row = trainer.log_row(norms, rate)
                note = f"loss {row['loss']:.4f}"
                if main:
                    append_line(run.train_log, json.dumps(row))
            advance(1, note)
            if interrupted or trainer.step % training.checkpoint_every == 0 or trainer.step == training.steps:
                trainer.save(run)
            if interrupted:
                raise Interrupted(f"stopped at step {trainer.step} of {training.steps}; go on with --resume")


def _accelerator(training: TrainingConfig) -> Accelerator:
    from accelerate import Accelerator

    if training.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("`training.device: cuda`, but this machine has no usable CUDA device: choose auto or cpu")
    # accelerate decides by this variable as well as by its argument; both must agree for a second run in a process.
    cpu = training.device == "cpu"
    os.environ["ACCELERATE_USE_CPU"] = "true" if cpu else "false"
    return Accelerator(cpu=cpu, mixed_precision=training.mixed_precision)


def _gradient_norm(parameters: list[nn.Parameter]) -> float:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0


def _trim_log(run: RunDirectory, step: int) -> None:
    """Drop rows after the checkpoint: those steps are taken again."""
    if run.train_log.exists():
        rows = read_jsonl(run.train_log)
        if not all(type(row.get("step")) is int for row in rows):
            raise RunDirectoryError(f"`{run.train_log}` is damaged: it has a row without a step: remove that row")
        kept = [row for row in rows if row["step"] <= step]
        write_text(run.train_log, "".join(json.dumps(row) + "\n" for row in kept))


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying in the middle of a step."""
    received: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    try:
        for name in (signal.SIGINT, signal.SIGTERM):
            handlers[name] = signal.signal(name, lambda number, _: received.append(number))
    except ValueError:
        pass  # Only the main thread may set handlers; elsewhere (notebooks' workers, studies) signals are the caller's.
    try:
        yield received
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)
