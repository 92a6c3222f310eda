"""The real data sets beside the checkout, where they are there."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qhybrid.config import DataConfig
from qhybrid.data import load_data
from qhybrid.errors import DataError

Real = Callable[[str], Path]


def test_mnist(real: Real) -> None:
    root = real("mnist/MNIST/raw").parents[2]
    data = load_data(DataConfig(name="mnist", root=str(root), download=False))
    assert data.train.shape == (60000, 28, 28, 1)
    assert data.test.shape == (10000, 28, 28, 1)
    # The mean and deviation that everyone normalizes MNIST with.
    assert data.train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert data.train.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert np.bincount(data.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    few = load_data(DataConfig(name="mnist", root=str(root / "mnist"), classes=[3], n_train=100, download=False))
    assert (len(few.train), len(few.unused), len(few.test)) == (100, 6031, 1010)
    assert few.checksum == data.checksum


def test_plain_mnist_has_its_own_sums(real: Real, tmp_path: Path) -> None:
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for source in real("mnist/MNIST/raw").iterdir():
        with gzip.open(source) as compressed, (folder / source.stem).open("wb") as plain:
            shutil.copyfileobj(compressed, plain)
    assert len(load_data(DataConfig(name="mnist", root=str(tmp_path), download=False)).train) == 60000


def test_altered_mnist_is_refused(real: Real, tmp_path: Path) -> None:
    source = real("mnist/MNIST/raw")
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    altered = folder / "t10k-labels-idx1-ubyte.gz"
    altered.write_bytes(altered.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz` is truncated.*ec29112dd5afa0611ce80d1b7f02629c"):
        load_data(DataConfig(name="mnist", root=str(tmp_path), download=False))


def test_pneumonia(real: Real) -> None:
    root = real("medmnist/pneumoniamnist.npz").parents[1]
    data = load_data(DataConfig(name="pneumoniamnist", root=str(root), download=False))
    assert (data.train.shape, len(data.val), len(data.test)) == ((4708, 28, 28, 1), 524, 624)
    assert data.class_names == ("normal", "pneumonia")
    assert np.bincount(data.train_labels).tolist() == [1214, 3494]


def test_retina_is_colour(real: Real) -> None:
    root = real("medmnist/retinamnist.npz").parent
    data = load_data(DataConfig(name="retinamnist", root=str(root), n_train=80, download=False))
    assert (data.train.shape, len(data.unused), len(data.val), len(data.test)) == ((80, 28, 28, 3), 1000, 120, 400)
    assert np.bincount(data.train_labels).tolist() == [16] * 5
    # Fundus photographs are reddish: a permutation of the channels would show.
    red, green, blue = data.unused.reshape(-1, 3).mean(axis=0)
    assert red > green > blue


def test_path_subset_comes_through_npz(real: Real) -> None:
    path = real("medmnist/pathmnist_subset.npz")
    data = load_data(DataConfig(name="npz", path=str(path)))
    assert (data.train.shape, data.val.shape) == ((1000, 28, 28, 3), (0, 28, 28, 3))
    assert (len(data.test), data.name, len(data.class_names)) == (718, "pathmnist_subset", 9)


def test_altered_medmnist_is_refused(real: Real, tmp_path: Path) -> None:
    content = bytearray(real("medmnist/retinamnist.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "retinamnist.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"retinamnist\.npz` is truncated or altered.*bd4c0672f1bba3e3a89f0e4e876791e4"):
        load_data(DataConfig(name="retinamnist", root=str(tmp_path), download=False))
