"""npz and idx files: layouts, damage, download from a loopback server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import Arrays, compress, idx_bytes, md5

from qhybrid.config import DataConfig
from qhybrid.data import ImageData, load_data
from qhybrid.data import medmnist as medmnist_module
from qhybrid.data.download import RemoteFile, data_root, obtain
from qhybrid.data.idx import IDX_SETS, read_idx
from qhybrid.data.medmnist import medmnist_info, medmnist_names, remote_file
from qhybrid.errors import DataError

WriteNpz = Callable[[Arrays], Path]


def load(path: Path, **settings: Any) -> ImageData:
    return load_data(DataConfig(name="npz", path=str(path), **settings))


# npz


def test_npz_in_medmnist_layout(arrays: Arrays, write_npz: WriteNpz) -> None:
    data = load(write_npz(arrays | {"train_index": np.arange(30)}))
    assert (data.name, data.class_names) == ("tiny", ("0", "1", "2"))
    np.testing.assert_array_equal(data.train[..., 0], arrays["train_images"])
    np.testing.assert_array_equal(data.train_labels, arrays["train_labels"][:, 0])
    np.testing.assert_array_equal(data.val[..., 0], arrays["val_images"])
    np.testing.assert_array_equal(data.test_labels, arrays["test_labels"][:, 0])


def test_npz_may_lack_the_validation_split(arrays: Arrays, write_npz: WriteNpz) -> None:
    data = load(write_npz({key: array for key, array in arrays.items() if not key.startswith("val")}))
    assert data.val.shape == (0, 12, 12, 1)
    assert data.val_labels.shape == (0,)


@pytest.mark.parametrize("key", ["train_images", "train_labels", "test_images", "test_labels", "val_labels"])
def test_npz_without_a_key_names_it_and_what_there_is(arrays: Arrays, write_npz: WriteNpz, key: str) -> None:
    del arrays[key]
    with pytest.raises(DataError, match=rf"tiny\.npz` lacks `{key}`; needed are .* it holds .*test_"):
        load(write_npz(arrays))


def test_npz_of_objects_is_not_unpickled(arrays: Arrays, write_npz: WriteNpz) -> None:
    with pytest.raises(DataError, match=r"tiny\.npz` is damaged or no npz file of plain arrays .*allow_pickle"):
        load(write_npz(arrays | {"train_labels": np.array([[{}]] * 30, dtype=object)}))


def test_text_labels_are_refused(arrays: Arrays, write_npz: WriteNpz) -> None:
    with pytest.raises(DataError, match="train labels are <U3"):
        load(write_npz(arrays | {"train_labels": np.array(["cat"] * 30)}))


def damage(content: bytes, how: str) -> bytes:
    if how == "truncated":
        return content[: len(content) * 2 // 3]
    if how == "altered":
        middle = len(content) // 3
        return content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :]
    return b"" if how == "empty" else b"<html>not found</html>"


@pytest.mark.parametrize("how", ["truncated", "altered", "empty", "foreign"])
def test_damaged_npz_is_refused_with_its_path(arrays: Arrays, write_npz: WriteNpz, how: str) -> None:
    path = write_npz(arrays)
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(DataError, match=r"tiny\.npz` is damaged") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_single_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "one.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        load(tmp_path / "one.npz")


def test_npz_path_is_also_looked_for_in_the_data_folder(arrays: Arrays, write_npz: WriteNpz) -> None:
    path = write_npz(arrays)
    assert len(load_data(DataConfig(name="npz", path="tiny.npz", root=str(path.parent))).train) == 30
    with pytest.raises(DataError, match=rf"`other\.npz` and `{path.parent}/other\.npz`"):
        load_data(DataConfig(name="npz", path="other.npz", root=str(path.parent)))


def test_npz_of_another_size_than_asked_for(arrays: Arrays, write_npz: WriteNpz) -> None:
    with pytest.raises(DataError, match=r"data\.size: 28`: the images of .* are 12x12"):
        load(write_npz(arrays), size=28)


# MedMNIST


def test_info_equals_that_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # the package makes ~/.medmnist when it is imported
    import importlib.util
    import runpy

    package = importlib.util.find_spec("medmnist")
    assert package is not None
    assert package.origin is not None
    assert medmnist_info() == runpy.run_path(str(Path(package.origin).with_name("info.py")))["INFO"]


def test_every_flat_set_has_four_sizes() -> None:
    files = [remote_file(name, size) for name in medmnist_names() for size in (28, 64, 128, 224)]
    assert len(files) == 12 * 4
    assert len({file.places[0][1] for file in files}) == 48
    assert all(file.url.split("?")[0].endswith(file.places[1][0]) for file in files)
    assert remote_file("pathmnist", 64).places[0][0] == "medmnist/pathmnist_64.npz"


@pytest.fixture
def tiny_medmnist(
    arrays: Arrays, write_npz: WriteNpz, monkeypatch: pytest.MonkeyPatch, web: tuple[Path, str]
) -> tuple[bytes, Path]:
    """A miniature `bloodmnist` at 64, published on the loopback server; gives its content and the server's file."""
    content = write_npz(arrays).read_bytes()
    folder, address = web
    info = medmnist_info()
    entry = info["bloodmnist"] | {"url_64": f"{address}bloodmnist_64.npz", "MD5_64": md5(content)}
    monkeypatch.setattr(medmnist_module, "medmnist_info", lambda: info | {"bloodmnist": entry})
    (folder / "bloodmnist_64.npz").write_bytes(content)
    return content, folder / "bloodmnist_64.npz"


def blood(root: Path, **settings: Any) -> ImageData:
    return load_data(DataConfig(name="bloodmnist", size=64, root=str(root), **settings))


@pytest.mark.parametrize("place", ["bloodmnist_64.npz", "medmnist/bloodmnist_64.npz"])
def test_medmnist_file_is_found_in_either_place(tiny_medmnist: tuple[bytes, Path], tmp_path: Path, place: str) -> None:
    path = tmp_path / "root" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(tiny_medmnist[0])
    data = blood(tmp_path / "root", download=False)
    assert len(data.train) == 30
    assert data.class_names[2] == "erythroblast"


def test_medmnist_is_downloaded_once(
    tiny_medmnist: tuple[bytes, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, published = tiny_medmnist
    first = blood(tmp_path / "root")
    assert (tmp_path / "root/medmnist/bloodmnist_64.npz").read_bytes() == content
    assert "100%" in capsys.readouterr().err
    published.unlink()
    assert blood(tmp_path / "root").checksum == first.checksum


@pytest.mark.parametrize("how", ["truncated", "altered"])
def test_existing_altered_file_is_refused_with_both_sums(
    tiny_medmnist: tuple[bytes, Path], tmp_path: Path, how: str
) -> None:
    content, _ = tiny_medmnist
    path = tmp_path / "bloodmnist_64.npz"
    path.write_bytes(damage(content, how))
    with pytest.raises(DataError) as caught:
        blood(tmp_path)
    for part in (str(path), md5(content), md5(path.read_bytes())):
        assert part in str(caught.value)


def test_altered_download_is_refused_and_not_kept(tiny_medmnist: tuple[bytes, Path], tmp_path: Path) -> None:
    content, published = tiny_medmnist
    published.write_bytes(damage(content, "altered"))
    with pytest.raises(DataError, match="does not match") as caught:
        blood(tmp_path / "root")
    for part in (str(tmp_path / "root/medmnist/bloodmnist_64.npz"), md5(content), md5(published.read_bytes())):
        assert part in str(caught.value)
    assert not [path for path in (tmp_path / "root").rglob("*") if path.is_file()]


def test_missing_file_without_download(tiny_medmnist: tuple[bytes, Path], tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"medmnist/bloodmnist_64\.npz` is missing and `data.download` is false"
    ) as caught:
        blood(tmp_path / "root", download=False)
    assert "http://127.0.0.1" in str(caught.value)
    assert "--data-root" in str(caught.value)
    assert not (tmp_path / "root").exists()


def test_server_without_the_file(tiny_medmnist: tuple[bytes, Path], tmp_path: Path) -> None:
    tiny_medmnist[1].unlink()
    with pytest.raises(DataError, match=r"cannot download http.*bloodmnist_64\.npz` *: 404") as caught:
        blood(tmp_path / "root")
    assert "\n" not in str(caught.value)


def test_no_connection(tmp_path: Path) -> None:
    file = RemoteFile("http://127.0.0.1:9/a.npz", (("a.npz", "0" * 32),))
    with pytest.raises(DataError, match=r"cannot download http://127\.0\.0\.1:9/a\.npz to .*a\.npz`.*--data-root"):
        obtain(file, tmp_path, download=True)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    file = RemoteFile("http://127.0.0.1:9/a.npz", (("a.npz", "0" * 32),))
    with pytest.raises(DataError, match="cannot download"):
        obtain(file, tmp_path / "file", download=True)


def test_data_root_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QHYBRID_DATA", "/from/environment")
    assert data_root("/given") == Path("/given")
    assert data_root(None) == Path("/from/environment")
    monkeypatch.delenv("QHYBRID_DATA")
    assert data_root(None).name == "qhybrid"


# idx


@pytest.mark.parametrize("folder", ["MNIST/raw", "mnist/MNIST/raw"])
@pytest.mark.parametrize("compressed", [True, False])
def test_idx_layouts(tiny_mnist: dict[str, bytes], tmp_path: Path, folder: str, compressed: bool) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for name, content in tiny_mnist.items():
        path = tmp_path / folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(compress(content) if compressed else content)
    data = load_data(DataConfig(name="mnist", root=str(tmp_path), download=False))
    assert data.train.tobytes() == tiny_mnist["train-images-idx3-ubyte"][16:]
    assert data.train.shape == (20, 8, 8, 1)
    assert data.test_labels.tolist() == list(range(10))
    assert data.val.shape == (0, 8, 8, 1)


@pytest.mark.parametrize("compressed", [True, False])
def test_altered_idx_file_is_refused(tiny_mnist: dict[str, bytes], tmp_path: Path, compressed: bool) -> None:
    name, content = "train-images-idx3-ubyte", tiny_mnist["train-images-idx3-ubyte"]
    path = tmp_path / "MNIST/raw" / (f"{name}.gz" if compressed else name)
    path.parent.mkdir(parents=True)
    path.write_bytes(damage(compress(content) if compressed else content, "altered"))
    with pytest.raises(DataError) as caught:
        load_data(DataConfig(name="mnist", root=str(tmp_path)))
    for part in (str(path), IDX_SETS["mnist"].md5[name][0 if compressed else 1], md5(path.read_bytes())):
        assert part in str(caught.value)


def test_missing_idx_file_names_path_and_address(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"FashionMNIST/raw/train-images-idx3-ubyte\.gz` is missing .* put http"):
        load_data(DataConfig(name="fashion_mnist", root=str(tmp_path), download=False))


def test_idx_sets_have_one_size() -> None:
    with pytest.raises(DataError, match="28x28"):
        load_data(DataConfig(name="mnist", size=64))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes(np.zeros((2, 4, 4), np.uint8))[:-1], "its header says 32 values, it holds 31"),
        (idx_bytes(np.zeros((2, 4, 4), np.uint8)) + b"x", "it holds 33"),
        (idx_bytes(np.zeros(7, np.uint8)), "starts with 00000801, expected 00000803"),
        (b"\0\0\x08\x03\0\0", "starts with 00000803"),
        (b"", "starts with nothing"),
    ],
)
def test_malformed_idx(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(path, 3)


@pytest.mark.parametrize("content", [b"plain", compress(b"x" * 500)[:-9]])
def test_malformed_gzip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"images\.gz` cannot be read"):
        read_idx(path, 3)
