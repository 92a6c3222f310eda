"""Hybrid quantum-classical image diffusion with Qiskit: train, sample, evaluate.

Knows nothing of accounts, queues or devices; `hardware` takes a checkpoint from here to an IBM backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qhybrid.checkpoints.checkpoint import load_checkpoint
    from qhybrid.config import load_config
    from qhybrid.evaluation.evaluate import evaluate
    from qhybrid.hub.pretrained import from_pretrained
    from qhybrid.sampling.generate import sample
    from qhybrid.training.loop import train

_HOMES = {
    "load_config": "qhybrid.config",
    "train": "qhybrid.training.loop",
    "sample": "qhybrid.sampling.generate",
    "evaluate": "qhybrid.evaluation.evaluate",
    "from_pretrained": "qhybrid.hub.pretrained",
    "load_checkpoint": "qhybrid.checkpoints.checkpoint",
}

__all__ = ["evaluate", "from_pretrained", "load_checkpoint", "load_config", "sample", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazy: torch, Qiskit and scikit-learn together take seconds to import, and `qhybrid --help` needs none of them.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
