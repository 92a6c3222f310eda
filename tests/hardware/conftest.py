"""A run directory that hardware can work on."""

from pathlib import Path

import pytest
from hardware_runs import MakeRun, tiny_config, write_checkpoint

from qhybrid.rundir import RunDirectory


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(name: str = "run", seed: int = 0, **quantum: object) -> RunDirectory:
        config = tiny_config(**quantum)
        run = RunDirectory.create(tmp_path / name, config)
        write_checkpoint(run, config, seed)
        return run

    return make


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run()
