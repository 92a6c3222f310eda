"""The run directories under a folder, and what each of them holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from qhybrid.checkpoints.checkpoint import latest_checkpoint
from qhybrid.errors import QHybridError
from qhybrid.evaluation.record import read_judged
from qhybrid.report.device_files import read_device_files
from qhybrid.rundir import RunDirectory

_NOTHING = "-"


@dataclass(frozen=True)
class RunRow:
    """What a run directory holds, as words for a table.

    Attributes:
        run: Path of the directory.
        data: Name of the data set.
        core: Core of the bottleneck and its place.
        steps: Optimizer steps of the last checkpoint, and those that the configuration asks for.
        kid: KID of its images with its interval.
        class_accuracy: Class accuracy of its images with its interval.
        device: Device that it was planned for, and what came of it.
        report: Whether there is a report.
    """

    run: str
    data: str = _NOTHING
    core: str = _NOTHING
    steps: str = _NOTHING
    kid: str = _NOTHING
    class_accuracy: str = _NOTHING
    device: str = _NOTHING
    report: str = _NOTHING


def list_runs(folder: str | Path) -> list[RunRow]:
    """A row for each run directory in a folder and below it, by name; a damaged one says so in its row.

    Args:
        folder: Folder to be searched, or a run directory itself.
    """
    return [_row(RunDirectory(path)) for path in sorted(_run_directories(Path(folder)))]


def table_lines(rows: list[RunRow]) -> list[str]:
    """The rows in columns under their titles, for a terminal.

    Args:
        rows: Rows of the table.
    """
    titles = ("run", "data", "core", "steps", "KID", "class accuracy", "device", "report")
    lines = [titles, *(astuple(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(titles))]
    return ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _run_directories(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        if "config.yaml" in files:
            folders.clear()  # what lies in a run belongs to it
            yield Path(place)


def _row(run: RunDirectory) -> RunRow:
    try:
        config = run.config()
        bottleneck = config.model.bottleneck
        core = bottleneck.core.name if bottleneck.core.name == "none" else f"{bottleneck.core.name}, {bottleneck.place}"
        checkpoint = latest_checkpoint(run)
        steps = 0 if checkpoint is None else int(checkpoint.name.removeprefix("step-"))
        metrics = read_judged(run)["metrics"] if run.evaluation_file.exists() else {}
        return RunRow(
            str(run.path),
            config.data.name,
            core,
            f"{steps}/{config.training.steps}",
            _measure(metrics.get("kid")),
            _measure(metrics.get("class_accuracy")),
            _device(run),
            "yes" if run.report_file.exists() else _NOTHING,
        )
    except QHybridError as error:
        return RunRow(str(run.path), f"cannot be read: {error}")


def _measure(entry: dict[str, object] | None) -> str:
    if entry is None or entry["value"] is None:
        return _NOTHING
    interval = entry.get("interval")
    ends = "" if interval is None else " [{:.3g}, {:.3g}]".format(*interval)  # type: ignore[misc]
    return f"{entry['value']:.3g}{ends}"


def _device(run: RunDirectory) -> str:
    files = read_device_files(run)
    if files["plan"] is None:
        return _NOTHING
    done = "compared" if files["comparison"] else "run" if (run.hardware / "images.npz").exists() else "planned"
    return f"{files['plan']['backend']}, {done}"
