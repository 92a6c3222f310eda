"""Data sets: npz and idx files, image files, folders of them."""

from __future__ import annotations

import gzip
import io
import shutil
import struct

import numpy as np
import pytest
from fuzzing import damaged, inputs, survives
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qhybrid.config import DataConfig
from qhybrid.data import load_data, to_tensor
from qhybrid.data.idx import read_idx

DTYPES = ["u1", "i8", "f4", "f8", "c16", "b1", "U3", "S3", "M8[s]", ">u2", "V4"]
SHAPES = [
    (0,),
    (),
    (12,),
    (12, 1),
    (12, 3),
    (12, 8, 8),
    (12, 8, 8, 1),
    (12, 8, 8, 3),
    (12, 8, 8, 2),
    (12, 6, 6),
    (0, 8, 8),
]
SHAPES += [(12, 8, 8, 1, 1), (3, 8, 8), (12, 0, 0), (12, 4, 8)]


def archive(arrays: dict[str, np.ndarray], compressed: bool) -> bytes:
    content = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(content, **arrays)
    return content.getvalue()


def valid() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "test", "val"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 3, (12, 1))
    return arrays


@inputs(700, 60)
@given(data=st.data(), compressed=st.booleans())
def test_npz_bytes(data, compressed, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "bytes.npz"
    path.write_bytes(data.draw(damaged(archive(valid(), compressed))))
    survives("npz bytes", lambda: load_data(DataConfig(name="npz", path=str(path))))


@inputs(500, 50)
@given(data=st.data())
def test_npz_arrays(data, tmp_path_factory):
    arrays = valid()
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from(sorted(valid())))
        dtype, shape = data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from(SHAPES))
        fill = data.draw(st.sampled_from([0, 1, 2, 5, 255]))
        arrays[name] = np.full(shape, fill).astype(dtype) if dtype != "V4" else np.zeros(shape, "V4")
        if dtype in ("i8", "f8"):
            arrays[name] = arrays[name] * data.draw(st.sampled_from([1, -1, 2**40]))
        if data.draw(st.integers(0, 5)) == 0:
            del arrays[name]
    path = tmp_path_factory.getbasetemp() / "arrays.npz"
    path.write_bytes(archive(arrays, False))
    config = DataConfig(
        name="npz",
        path=str(path),
        classes=data.draw(st.sampled_from([None, [0], [0, 2], [7], [2**62], [-1]])),
        n_train=data.draw(st.sampled_from([None, 1, 5, 10**9])),
        size=data.draw(st.sampled_from([None, None, 28])),
    )
    survives("npz arrays", lambda: to_tensor(load_data(config).train))


@inputs(500, 60)
@given(data=st.data(), zipped=st.booleans())
def test_idx(data, zipped, tmp_path_factory):
    lengths = data.draw(
        st.sampled_from([(3, 4, 4), (0, 4, 4), (2**32 - 1, 2**32 - 1, 2**32 - 1), (0, 2**32 - 1, 2**32 - 1)])
    )
    content = struct.pack(">BBBBIII", 0, 0, 8, 3, *lengths) + bytes(48 if lengths == (3, 4, 4) else 0)
    content = data.draw(damaged(content) | st.just(content))
    if zipped:
        content = data.draw(damaged(gzip.compress(content)) | st.just(gzip.compress(content)))
    path = tmp_path_factory.getbasetemp() / ("file.gz" if zipped else "file")
    path.write_bytes(content)
    survives("idx", lambda: read_idx(path, 3))


MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F", "LA"]
FORMATS = {"PNG": "png", "JPEG": "jpg", "TIFF": "tif", "GIF": "gif", "BMP": "bmp"}


def picture(mode: str, kind: str, size: tuple[int, int]) -> bytes | None:
    content = io.BytesIO()
    try:
        Image.new(mode, size).save(content, kind)
    except (OSError, KeyError, ValueError, SystemError):
        return None
    return content.getvalue()


PICTURES = {
    (mode, kind): content for mode in MODES for kind in FORMATS if (content := picture(mode, kind, (8, 8))) is not None
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for name in ("a", "b"):
        (root / name).mkdir()
        for index in range(3):
            (root / name / f"{index}.png").write_bytes(PICTURES["L", "PNG"])
    return root


@inputs(500, 60)
@given(data=st.data())
def test_images(data, pictures):
    (_, kind), content = data.draw(st.sampled_from(sorted(PICTURES.items())))
    if data.draw(st.integers(0, 3)):
        content = data.draw(damaged(content))
    file = pictures / "a" / f"z.{FORMATS[kind]}"
    file.write_bytes(content)
    options = {"resize": data.draw(st.sampled_from([None, 4, 8])), "channels": data.draw(st.sampled_from([1, 3]))}
    config = DataConfig.model_validate({"name": "folder", "path": str(pictures), **options})
    try:
        survives("image", lambda: load_data(config))
    finally:
        file.unlink()


NAMES = ["a", "b", "train", "test", "val", ".hidden", "Thumbs.db", "10", "9", "é", "x\n", "a b", "desktop.ini"]


@inputs(200, 15)
@given(data=st.data())
def test_folders(data, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "folder"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for _ in range(data.draw(st.integers(0, 8))):
        parts = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4))
        path = root.joinpath(*parts)
        how = data.draw(st.sampled_from(["image", "image", "image", "folder", "link", "text"]))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if how == "folder":
                path.mkdir(exist_ok=True)
            elif how == "link":
                path.symlink_to(data.draw(st.sampled_from(["nowhere", "."])))
            else:
                path.write_bytes(PICTURES["L", "PNG"] if how == "image" else b"x")
        except OSError:
            continue
    shares = {
        "val_share": data.draw(st.sampled_from([0.0, 0.1, 0.9])),
        "test_share": data.draw(st.sampled_from([0.1, 0.9])),
    }
    config = DataConfig.model_validate({"name": "folder", "path": str(root), **shares})
    survives("folder", lambda: load_data(config))


def test_what_is_damaged_was_whole(tmp_path, pictures):
    (tmp_path / "whole.npz").write_bytes(archive(valid(), True))
    assert len(load_data(DataConfig(name="npz", path=str(tmp_path / "whole.npz"))).train) == 12
    assert len(load_data(DataConfig(name="folder", path=str(pictures))).train) > 1
