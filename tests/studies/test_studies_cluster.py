"""Studies on a Dask cluster that is there already: workers in folders of their own, killed, of other versions."""

import contextlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import yaml

from qhybrid.evaluation.features import feature_extractor
from qhybrid.studies import cluster, run
from qhybrid.studies.files import pack, unpack
from qhybrid.studies.plan import load_study
from qhybrid.studies.run import run_study

# `QHYBRID_STUDY=long` makes it 200 cells and kills in proportion.
SEEDS, WAYS, KILLS = (25, 4, 40) if os.environ.get("QHYBRID_STUDY") == "long" else (2, 2, 2)
STUDY = {
    "name": "light",
    "base": {
        "data": {"n_train": 40},
        "model": {"channels": [8, 8, 8], "time_dim": 8, "bottleneck": {"core": "se"}},
        "training": {
            "steps": 6,
            "batch_size": 8,
            "warmup_steps": 0,
            "checkpoint_every": 3,
            "device": "cpu",
            "threads": 1,
        },
        "sampling": {"images": 20, "steps": 2},
        "evaluation": {"kid_subsets": 2, "kid_subset_size": 10, "reliance": None},
    },
    "seeds": list(range(SEEDS)),
    "train": {"arm": {"none": {"model.bottleneck.core": "none"}, "se": {}}},
    "sample": {"steps": {str(steps): {"sampling.steps": steps} for steps in range(1, WAYS + 1)}},
    "reference": {"train": {"arm": "none"}},
}


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return path


class Site:
    """A scheduler and its workers, each a process with a home, working and temporary folder of its own."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.file = folder / "scheduler.json"
        self.nannies = []
        # Random kills hit one training more often than Dask allows by default.
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", self.file)
        while not self.file.exists():
            time.sleep(0.05)

    def _start(self, kind, *arguments, path=()):
        place = self.folder / f"{kind}-{len(self.nannies)}"
        place.mkdir()
        paths = os.pathsep.join([*map(str, path), *([found] if (found := os.environ.get("PYTHONPATH")) else [])])
        own = {"HOME": place, "TMPDIR": place, "PYTHONPATH": paths}
        own["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1000"
        environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
        with (place / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", kind, *map(str, arguments)],
                cwd=place,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.stack.callback(_end, process)
        return process

    def add_worker(self, path=()):
        arguments = ("--scheduler-file", self.file, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0")
        self.nannies.append(self._start("worker", *arguments, path=path))

    def kill_one(self, rng):
        """Kill a worker's process, which its nanny starts again; says whether there was one."""
        alive = [
            child
            for nanny in self.nannies
            for child in psutil.Process(nanny.pid).children()
            if "resource_tracker" not in " ".join(child.cmdline())
        ]
        if not alive:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            alive[rng.integers(len(alive))].kill()
        return True


def _end(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()


@pytest.fixture
def site(tmp_path):
    with contextlib.ExitStack() as stack:
        (tmp_path / "site").mkdir()
        yield Site(tmp_path / "site", stack)


def numbers(out):
    """Every number of a study but the time that it took."""
    result = json.loads((out / "study.json").read_text())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result["runs"]]


def test_workers_without_a_shared_disk_killed_at_random_give_the_numbers_of_one_process(
    study_file, site, tmp_path, cached, digits, rng, monkeypatch
):
    feature_extractor(digits)
    study = load_study(study_file)
    for _ in range(2):
        site.add_worker()
    killed, seen = 0, set()

    def with_kills(*arguments):
        nonlocal killed
        for running in real(*arguments):
            # Not before something runs, and never two in a row on the same picture of the cluster.
            picture = frozenset(running.items())
            if running and killed < KILLS and picture not in seen and site.kill_one(rng):
                killed += 1
            seen.add(picture)
            yield running

    real = run.on_cluster
    monkeypatch.setattr(run, "on_cluster", with_kills)
    # Files come home at every checkpoint and cell.
    monkeypatch.setattr(cluster, "SLICE_SECONDS", 0.0)
    said = []
    run_study(study, tmp_path / "there", scheduler=str(site.file), echo=said.append)
    assert killed == KILLS
    assert said[0].startswith("study on tcp://127.0.0.1:")
    run_study(study, tmp_path / "here", echo=said.append)
    rows = numbers(tmp_path / "there")
    assert len({(row["seed"], *row["levels"].values()) for row in rows}) == len(rows) == 2 * WAYS * SEEDS
    assert rows == numbers(tmp_path / "here")
    for images in (tmp_path / "here").rglob("images.npz"):
        other = tmp_path / "there" / images.relative_to(tmp_path / "here")
        with np.load(images) as one, np.load(other) as two:
            np.testing.assert_array_equal(one["images"], two["images"])


def test_a_worker_of_another_version_is_refused_with_both_versions(study_file, site, tmp_path, command):
    fake = tmp_path / "fake" / "diffusers-0.0.1.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: diffusers\nVersion: 0.0.1\n")
    site.add_worker(path=[tmp_path / "fake"])
    code, _, err = command("study", study_file, "--out", tmp_path / "out", "--scheduler", site.file)
    assert code == 2
    line = err.splitlines()[-1]
    assert "has diffusers 0.0.1, this study runs with" in line
    assert not list((tmp_path / "out").rglob("checkpoints"))


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:1", "nowhere.json", "carrier://pigeon:1"])
def test_a_scheduler_that_is_not_there_is_one_line(study_file, tmp_path, command, where):
    code, said, err = command("study", study_file, "--out", tmp_path / "out", "--scheduler", where)
    assert (code, said) == (2, "")
    assert len(err.splitlines()) == 1
    assert f"--scheduler {where}" in err
    assert not (tmp_path / "out").exists()


def test_a_scheduler_file_that_is_none_is_one_line(study_file, tmp_path, command):
    for content in ("", "{}", "[]", "\x00"):
        (tmp_path / "file.json").write_text(content)
        code, said, err = command("study", study_file, "--out", tmp_path / "out", "--scheduler", tmp_path / "file.json")
        assert (code, said, len(err.splitlines())) == (2, "", 1)
        assert str(tmp_path / "file.json") in err


def test_a_folder_travels_whole_without_the_mark_of_its_holder(tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"
    (home / "a" / "b").mkdir(parents=True)
    (home / "a" / "b" / "c").write_bytes(bytes(range(256)))
    (home / "old").write_text("old")
    (home / ".lock").touch()
    unpack(pack(home), away)
    assert pack(away) == {"a/b/c": bytes(range(256)), "old": b"old"}
    (away / "old").unlink()
    unpack(pack(away), home)
    assert pack(home) == {"a/b/c": bytes(range(256))}
    assert pack(tmp_path / "nowhere") == {}
