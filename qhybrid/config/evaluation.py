"""Metrics."""

from __future__ import annotations

from pydantic import Field

from qhybrid.config.section import Section, Seed


class EvaluationConfig(Section):
    """Metrics in the feature space of a small classifier trained on the data set."""

    kid_subsets: int = Field(
        default=100,
        ge=2,
        description="Number of random subsets that the kernel distance (KID) is averaged over, at least 2.",
    )
    kid_subset_size: int = Field(default=100, ge=2, description="Images in each of these subsets, at least 2.")
    neighbours: int = Field(
        default=3,
        ge=1,
        description="Rank of the nearest neighbour whose distance is the radius in precision and recall, at least 1.",
    )
    seed: Seed = Field(
        default=0,
        description="Seed of every random draw of the evaluation and of the classifier's training, 0 or more.",
    )
