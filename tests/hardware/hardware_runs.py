"""Run directories with a small hybrid model whose weights are random: hardware asks for no training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qhybrid.checkpoints.checkpoint import save_checkpoint
from qhybrid.config import RunConfig, build_config
from qhybrid.data.labels import LabelSpace
from qhybrid.models.build import build_model
from qhybrid.rundir import RunDirectory

MakeRun = Callable[..., RunDirectory]
# Arguments after `qhybrid hardware`; exit code, stdout, stderr.
Command = Callable[..., tuple[int, str, str]]


def tiny_config(**quantum: object) -> RunConfig:
    return build_config(
        {
            "name": "tiny",
            "model": {"channels": [8, 8, 8], "time_dim": 8, "bottleneck": {"core": "quantum"}},
            "quantum": {"qubits": 3, "layers": 1, **quantum},
            "diffusion": {"timesteps": 50},
        }
    )


def conditional_run(
    folder: Path, classes: int = 3, qubits: int = 3, space: LabelSpace | None = None, **bottleneck: Any
) -> RunDirectory:
    """A conditional model whose weights are random, so that images depend on circuit, label and time."""
    config = build_config(
        {
            "name": "tiny",
            "model": {"channels": [8, 8, 8], "time_dim": 8, "condition": "class", "bottleneck": bottleneck},
            "quantum": {"qubits": qubits, "layers": 1},
            "diffusion": {"timesteps": 50},
        }
    )
    if space is None:
        space = LabelSpace(tuple(str(number) for number in range(classes)), np.arange(classes), np.full(classes, 5))
    model = build_model(config, 1, classes=len(space.names))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
        torch.nn.init.normal_(model.bottleneck.excite.weight, std=1.0)  # type: ignore[union-attr,arg-type]
    run = RunDirectory.create(folder, config)
    save_checkpoint(run, config, 1, model, model, {}, (1, 8, 8), space)
    return run


def write_checkpoint(run: RunDirectory, config: RunConfig, seed: int) -> None:
    model = build_model(config, 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # Head and gate start at zero; with random weights the images depend on the circuit.
        torch.nn.init.normal_(model.head.weight, std=0.3)
        torch.nn.init.normal_(model.bottleneck.excite.weight, std=1.0)  # type: ignore[union-attr,arg-type]
    save_checkpoint(run, config, 1, model, model, {}, (1, 8, 8))
