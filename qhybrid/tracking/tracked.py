"""The trackers of a run while a stage works.

All stages of a run, whenever they run, write into the same run of each tracker: `tracking/runs.json` says which. What
trackers are told stands in the run directory as well, so one that fails stops no stage.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qhybrid.config import RunConfig, TrackingConfig
from qhybrid.errors import TrackingError
from qhybrid.files import write_json
from qhybrid.processes import make_accelerator
from qhybrid.progress import notice
from qhybrid.rundir import RunDirectory
from qhybrid.stored import read_stored
from qhybrid.tracking.kinds import KINDS, Identity, TrackerKind, flat

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker


@dataclass(frozen=True)
class _TensorBoardRun:
    folder: str


@dataclass(frozen=True)
class _MLflowRun:
    run_id: str
    uri: str


@dataclass(frozen=True)
class _WandbRun:
    id: str


@dataclass(frozen=True)
class _Runs:
    """What is read of `tracking/runs.json`."""

    tensorboard: _TensorBoardRun | None = None
    mlflow: _MLflowRun | None = None
    wandb: _WandbRun | None = None


def check_trackers(tracking: TrackingConfig | None) -> None:
    """Refuse trackers that are not installed.

    Raises:
        TrackingError: Names them and the command that installs them.
    """
    names = [] if tracking is None else tracking.trackers
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise TrackingError(
            f"`tracking.trackers` names {' and '.join(missing)}, not installed here: pip install {' '.join(missing)}"
        )


class Tracking:
    """The open trackers of a run; without any, nothing happens.

    Args:
        trackers: accelerate's trackers, each with its kind.
    """

    def __init__(self, trackers: list[tuple[TrackerKind, GeneralTracker]]) -> None:
        self._trackers = trackers

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Numbers that belong to a training step; a mapping within becomes keys such as `gradient_norm/unet`."""
        self._tell(lambda kind, tracker: tracker.log(dict(flat(values, "/")), step=step))

    def picture(self, path: Path, step: int) -> None:
        """A PNG file."""
        self._tell(lambda kind, tracker: kind.picture(tracker, path, step))

    def document(self, path: Path) -> None:
        """A file as it is."""
        self._tell(lambda kind, tracker: kind.document(tracker, path))

    def close(self) -> None:
        """Let the trackers write what they have left."""
        self._tell(lambda kind, tracker: tracker.finish())

    def _tell(self, act: Callable[[TrackerKind, GeneralTracker], None]) -> None:
        for kind, tracker in list(self._trackers):
            try:
                act(kind, tracker)
            except kind.failures() as error:
                self._trackers.remove((kind, tracker))
                notice(f"{tracker.name} failed, the rest of this stage is not told to it: {_first_line(error)}")


@contextmanager
def tracked(run: RunDirectory, *, training_from: int | None = None) -> Iterator[Tracking]:
    """Open the trackers that a run names, with the runs that they have of it or with new ones.

    Args:
        run: The run directory; a folder of samples that is no run has no trackers.
        training_from: Step at which the training starts or is resumed; `None` for the stages after it.

    Raises:
        TrackingError: The training starts, and a tracker is not installed or cannot be opened. A later stage only says
            so and goes on.
        RunDirectoryError: `tracking/runs.json` is damaged.
    """
    config = run.config() if run.config_file.is_file() else None
    tracking = Tracking([])
    if config is not None and config.tracking is not None:
        try:
            check_trackers(config.tracking)
            tracking = Tracking(_opened(run, config, config.tracking, training_from))
        except TrackingError as error:
            if training_from is not None:
                raise
            notice(f"this stage is not tracked: {error}")
    try:
        yield tracking
    finally:
        tracking.close()


def _opened(
    run: RunDirectory, config: RunConfig, wanted: TrackingConfig, step: int | None
) -> list[tuple[TrackerKind, GeneralTracker]]:
    """The trackers, opened one by one so that an error can tell which.

    Raises:
        TrackingError: One cannot be opened; those before it are closed.
        RunDirectoryError: The record of their runs is damaged.
    """
    known = _known(run)
    opened: list[tuple[TrackerKind, GeneralTracker]] = []
    for name in wanted.trackers:
        kind = KINDS[name]
        try:
            tracker = _started(run, config, wanted, kind.options(run, known.get(name), step), name)
            if name not in known:
                kind.describe(tracker, config)
                known[name] = kind.identity(tracker)
        except kind.failures() as error:
            Tracking(opened).close()
            raise TrackingError(f"the tracker {name} cannot be opened: {_first_line(error)}") from None
        opened.append((kind, tracker))
    write_json(run.tracking_file, known)
    return opened


def _started(
    run: RunDirectory, config: RunConfig, wanted: TrackingConfig, options: dict[str, Any], name: str
) -> GeneralTracker:
    """One of accelerate's trackers."""
    from accelerate.utils import ProjectConfiguration

    training = config.training
    if training.device == "cuda" and not torch.cuda.is_available():
        # A run that was trained elsewhere; trackers need no device.
        training = training.model_copy(update={"device": "cpu"})
    folder = run.tracking_file.parent
    folder.mkdir(exist_ok=True)
    place = ProjectConfiguration(project_dir=str(run.path), logging_dir=str(folder))
    accelerator = make_accelerator(training, log_with=name, project_config=place)
    accelerator.init_trackers(wanted.project, init_kwargs={name: options})
    return accelerator.get_tracker(name)


def _known(run: RunDirectory) -> dict[str, Identity]:
    """The trackers' own runs, by name of the tracker."""
    if not run.tracking_file.exists():
        return {}
    return read_stored(run.tracking_file, _Runs, "remove it, and this run becomes a new one in its trackers")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
