"""Trained models by folder or by the name of one that comes with the package, ready to draw images from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.checkpoints.checkpoint import Checkpoint, load_checkpoint
from qhybrid.config import SamplingConfig, build_section, check_sampling
from qhybrid.errors import RunDirectoryError
from qhybrid.hub.folder import is_model, load_model
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import drawn

_FIRST_IMAGES = 20
_SHIPPED = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Pretrained:
    """A trained model and how it is sampled.

    Attributes:
        checkpoint: The network, its configuration, circuit and labels.
        sampling: Options of the sampling where none are given: those of the run that it was trained in, but for the
            number of images of a model that comes with the package, 20.
        place: The run directory or the model's folder; `None` for a model that comes with the package.
    """

    checkpoint: Checkpoint
    sampling: SamplingConfig
    place: Path | None

    def options(self, **given: Any) -> SamplingConfig:
        """The model's own options of sampling with others on top.

        Args:
            given: Keys of the section `sampling` and their values; `None` leaves the model's own.

        Raises:
            ConfigError: An unknown key, a value that is not allowed, or one that the model does not know.
        """
        stored = self.sampling.model_dump()
        chosen = {key: value for key, value in given.items() if value is not None}
        if "images" in chosen and isinstance(stored["classes"], dict):
            # Another number of images than the counts of the run's own section: its classes in turn.
            stored["classes"] = list(stored["classes"])
        config = build_section(SamplingConfig, stored | chosen, "sampling")
        check_sampling(self.checkpoint.config, config)
        return config

    def sample(self, **given: Any) -> NDArray[np.uint8]:
        """Images from noise; the same options give the same images, bit for bit.

        Args:
            given: Keys of the section `sampling` and their values, e.g. `images=16, classes=[7], seed=3`.

        Returns:
            Images as uint8, `(N, H, W)` or `(N, H, W, 3)`.

        Raises:
            ConfigError: An unknown key, or a value that is not allowed.
            DataError: A class that the training images do not have.
        """
        return drawn(self.checkpoint, self.options(**given))["images"]


def from_pretrained(source: str | Path) -> Pretrained:
    """A trained model from this machine; nothing is downloaded.

    Args:
        source: Folder that `qhybrid export` has written, a run directory, or the name of a model that comes with the
            package (`digits`); a folder of that name goes before it.

    Raises:
        RunDirectoryError: There is no such model, or it is damaged.
    """
    path = Path(source)
    if is_model(path):
        return _pretrained(load_model(path), path)
    if not path.exists() and str(source) in shipped():
        model = _pretrained(load_model(_SHIPPED / str(source)), None)
        # It was judged by many images; whoever tries it wants some at once.
        return replace(model, sampling=model.sampling.model_copy(update={"images": _FIRST_IMAGES}))
    if (path / "config.yaml").is_file():
        run = RunDirectory.open(path)
        return Pretrained(load_checkpoint(path), run.config().sampling or SamplingConfig(), path)
    raise RunDirectoryError(
        f"`{source}` is not a run directory (no config.yaml) and no exported model (no config.json): `qhybrid train` "
        f"makes the one, `qhybrid export` the other; with the package come: {', '.join(shipped())}"
    )


def shipped() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.name for path in _SHIPPED.glob("*") if is_model(path))


def _pretrained(checkpoint: Checkpoint, place: Path | None) -> Pretrained:
    return Pretrained(checkpoint, checkpoint.config.sampling or SamplingConfig(), place)
