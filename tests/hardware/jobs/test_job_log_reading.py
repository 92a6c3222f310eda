"""`jobs.jsonl` is read once, then only what is added to it."""

from pathlib import Path
from typing import Any

import pytest

from hardware.jobs.job_log import JobLog
from qhybrid.files import read_jsonl


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modes in which files were opened since."""
    modes: list[str] = []
    original = Path.open

    def counted(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        modes.append(mode)
        return original(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", counted)
    return modes


def fill(log: JobLog, count: int) -> None:
    for number in range(count):
        log.append("submitted", job=f"job-{number}", content=f"c{number}", plan="p", step=number, part=0, seconds=1.0)


def test_many_questions_read_the_file_once(tmp_path: Path, opened: list[str]) -> None:
    fill(JobLog(tmp_path / "jobs.jsonl"), 20)
    log = JobLog(tmp_path / "jobs.jsonl")
    opened.clear()
    for number in range(20):
        assert log.open_job(f"c{number}") == f"job-{number}"
        assert log.given_up(f"c{number}") == set()
    assert log.seconds_spent("p", local=False) == 20.0
    assert opened == ["rb"]


def test_what_another_process_adds_is_seen_and_equals_the_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    ours, theirs = JobLog(path), JobLog(path)
    fill(ours, 3)
    assert len(theirs.rows()) == 3
    theirs.append("done", job="job-1", content="c1", plan="p", step=1, part=0, charged=0.5, file="f")
    assert ours.open_job("c1") is None
    assert ours.rows() == theirs.rows() == read_jsonl(path)


def test_half_a_line_is_no_event_until_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    log = JobLog(path)
    fill(log, 2)
    with path.open("ab") as file:
        # Longer than a block of the search for the last whole line.
        file.write(b'{"event": "done", "job": "' + b"x" * 200_000)
    assert len(log.rows()) == 2
    log.append("done", job="job-0", content="c0", plan="p", step=0, part=0, file="f")
    assert [row["event"] for row in log.rows()] == ["submitted", "submitted", "done"]
    assert log.rows() == JobLog(path).rows() == read_jsonl(path)


def test_a_file_in_its_place_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    log = JobLog(path)
    fill(log, 5)
    assert len(log.rows()) == 5
    path.unlink()
    assert log.rows() == []
    fill(log, 1)
    assert [row["job"] for row in log.rows()] == ["job-0"]
