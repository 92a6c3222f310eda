"""The training loop: `RunConfig` -> run directory with checkpoints and a log."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from qhybrid.checkpoints.checkpoint import latest_checkpoint
from qhybrid.checkpoints.stages import circuit_in
from qhybrid.circuit_copies import check_copies, keep_copies, with_copies
from qhybrid.config import RunConfig, dump_config
from qhybrid.data import load_data, to_tensor
from qhybrid.data.labels import LabelSpace
from qhybrid.diffusion.noise import forward_noise
from qhybrid.diffusion.schedules import time_density
from qhybrid.diffusion.supply import bank_input, check_supply, has_drawn, reserve, training_demands
from qhybrid.errors import Interrupted, RunDirectoryError
from qhybrid.files import append_line, read_jsonl, write_text
from qhybrid.interruption import collected_signals
from qhybrid.models.build import build_model, check_trainable, require_memory
from qhybrid.preflight import check_stages, later_demands
from qhybrid.processes import agreed_place, any_process, check_parts, make_accelerator
from qhybrid.progress import progress
from qhybrid.rundir import RunDirectory, default_place
from qhybrid.tracking.tracked import Tracking, check_trackers, tracked
from qhybrid.training.batches import Batches
from qhybrid.training.trainer import Trainer


def prepare(config: RunConfig, run: RunDirectory | None = None, *, stages: bool = True) -> Trainer:
    """Everything that training needs, before anything is written.

    Args:
        config: Configuration of the run.
        run: Directory of a run that was begun: its data set and noise bank must be what they were, and a circuit of the
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
    require_memory(config, (data.channels, data.image_size, data.image_size))
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
        config: Configuration of the run.
        out: Directory of the run; `None` is a new one.
        resume: Whether it goes on with the run that is there.

    Raises:
        RunDirectoryError: `resume` without `out`; or the folder is not writable, or holds something else.
        TrackingError: A tracker that is not installed.
    """
    check_trackers(config.tracking)
    if resume and out is None:
        begun = sorted(Path("runs").glob(f"{glob.escape(config.name)}-*"), key=lambda path: path.stat().st_mtime)
        newest = f"; the newest of this name is `{begun[-1]}`" if begun else ""
        raise RunDirectoryError(f"--resume goes on with the run directory that --out names: name it{newest}")
    RunDirectory.check_place(out, config, resume=resume)


def train(
    config: RunConfig,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    stages: bool = True,
    pause: Callable[[], bool] = lambda: False,
) -> RunDirectory:
    """Train a model into a run directory, writing its log and checkpoints.

    On SIGINT or SIGTERM a checkpoint is written and `Interrupted` raised; after SIGKILL the last one is there.
    Several processes (`torchrun`, `accelerate launch`) share every batch; see `qhybrid.processes`.
    A resumed run ends with the weights of one that was never interrupted, bit for bit (CPU, same thread count).

    Args:
        config: Configuration of the run.
        out: Run directory; by default `runs/<name>-<time>`.
        resume: Whether to go on from the last checkpoint in `out`.
        stages: Whether the stages that the configuration names will follow: one that cannot work is refused now.
        pause: Asked after each checkpoint whether to stop there, so that another process may go on with `resume`.

    Raises:
        QHybridError: Bad configuration, data or output folder, a later stage that cannot work (nothing is written), or
            a loss that is not finite.
    """
    check_parts(config)
    accelerator = make_accelerator(config.training)
    main = accelerator.is_main_process
    if main:
        check_start(config, out, resume=resume)
    begun = out is not None and resume and RunDirectory(out).config_file.exists()
    place, begun = agreed_place(accelerator, Path(out or default_place(config)), begun)
    trainer = prepare(config, RunDirectory(place) if begun else None, stages=stages and main)
    with accelerator.main_process_first():
        run = RunDirectory.create(place, config, resume=resume or not main, inputs=trainer.inputs)
    with run.locked() if main else nullcontext():
        folder = latest_checkpoint(run)
        if folder is not None:
            trainer.restore(folder)
        if main:
            keep_copies(run.path, config)
            noise = run.relocated(config).diffusion.noise
            reserve(noise, training_demands(config, trainer.image_shape), _consumer(config))
            _trim_log(run, trainer.step)
        tracking = tracked(run, training_from=trainer.step) if main else nullcontext(Tracking([]))
        with tracking as trackers, collected_signals() as interrupted:
            _run_steps(trainer, run, trackers, interrupted, pause)
    return run


def _consumer(config: RunConfig) -> str:
    """By what name a run stands in the record of its noise bank; a repeated or resumed run is the same consumer."""
    digest = hashlib.sha256(dump_config(config).encode()).hexdigest()[:12]
    return f"training of {config.name}, seed {config.seed} ({digest})"


def _run_steps(
    trainer: Trainer, run: RunDirectory, trackers: Tracking, interrupted: list[int], pause: Callable[[], bool]
) -> None:
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
                    trackers.log(row, trainer.step)
            advance(1, note)
            stopped = any_process(trainer.accelerator, bool(interrupted))
            saved = stopped or trainer.step % training.checkpoint_every == 0 or trainer.step == training.steps
            if saved:
                trainer.save(run)
                if not stopped and pause():
                    return
            if stopped:
                raise Interrupted(f"stopped at step {trainer.step} of {training.steps}; go on with --resume")


def _trim_log(run: RunDirectory, step: int) -> None:
    """Drop rows after the checkpoint: those steps are taken again."""
    if run.train_log.exists():
        rows = read_jsonl(run.train_log)
        if not all(type(row.get("step")) is int for row in rows):
            raise RunDirectoryError(f"`{run.train_log}` is damaged: it has a row without a step: remove that row")
        kept = [row for row in rows if row["step"] <= step]
        write_text(run.train_log, "".join(json.dumps(row) + "\n" for row in kept))
