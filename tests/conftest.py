"""Shared fixtures. Every test gets its own seeded generator; nothing leaves the machine or the temporary folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

# Before torch and numba are loaded, and for the processes that tests start: on two cores that two workers keep busy,
# a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from qhybrid.commands.main import main
from qhybrid.config import DataConfig, build_config
from qhybrid.data import load_data
from qhybrid.rundir import RunDirectory

# Files that take longest, longest first; what is not named comes after them.
LONGEST = (
    "test_notebooks.py",
    "test_notebook_hardware.py",
    "test_service_faults.py",
    "test_notebook_noise.py",
    "test_hardware_variants.py",
    "test_training_loop.py",
    "test_notebook_published_circuit.py",
    "test_service_modes.py",
    "test_service_kills.py",
    "test_studies_cluster.py",
    "test_studies.py",
    "test_evaluation_reliance.py",
    "test_quantum_layer.py",
    "test_plugin.py",
    "test_commands.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file stays on one worker: begun last, a long one would leave the others idle."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True, scope="session")
def _threads() -> None:
    # Small tensors gain nothing from a second thread, and the tests' times should not depend on the other core.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Caches (feature networks, ISA circuits) go to a folder of this session, not to the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHYBRID_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's name, so that tests do not depend on each other's order."""
    return np.random.default_rng([ord(letter) for letter in request.node.name])


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int | None, str, str]]:
    """Run the command line in this process; returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["qhybrid", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache for all tests, so that the classifier is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cached(cache, monkeypatch):
    monkeypatch.setenv("QHYBRID_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session")
def digits():
    return load_data(DataConfig())


@pytest.fixture
def make_run(tmp_path):
    """A run directory on digits with the given images as its samples."""

    def make(images, **sections):
        settings = {"name": "test", "sampling": {"images": len(images)}, "evaluation": {"kid_subsets": 20}}
        run = RunDirectory.create(tmp_path / "run", build_config(settings | sections))
        run.images_file.parent.mkdir()
        np.savez(run.images_file, images=images[..., 0], seeds=np.arange(len(images)))
        return run

    return make
