"""Optimization."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qhybrid.config.section import Section


class TrainingConfig(Section):
    """Optimization, counted in steps, never in epochs."""

    steps: int = Field(default=5000, ge=1, description="Optimizer steps, at least 1.")
    batch_size: int = Field(
        default=64, ge=1, le=1_048_576, description="Images per optimizer step over all processes, 1 to 1,048,576."
    )
    learning_rate: float = Field(default=3e-4, gt=0, description="Learning rate of Adam after the warm-up, above 0.")
    warmup_steps: int = Field(
        default=100, ge=0, description="Steps over which the learning rate rises linearly, 0 or more."
    )
    gradient_clip: float | None = Field(
        default=1.0,
        gt=0,
        description=(
            "Largest norm of the gradient of all parameters, above 0; a longer one is scaled down to it. null does not "
            "clip."
        ),
    )
    ema_decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="Decay per step of the averaged weights that are sampled from, from 0 to below 1.",
    )
    label_dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of the images whose label is withheld in a step, from 0 to below 1, so that the model also "
        "learns to do without (for `sampling.guidance`). Acts with `model.condition: class` only.",
    )
    log_every: int = Field(default=50, ge=1, description="Steps per row of `train.jsonl`, at least 1.")
    checkpoint_every: int = Field(
        default=1000, ge=1, description="Steps between two checkpoints, at least 1; the last step always writes one."
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, description="Number of latest checkpoints that are kept, at least 1."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the network runs; `auto` takes a CUDA device if there is one."
    )
    mixed_precision: Literal["no", "bf16"] = Field(
        default="no", description="Whether the network computes in bfloat16 (`bf16`); the circuit does not."
    )
    threads: int | None = Field(
        default=None, ge=1, le=4096, description="CPU threads of torch, 1 to 4096; null leaves torch's own choice."
    )
