import json
import subprocess
import sys

import pytest

from qhybrid.config import build_config
from qhybrid.errors import RunDirectoryError
from qhybrid.files import atomic_path, read_jsonl, write_json
from qhybrid.rundir import RunDirectory


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "numbers.json"
    write_json(target, [1])
    with pytest.raises(UnicodeEncodeError), atomic_path(target) as temporary:
        temporary.write_text("half, then \udcff", encoding="utf-8")
    assert json.loads(target.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [target]


def test_directories_are_replaced_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("old", "new"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"kid": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_a_row_cut_short_by_a_crash_is_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_jsonl(path) == [{"step": 1}, {"step": 2}]
    assert read_jsonl(tmp_path / "none.jsonl") == []


def test_create_open_and_resume(tmp_path):
    config = build_config({"seed": 3})
    run = RunDirectory.create(tmp_path / "run", config)
    assert RunDirectory.open(run.path).config() == config
    assert json.loads(run.meta_file.read_text())["versions"]["torch"]
    with pytest.raises(RunDirectoryError, match=r"already holds a run.*--resume"):
        RunDirectory.create(run.path, config)
    RunDirectory.create(run.path, config, resume=True)
    with pytest.raises(RunDirectoryError, match="seed: 3 there, 4 here"):
        RunDirectory.create(run.path, build_config({"seed": 4}), resume=True)


def test_a_folder_whose_maker_was_killed_is_taken(tmp_path):
    code = f"""
import os
from pathlib import Path
from qhybrid.files import atomic_path
with atomic_path(Path({str(tmp_path / "run" / "config.yaml")!r})) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code])
    assert list((tmp_path / "run").iterdir())
    run = RunDirectory.create(tmp_path / "run", build_config({"name": "new"}))
    assert run.config().name == "new"


def test_foreign_and_unwritable_folders_are_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    with pytest.raises(RunDirectoryError, match="no run directory"):
        RunDirectory.create(tmp_path / "photos", build_config({}))
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        RunDirectory.open(tmp_path / "photos")
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match=r"cannot write.*choose another"):
        RunDirectory.create(tmp_path / "file" / "run", build_config({}))
