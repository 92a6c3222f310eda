"""A run that has been through every stage at home."""

from __future__ import annotations

import pytest

from qhybrid.config import build_config
from qhybrid.evaluation.evaluate import evaluate
from qhybrid.sampling.generate import sample
from qhybrid.training.loop import train

SECTIONS = {
    "name": "tiny",
    "model": {"channels": [8, 8, 8], "time_dim": 16, "condition": "class", "bottleneck": {"place": "condition"}},
    "quantum": {"qubits": 2, "layers": 1},
    "training": {"steps": 2, "batch_size": 8, "log_every": 1},
    "sampling": {"images": 100, "steps": 2},
    "evaluation": {
        "kid_subsets": 4,
        "reliance": {"images": 10, "test_images": 10, "time_bins": 2, "device": "fake_manila"},
    },
}


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    """A tiny conditional run, trained, sampled and judged."""
    run = train(build_config(SECTIONS), tmp_path_factory.mktemp("report") / "run")
    sample(run)
    evaluate(run)
    return run
