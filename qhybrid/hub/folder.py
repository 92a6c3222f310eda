"""A trained model as a folder in Hugging Face's layout: weights, configuration, circuit and card.

`model.safetensors` holds the averaged weights, `config.json` all that builds their network, `circuit.qpy` the circuit
and `README.md` the model card. Nothing in it is unpickled, and nothing of the machine that it was made on is needed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save

import qhybrid
from qhybrid.checkpoints.checkpoint import (
    Checkpoint,
    built,
    description,
    load_checkpoint,
    read_description,
    weights_of,
)
from qhybrid.circuit_copies import COPIES, with_copies
from qhybrid.config import RunConfig
from qhybrid.errors import RunDirectoryError
from qhybrid.evaluation.record import read_evaluation
from qhybrid.files import atomic_path, write_json, write_text
from qhybrid.hub.card import model_card
from qhybrid.rundir import RunDirectory

WEIGHTS, CONFIG, CIRCUIT, CARD = "model.safetensors", "config.json", "circuit.qpy", "README.md"
_EVALUATION, _GRID = "evaluation.json", "grid.png"


def export(run: RunDirectory | str | Path, folder: str | Path, *, license: str | None = None) -> Path:
    """Write the model of a run's last checkpoint as a folder that others can load, with its model card.

    Args:
        run: Directory of a trained run; what it has of samples and evaluation goes into the card.
        folder: Folder for the model; made if it is not there, and refused if anything is in it.
        license: Identifier of the licence of the weights as the hub knows it, e.g. `apache-2.0`; by default none is
            named.

    Returns:
        The folder. Images sampled from it are those of the run, bit for bit.

    Raises:
        RunDirectoryError: Not a trained run, a damaged file in it, or a folder that is not empty or not writable.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory.open(run)
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunDirectoryError(f"`{target}` exists and is not empty: name another folder for the model")
    checkpoint = load_checkpoint(run.path)
    evaluation = read_evaluation(run) if run.evaluation_file.exists() else None
    config = _without_places(run.config())
    picture = run.grid_file if run.grid_file.exists() else None
    card = model_card(
        checkpoint,
        config,
        evaluation,
        run.inputs().get("data"),
        license=license,
        picture=None if picture is None else _GRID,
    )
    with atomic_path(target) as made:
        made.mkdir()
        # By way of memory: what the library's own writer raises on a full disk does not say so.
        (made / WEIGHTS).write_bytes(save(weights_of(checkpoint.model), metadata={"format": "pt"}))
        about = {"library_name": "qhybrid", "library_version": qhybrid.__version__}
        write_json(
            made / CONFIG, about | description(config, checkpoint.step, checkpoint.image_shape, checkpoint.labels)
        )
        if checkpoint.spec is not None:
            checkpoint.spec.save(made / CIRCUIT)
        if (run.path / COPIES).is_dir():
            shutil.copytree(run.path / COPIES, made / COPIES)
        if evaluation is not None:
            shutil.copyfile(run.evaluation_file, made / _EVALUATION)
        if picture is not None:
            shutil.copyfile(picture, made / _GRID)
        write_text(made / CARD, card)
    return target


def is_model(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def load_model(folder: str | Path) -> Checkpoint:
    """The model in a folder that `export` has written.

    Args:
        folder: Folder of the model.

    Raises:
        RunDirectoryError: It holds no model, or a damaged one.
    """
    path = Path(folder)
    if not is_model(path):
        raise RunDirectoryError(f"`{path}` holds no exported model (no {CONFIG}): `qhybrid export RUN DIR` makes one")
    config, meta, labels = read_description(path / CONFIG)
    # A classical core takes its sizes from the circuit of the user's own file.
    return built(path / WEIGHTS, with_copies(path, config), meta, labels)


def _without_places(config: RunConfig) -> RunConfig:
    """The configuration without where its maker keeps the data: others have them elsewhere, or need none to sample."""
    changes: dict[str, Any] = {"root": None}
    if config.data.path is not None:
        changes["path"] = Path(config.data.path).name
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})
