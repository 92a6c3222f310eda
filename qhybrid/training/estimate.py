"""What a run will take, from a few real steps: for `--dry-run`."""

from __future__ import annotations

import statistics
import time

from qhybrid.config import RunConfig
from qhybrid.data import load_data
from qhybrid.diffusion.schedules import terminal_snr
from qhybrid.diffusion.sources import open_bank
from qhybrid.models.build import build_model, parameter_counts
from qhybrid.training.loop import prepare

_WARM_UP_STEPS, _TIMED_STEPS = 2, 5
_ARMS = ("plain", "se", "quantum", "published")


def estimate(config: RunConfig) -> list[str]:
    """Lines that tell the data, the parameters of each arm and the training time measured on a few steps."""
    data = load_data(config.data)
    trainer = prepare(config)
    seconds = []
    for _ in range(_WARM_UP_STEPS + _TIMED_STEPS):
        start = time.perf_counter()
        trainer.train_step()
        seconds.append(time.perf_counter() - start)
    step = statistics.median(seconds[_WARM_UP_STEPS:])
    lines = [
        f"data: {data.name}, {len(data.train)} training images of {data.image_size}x{data.image_size}x{data.channels}"
    ]
    for arm in _ARMS:
        counts = parameter_counts(build_model(_with_arm(config, arm), data.channels))
        chosen = "  <- this run" if arm == config.model.bottleneck else ""
        parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        lines.append(f"parameters, {arm}: {sum(counts.values()):,} ({parts}){chosen}")
    lines += _describe_diffusion(config)
    whole = _duration(step * config.training.steps)
    lines.append(f"training: {1e3 * step:.0f} ms a step, {config.training.steps:,} steps: about {whole}")
    return lines


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
        lines.append(f"noise: {noise.source}, simulated on {noise.simulate.device}")
    return lines


def _with_arm(config: RunConfig, arm: str) -> RunConfig:
    model = config.model.model_copy(update={"bottleneck": arm})
    # Only parameters are counted, and the published circuit may not fit this run's device or noise mode.
    quantum = config.quantum.model_copy(update={"simulator": "compiled", "noise": None, "shots": None})
    return config.model_copy(update={"model": model, "quantum": quantum})


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
