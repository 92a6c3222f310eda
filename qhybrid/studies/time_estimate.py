"""What a run will take, from a few real steps: for `--dry-run`."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.checkpoints.stages import circuit_in
from qhybrid.config import Choice, RunConfig
from qhybrid.data import load_data
from qhybrid.data.labels import LabelSpace
from qhybrid.diffusion.bank_source import open_bank
from qhybrid.diffusion.schedules import terminal_snr
from qhybrid.models.build import build_model, circuit_spec, parameter_counts
from qhybrid.progress import duration
from qhybrid.registry import BOTTLENECK_CORES
from qhybrid.sampling.generate import asked_labels, generate_batch, noise_of
from qhybrid.training.loop import prepare

_WARM_UP_STEPS, _TIMED_STEPS, _TIMED_REVERSE_STEPS = 2, 5, 3


def estimate(config: RunConfig) -> list[str]:
    """Lines that tell the data, the parameters of each arm and the training time measured on a few steps."""
    data = load_data(config.data)
    step = training_step_seconds(config)
    lines = [
        f"data: {data.name}, {len(data.train)} training images of {data.image_size}x{data.image_size}x{data.channels}"
    ]
    classes = len(data.class_names)
    for core in _cores(config):
        counts = parameter_counts(build_model(_with_core(config, core), data.channels, classes=classes))
        chosen = "  <- this run" if core == config.model.bottleneck.core else ""
        parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        lines.append(f"parameters, {core.name}: {sum(counts.values()):,} ({parts}){chosen}")
    lines += _describe_diffusion(config)
    whole = duration(step * config.training.steps)
    lines.append(f"training: {1e3 * step:.0f} ms a step, {config.training.steps:,} steps: about {whole}")
    if config.sampling is not None:
        whole = duration(sampling_seconds(config))
        lines.append(f"sampling: {config.sampling.images:,} images in {config.sampling.steps} steps: about {whole}")
    return lines


def training_step_seconds(config: RunConfig) -> float:
    """Median time of a few real training steps."""
    trainer = prepare(config)
    seconds = []
    for _ in range(_WARM_UP_STEPS + _TIMED_STEPS):
        start = time.perf_counter()
        trainer.train_step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[_WARM_UP_STEPS:])


def sampling_seconds(config: RunConfig) -> float:
    """Time of the configuration's sampling, from a few reverse steps of one batch with untrained weights."""
    if config.sampling is None:
        return 0.0
    data = load_data(config.data)
    staged = circuit_in(config, "sampling")
    labels = LabelSpace.of(data) if config.model.condition == "class" else None
    model = build_model(staged, data.channels, classes=len(data.class_names)).eval()
    untrained = Checkpoint(Path(), staged, model, 0, circuit_spec(staged), data.channels, data.image_size, labels)
    seeds = list(range(min(config.sampling.batch_size, config.sampling.images)))
    few = config.sampling.model_copy(update={"steps": min(_TIMED_REVERSE_STEPS, config.sampling.steps)})
    asked = asked_labels(untrained, few, len(seeds))
    source = noise_of(untrained, few)
    generate_batch(untrained, few.model_copy(update={"steps": 1}), seeds, source, asked)
    start = time.perf_counter()
    generate_batch(untrained, few, seeds, source, asked)
    seconds = time.perf_counter() - start
    return seconds * config.sampling.steps / few.steps * config.sampling.images / len(seeds)


def _describe_diffusion(config: RunConfig) -> list[str]:
    diffusion, noise = config.diffusion, config.diffusion.noise
    lines = [
        f"schedule: {diffusion.schedule.kind}, training times {diffusion.times.kind}, terminal signal-to-noise ratio "
        f"{terminal_snr(diffusion):.2g}"
    ]
    if noise.bank is not None:
        record = open_bank(noise).record
        lines.append(
            f"noise: bank `{record.name}` ({record.source} of {record.provenance.get('backend')}), {record.numbers:,} "
            f"numbers, used {record.uses:.2f} times so far"
        )
    elif noise.simulate is not None:
        lines.append(f"noise: {noise.source.name}, simulated on {noise.simulate.device}")
    elif not noise.plain:
        lines.append(f"noise: {noise.source.name}")
    return lines


def _cores(config: RunConfig) -> list[Choice]:
    """The cores of this package that the run could have in its place, and its own."""
    own = config.model.bottleneck.core
    bare = config.model.condition == "none" and config.model.bottleneck.place != "features"
    packages = BOTTLENECK_CORES.packages().items()
    names = [name for name, package in packages if package == "qhybrid" and (bare or name != "none")]
    cores = [own if name == own.name else Choice(name) for name in names]
    return cores if own in cores else [*cores, own]


def _with_core(config: RunConfig, core: Choice) -> RunConfig:
    bottleneck = config.model.bottleneck.model_copy(update={"core": core})
    model = config.model.model_copy(update={"bottleneck": bottleneck})
    # Only parameters are counted, and the published circuit may not fit this run's device or noise mode.
    quantum = config.quantum.model_copy(update={"simulator": "compiled", "noise": None, "shots": None})
    return config.model_copy(update={"model": model, "quantum": quantum})
