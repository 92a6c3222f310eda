"""Files: whole or absent, on a full disk as well; read without trust."""

import json
import os
import resource
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qhybrid.errors import RunDirectoryError
from qhybrid.files import (
    DamagedFileError,
    MissingArrayError,
    append_line,
    atomic_path,
    read_json,
    read_jsonl,
    read_npz,
    sha256_of,
    write_text,
)


@pytest.fixture
def full_disk():
    """Files may not grow beyond a kilobyte, as on a disk with no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        # safetensors makes its files private.
        with atomic_path(tmp_path / "folder") as folder:
            folder.mkdir()
            save_file({"x": torch.zeros(2)}, folder / "weights.safetensors")
        write_text(tmp_path / "text.txt", "x")
    finally:
        os.umask(before)
    for name in ("folder/weights.safetensors", "text.txt"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path, full_disk):
    target, log = tmp_path / "numbers.json", tmp_path / "log.jsonl"
    write_text(target, "old")
    append_line(log, json.dumps({"row": 1}))
    for write in (
        lambda: write_text(target, "x" * 5000),
        lambda: append_line(log, json.dumps({"row": "x" * 5000})),
    ):
        with pytest.raises(RunDirectoryError, match="File too large; what was written before is kept") as caught:
            write()
        assert "\n" not in str(caught.value)
    assert target.read_text() == "old"
    assert read_jsonl(log) == [{"row": 1}]
    assert sorted(tmp_path.iterdir()) == [log, target]
    append_line(log, json.dumps({"row": 2}))
    assert log.read_text() == '{"row": 1}\n{"row": 2}\n'


def test_other_errors_of_the_body_pass(tmp_path):
    with pytest.raises(ConnectionResetError), atomic_path(tmp_path / "x"):
        raise ConnectionResetError


def test_half_a_line_is_dropped_before_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"row": 1}\n{"ro')
    append_line(path, '{"row": 2}')
    assert read_jsonl(path) == [{"row": 1}, {"row": 2}]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"row": 1}\n{"ro\n{"row": 3}\n')
    with pytest.raises(RunDirectoryError, match="damaged in line 2"):
        read_jsonl(path)


def test_deeply_nested_json_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text(100_000 * "[")
    with pytest.raises(RunDirectoryError, match="cannot be read as JSON"):
        read_json(path)


def lzma_member(path, damage):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        content = np.lib.format.magic(1, 0)
        array = np.arange(1000, dtype=np.uint8)
        plain = path.with_suffix(".npy")
        np.save(plain, array)
        content = plain.read_bytes()
        archive.writestr("x.npy", content)
    if damage:
        content = bytearray(path.read_bytes())
        content[60:90] = bytes(30)
        path.write_bytes(content)


def test_members_of_every_compression_are_read(tmp_path):
    path = tmp_path / "x.npz"
    lzma_member(path, damage=False)
    np.testing.assert_array_equal(read_npz(path, ["x"])["x"], np.arange(1000, dtype=np.uint8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"  <html>", "web page"),
        (b"PK\x03\x04 and then nothing", "truncated zip"),
        (b"\x93NUMPY\x01\x00", "single array"),
        (b"{}", "no zip archive"),
        (None, "Corrupt|Invalid|LZMA|Bad"),
    ],
)
def test_foreign_and_damaged_archives_say_what_they_are(tmp_path, content, reason):
    path = tmp_path / "x.npz"
    if content is None:
        lzma_member(path, damage=True)
    else:
        path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=reason):
        read_npz(path, ["x"])


def test_members_that_are_missing_or_no_arrays_are_named(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, y=np.zeros(3))
    with pytest.raises(MissingArrayError, match="lacks `x`; it holds y"):
        read_npz(path, ["x"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"no array at all")
    with pytest.raises(DamagedFileError):
        read_npz(path, ["x"])
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(DamagedFileError, match="allow_pickle"):
        read_npz(path, ["x"])


def test_sums_are_those_of_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    expected = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert sha256_of(path) == expected


def test_the_sum_of_a_folder_knows_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1").write_bytes(b"x")
    first = sha256_of(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert sha256_of(tmp_path) == first
    (tmp_path / "a" / "1").rename(tmp_path / "a" / "2")
    assert sha256_of(tmp_path) != first
    (tmp_path / "a" / "2").rename(tmp_path / "a" / "1")
    (tmp_path / "a" / "1").write_bytes(b"y")
    assert sha256_of(tmp_path) != first


def test_files_and_locks_import_where_there_is_no_fcntl():
    code = (
        "import sys; sys.modules['fcntl'] = None; import qhybrid.locks, qhybrid.diffusion.bank, qhybrid.commands.main"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
