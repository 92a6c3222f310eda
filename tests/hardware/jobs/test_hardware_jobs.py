"""Lines of jobs, their names and stored results."""

from pathlib import Path

import numpy as np
import pytest

from hardware.errors import HardwareError
from hardware.jobs.job_log import JobLog, ResultStore, Work, job_tags, make_work, run_id
from hardware.placement.transpilation import Program, transpile
from hardware.primitives.execution import Expectations
from hardware.service.backends import open_backend
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.rundir import RunDirectory

SPEC = build_spec("ry_rz_ladder", 2, 1)
SETTINGS = {"backend": "fake_manila", "level": 0, "shots": 100}

PLACE = {"plan": "p", "step": 0, "part": 0, "seconds": 1.0, "file": "f"}


def program(weight: float = 0.0) -> Program:
    backend = open_backend("fake_manila")
    return transpile(SPEC, backend).program(SPEC, np.full(4, weight), backend)


def test_a_job_is_named_by_everything_that_decides_its_result() -> None:
    angles = np.zeros((2, 2))
    base = make_work(program(), 3, 0, angles, SETTINGS)
    assert make_work(program(), 3, 0, angles.copy(), SETTINGS).content == base.content
    others = [
        make_work(program(0.1), 3, 0, angles, SETTINGS),
        make_work(program(), 4, 0, angles, SETTINGS),
        make_work(program(), 3, 1, angles, SETTINGS),
        make_work(program(), 3, 0, angles + 1e-9, SETTINGS),
        make_work(program(), 3, 0, angles, {**SETTINGS, "shots": 101}),
    ]
    assert len({base.content, *(other.content for other in others)}) == 6
    assert len({base.seed, *(other.seed for other in others)}) == 6


def test_tags_name_run_step_and_content(run: RunDirectory, make_run) -> None:  # type: ignore[no-untyped-def]
    work = make_work(program(), 3, 0, np.zeros((2, 2)), SETTINGS)
    tags = job_tags(run_id(run), work)
    assert tags == ["qhybrid", f"run:{run_id(run)}", "step:3", f"content:{work.content[:16]}"]
    # Of one configuration and made within a second, yet each has its own jobs.
    assert run_id(make_run("other", qubits=2)) != run_id(make_run("third", qubits=2))


def test_a_line_after_half_a_line_is_not_lost(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "jobs.jsonl")
    log.append("submitted", job="a", content="1", **PLACE)
    with log.path.open("a") as file:
        file.write('{"event": "subm')
    log.append("submitted", job="b", content="2", **PLACE)
    assert [row["job"] for row in log.rows()] == ["a", "b"]


def test_an_open_job_is_one_that_is_neither_done_nor_failed(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "jobs.jsonl")
    assert log.open_job("1") is None
    log.append("submitted", job="a", content="1", **PLACE)
    assert log.open_job("1") == "a"
    assert log.open_job("2") is None
    log.append("failed", job="a", content="1", **PLACE)
    assert log.open_job("1") is None
    log.append("submitted", job="b", content="1", **PLACE)
    assert log.open_job("1") == "b"
    log.append("done", job="b", content="1", **PLACE)
    assert log.open_job("1") is None


def test_results_are_the_last_of_each_step_of_the_plan(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "jobs.jsonl")
    for event, plan, step, file in [
        ("done", "p", 2, "two"),
        ("done", "p", 0, "zero"),
        ("done", "q", 1, "foreign"),
        ("failed", "p", 3, "failed"),
        ("reused", "p", 2, "again"),
    ]:
        log.append(event, job="j", content="c", plan=plan, step=step, part=0, file=file)
    assert [row["file"] for row in log.results("p")] == ["zero", "again"]


def test_results_are_stored_and_read_back(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    work = Work(1, 0, np.ones((2, 3)), "c" * 64, 5)
    assert store.load(work) is None
    result = Expectations(np.full((2, 2), 0.5), np.full((2, 2), 0.1))
    store.save(work, result, {"job": "a"})
    again = store.load(work)
    assert again is not None
    np.testing.assert_array_equal(again.values, result.values)
    np.testing.assert_array_equal(again.errors, result.errors)


def test_a_result_of_other_angles_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    work = Work(1, 0, np.ones((2, 3)), "c" * 64, 5)
    path = store.save(work, Expectations(np.zeros((2, 2)), np.zeros((2, 2))), {})
    with pytest.raises(HardwareError, match="another job"):
        store.load(Work(1, 0, np.zeros((2, 3)), "c" * 64, 5))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HardwareError, match="cannot be read"):
        store.load(work)
