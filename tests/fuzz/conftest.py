"""A run directory with a checkpoint and a plan, made once without training, and the count of inputs at the end."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from fuzzing import COUNTS

from hardware import plan
from qhybrid.config import HardwareConfig, build_config
from qhybrid.rundir import RunDirectory
from qhybrid.training.loop import prepare

TINY = {
    "name": "tiny",
    "data": {"n_train": 40},
    "model": {"channels": [8, 8, 8], "time_dim": 8},
    "quantum": {"qubits": 2, "layers": 1},
    "diffusion": {"timesteps": 20},
    "training": {"steps": 2, "batch_size": 4, "device": "cpu"},
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with a checkpoint whose optimizer has a state; nothing is simulated."""
    config = build_config(TINY)
    trainer = prepare(config)
    run = RunDirectory.create(tmp_path_factory.mktemp("fuzz") / "trained", config, inputs=trainer.inputs)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    trainer.step = 1
    trainer.save(run)
    return run


@pytest.fixture(scope="session")
def planned(trained: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The same with a hardware plan."""
    run = RunDirectory(tmp_path_factory.mktemp("fuzz") / "planned")
    shutil.copytree(trained.path, run.path, dirs_exist_ok=True)
    plan(run, HardwareConfig(backend="aer", images=2, steps=2, shots=16, qpu_steps=[0]))
    return run


@pytest.fixture
def place(tmp_path: Path, trained: RunDirectory) -> RunDirectory:
    """A copy of the trained run, for damage."""
    shutil.copytree(trained.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


@pytest.fixture
def planned_place(tmp_path: Path, planned: RunDirectory) -> RunDirectory:
    """A copy of the planned run, for damage."""
    shutil.copytree(planned.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many inputs of each kind there were."""
    if not COUNTS:
        return
    kinds = sorted({kind for kind, _ in COUNTS})
    terminalreporter.write_line(f"fuzz: {sum(COUNTS.values())} inputs")
    for kind in kinds:
        found = Counter({how: COUNTS[kind, how] for how in ("accepted", "refused")})
        terminalreporter.write_line(f"  {kind}: {found.total()} ({found['accepted']} accepted)")
