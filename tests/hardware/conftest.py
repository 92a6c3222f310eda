"""A run directory that hardware can work on, and a service to work with."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hardware_runs import Command, MakeRun, tiny_config, write_checkpoint
from loopback import Loopback

from qhybrid.commands import main as cli
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


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A loopback IBM Quantum service with an account on the Open plan, to which the environment points."""
    with Loopback("open") as running:
        point_to(running, monkeypatch)
        yield running


@pytest.fixture
def paid_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """The same with a plan that has sessions."""
    with Loopback("pay-as-you-go") as running:
        point_to(running, monkeypatch)
        yield running


def point_to(running: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`qhybrid hardware ...` in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["qhybrid", "hardware", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as caught:
            cli.main()
        streams = capsys.readouterr()
        return int(caught.value.code or 0), streams.out, streams.err

    return call
