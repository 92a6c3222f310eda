"""Metrics."""

from __future__ import annotations

from pydantic import Field

from qhybrid.config.section import Section


class EvaluationConfig(Section):
    """Metrics in the feature space of a small classifier trained on the data set."""

    kid_subsets: int = Field(default=100, ge=2)
    kid_subset_size: int = Field(default=100, ge=2)
    neighbours: int = Field(default=3, ge=1)
    seed: int = Field(default=0, ge=0)
