"""Small files in MedMNIST's and MNIST's formats, and where the real ones may lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from data_helpers import Arrays, compress, idx_bytes, md5

from qhybrid.data import idx

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _loopback_without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def real() -> Callable[[str], Path]:
    """Path of a real file, or skip."""

    def locate(place: str) -> Path:
        path = REAL_DATA / place
        if not path.exists():
            pytest.skip(f"real data set absent: {path}")
        return path

    return locate


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def arrays(rng: np.random.Generator) -> Arrays:
    """Thirty grey images of 12x12 in three classes of unlike size, as MedMNIST stores them."""
    labels = np.repeat([0, 1, 2], [4, 10, 16]).astype(np.uint8)[:, None]
    return {
        "train_images": rng.integers(0, 256, (30, 12, 12), dtype=np.uint8),
        "train_labels": rng.permutation(labels),
        "val_images": rng.integers(0, 256, (6, 12, 12), dtype=np.uint8),
        "val_labels": np.array([[0], [1], [2], [0], [1], [2]], dtype=np.uint8),
        "test_images": rng.integers(0, 256, (9, 12, 12), dtype=np.uint8),
        "test_labels": np.arange(9, dtype=np.uint8)[:, None] % 3,
    }


@pytest.fixture
def write_npz(tmp_path: Path) -> Callable[[Arrays], Path]:
    def write(content: Arrays) -> Path:
        path = tmp_path / "tiny.npz"
        np.savez_compressed(path, **content)
        return path

    return write


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> dict[str, bytes]:
    """Registers a miniature of `mnist`; gives the content of its plain files by name."""
    files = {
        "train-images-idx3-ubyte": idx_bytes(rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)),
        "train-labels-idx1-ubyte": idx_bytes(np.arange(20, dtype=np.uint8) % 10),
        "t10k-images-idx3-ubyte": idx_bytes(rng.integers(0, 256, (10, 8, 8), dtype=np.uint8)),
        "t10k-labels-idx1-ubyte": idx_bytes(np.arange(10, dtype=np.uint8)),
    }
    sums = {name: (md5(compress(content)), md5(content)) for name, content in files.items()}
    names = tuple(str(digit) for digit in range(10))
    source = idx.IdxSet(folder="MNIST/raw", url="http://127.0.0.1:9/", md5=sums, class_names=names)
    monkeypatch.setitem(idx.IDX_SETS, "mnist", source)
    return files


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the loopback address that serves it."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()
