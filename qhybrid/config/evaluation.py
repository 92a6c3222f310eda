"""Metrics."""

from __future__ import annotations

from pydantic import Field

from qhybrid.config.section import Section, Seed


class RelianceConfig(Section):
    """How much the model relies on the core in its bottleneck: what is lost with the core's outputs taken away."""

    images: int = Field(
        default=200,
        ge=10,
        description="Most images generated in each state of the core, with seeds of the samples; at least 10.",
    )
    test_images: int = Field(
        default=300, ge=10, description="Most real test images that the loss is measured on, at least 10."
    )
    time_bins: int = Field(
        default=5, ge=1, le=100, description="Equal parts of the time steps in which the loss is measured, 1 to 100."
    )
    device: str | None = Field(
        default=None,
        description="Device whose noise shrinks the outputs: a snapshot such as `fake_torino`, or a calibration file; "
        "null is the snapshot of `hardware.backend`, otherwise `fake_torino`.",
    )


class EvaluationConfig(Section):
    """Metrics in the feature space of a small classifier trained on the data set."""

    kid_subsets: int = Field(
        default=100,
        ge=2,
        le=100_000,
        description="Number of random subsets that the kernel distance (KID) is averaged over, 2 to 100,000.",
    )
    kid_subset_size: int = Field(default=100, ge=2, description="Images in each of these subsets, at least 2.")
    neighbours: int = Field(
        default=3,
        ge=1,
        description="Rank of the nearest neighbour whose distance is the radius in precision, recall, density and "
        "coverage, at least 1.",
    )
    seed: Seed = Field(
        default=0,
        description="Seed of every random draw of the evaluation and of the classifier's training, 0 or more.",
    )
    reliance: RelianceConfig | None = Field(
        default=RelianceConfig(),
        description="How much the images rely on the core in the bottleneck; null leaves it out.",
    )
