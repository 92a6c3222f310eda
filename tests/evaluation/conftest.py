import numpy as np
import pytest

from qhybrid.config import DataConfig, build_config
from qhybrid.data import load_data
from qhybrid.rundir import RunDirectory


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
