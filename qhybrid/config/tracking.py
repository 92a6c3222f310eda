"""Trackers of experiments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qhybrid.config.section import Section


class TrackingConfig(Section):
    """Trackers that every stage of a run writes into: metrics, sampled images, evaluation and report.

    Where their data go is told to them as usual, e.g. by `MLFLOW_TRACKING_URI` and `WANDB_MODE`; TensorBoard's are in
    the run directory, under `tracking/`.
    """

    trackers: Annotated[list[Literal["tensorboard", "mlflow", "wandb"]], Field(min_length=1)] = Field(
        description="Which trackers; each is a package of its own (the extra `trackers` installs all)."
    )
    project: str = Field(
        default="qhybrid",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Name of the experiment (MLflow) or project (Weights & Biases) that the run belongs to: letters, "
        "digits, `.`, `_` and `-`.",
    )
