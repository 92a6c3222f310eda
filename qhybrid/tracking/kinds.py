"""What TensorBoard, MLflow and Weights & Biases do each in its own way, beside what accelerate does for all."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import RunConfig, dump_config
from qhybrid.rundir import RunDirectory

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

Identity = dict[str, str]
"""How a tracker's own run is found again, as `tracking/runs.json` keeps it."""


class TrackerKind(ABC):
    """One kind of tracker; `tracker` is accelerate's object, started."""

    @abstractmethod
    def options(self, run: RunDirectory, known: Identity | None, step: int | None) -> dict[str, Any]:
        """Arguments that begin a run in the tracker, or go on with it.

        Args:
            run: The run directory.
            known: The tracker's own run, if it has begun.
            step: Last step that is kept, of a training that is resumed.
        """

    @abstractmethod
    def identity(self, tracker: GeneralTracker) -> Identity:
        """How the tracker's own run is found again."""

    def describe(self, tracker: GeneralTracker, config: RunConfig) -> None:
        """Tell the configuration."""
        values = flat(config.model_dump(), ".")
        plain = {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in values}
        tracker.store_init_configuration(plain)

    @abstractmethod
    def picture(self, tracker: Any, path: Path, step: int) -> None:
        """Show a PNG file under its name.

        Args:
            tracker: Object of accelerate, started.
            path: The PNG file.
            step: Training step of the model that made the images.
        """

    @abstractmethod
    def document(self, tracker: Any, path: Path) -> None:
        """Keep a file."""

    def failures(self) -> tuple[type[Exception], ...]:
        """What it raises that is no fault of this program: its own errors, the network's and the disk's."""
        return (OSError,)


class TensorBoard(TrackerKind):
    """Event files in the run directory."""

    def options(self, run: RunDirectory, known: Identity | None, step: int | None) -> dict[str, Any]:
        """Have the reader drop what was told of steps after `step`, which are taken again.

        Args:
            run: The run directory.
            known: The tracker's own run, if it has begun.
            step: Last step that is kept, of a training that is resumed.
        """
        return {"purge_step": step + 1} if known is not None and step is not None else {}

    def identity(self, tracker: Any) -> Identity:
        """The folder of its event files."""
        return {"folder": str(tracker.logging_dir)}

    def describe(self, tracker: GeneralTracker, config: RunConfig) -> None:
        """Tell the configuration as a text: TensorBoard's own table of keys would be a further run at each start."""
        tracker.log({"config": f"```\n{dump_config(config)}\n```"})

    def picture(self, tracker: Any, path: Path, step: int) -> None:
        """Show a PNG file as the one image of the batch that TensorBoard takes.

        Args:
            tracker: Object of accelerate, started.
            path: The PNG file.
            step: Training step of the model that made the images.
        """
        tracker.log_images({path.stem: _pixels(path)[None]}, step=step, dataformats="NHWC")

    def document(self, tracker: Any, path: Path) -> None:
        """Tell TensorBoard, which keeps no files, where this one lies."""
        tracker.log({path.name: f"`{path.resolve()}`"})


class MLflow(TrackerKind):
    """A run at the server, or in the data base, that `MLFLOW_TRACKING_URI` names."""

    def options(self, run: RunDirectory, known: Identity | None, step: int | None) -> dict[str, Any]:
        """Look for the known run where it was begun, unless the environment names another place.

        Args:
            run: The run directory.
            known: The tracker's own run, if it has begun.
            step: Last step that is kept, of a training that is resumed.
        """
        import mlflow

        if known is None:
            return {"run_name": run.path.name}
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(known["uri"])
        return {"run_id": known["run_id"]}

    def identity(self, tracker: Any) -> Identity:
        """MLflow's id of the run and the address of its server; a password in the address stays in the environment."""
        import mlflow

        uri = mlflow.get_tracking_uri()
        secret = urlsplit(uri).netloc.rpartition("@")[0]
        return {"run_id": tracker.tracker.info.run_id, "uri": uri.replace(f"{secret}@", "") if secret else uri}

    def picture(self, tracker: Any, path: Path, step: int) -> None:
        """Keep a PNG file as an artefact, which MLflow's page shows.

        Args:
            tracker: Object of accelerate, started.
            path: The PNG file.
            step: Training step of the model that made the images.
        """
        tracker.log_artifact(str(path))

    def document(self, tracker: Any, path: Path) -> None:
        """Keep a file as an artefact of the run."""
        tracker.log_artifact(str(path))

    def failures(self) -> tuple[type[Exception], ...]:
        """MLflow's own errors, which stand for those of its data base and server, and the disk's."""
        from mlflow.exceptions import MlflowException

        return (MlflowException, OSError)


class WeightsAndBiases(TrackerKind):
    """A run of the project; with `WANDB_MODE=offline` it stays in the run directory until `wandb sync`."""

    def options(self, run: RunDirectory, known: Identity | None, step: int | None) -> dict[str, Any]:
        """Give the run at Weights & Biases the id that the run directory has.

        Args:
            run: The run directory.
            known: The tracker's own run, if it has begun.
            step: Last step that is kept, of a training that is resumed.
        """
        identity = run.meta()["id"] if known is None else known["id"]
        # Its capture of the terminal would break progress bars, and its summary would be said at the end of each stage.
        settings = {"console": "off", "silent": True}
        folder = str(run.path / "tracking")
        return {"id": identity, "resume": "allow", "name": run.path.name, "dir": folder, "settings": settings}

    def identity(self, tracker: Any) -> Identity:
        """The id of the run at Weights & Biases."""
        return {"id": tracker.tracker.id}

    def picture(self, tracker: Any, path: Path, step: int) -> None:
        """Show a PNG file as one of the step's media.

        Args:
            tracker: Object of accelerate, started.
            path: The PNG file.
            step: Training step of the model that made the images.
        """
        tracker.log_images({path.stem: [_pixels(path)]}, step=step)

    def document(self, tracker: Any, path: Path) -> None:
        """Keep a file as an artefact of the run."""
        tracker.tracker.log_artifact(str(path), type="document")

    def failures(self) -> tuple[type[Exception], ...]:
        """Errors of Weights & Biases (no account, no network, a refused request) and the disk's."""
        from wandb.errors import Error

        return (Error, OSError)


KINDS: dict[str, TrackerKind] = {"tensorboard": TensorBoard(), "mlflow": MLflow(), "wandb": WeightsAndBiases()}
"""The kinds by the name of their package, which is what a configuration and accelerate call them."""


def flat(values: Mapping[str, Any], sign: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping, each with its keys joined by a sign.

    Args:
        values: A mapping whose values may be mappings.
        sign: What stands between two keys, e.g. `/`.
        prefix: What stands before them all.
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, sign, f"{prefix}{key}{sign}")
        else:
            yield f"{prefix}{key}", value


def _pixels(path: Path) -> NDArray[np.uint8]:
    """A picture as uint8 `(H, W, 3)`."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
