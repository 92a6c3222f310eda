"""A tuned model as a run directory of its own: the original stays as it is."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.errors import HardwareError
from hardware.planning.bill import Plan
from qhybrid.checkpoints.checkpoint import Checkpoint, load_training_state, save_checkpoint
from qhybrid.circuit_copies import COPIES
from qhybrid.config import HardwareConfig, RunConfig, build_section, dump_config
from qhybrid.environment import describe_environment
from qhybrid.files import atomic_path, write_json, write_text
from qhybrid.models.unet import UNet
from qhybrid.rundir import RunDirectory
from qhybrid.stored import read_stored

TUNING_FILE = "tuning.json"
# Options under which the outputs are others than those that a model was tuned to.
_DECIDING = ("backend", "primitive", "level", "rescale")


@dataclass(frozen=True)
class _Tuning:
    """What is read of `tuning.json`."""

    options: dict[str, Any]


def free_place(out: str | Path) -> Path:
    """Where the tuned run will be.

    Raises:
        HardwareError: There is something.
    """
    place = Path(out)
    if place.exists():
        raise HardwareError(f"`{place}` exists: choose another --out")
    return place


def write_tuned(run: RunDirectory, checkpoint: Checkpoint, plan: Plan, record: dict[str, Any], place: Path) -> Path:
    """Write a run directory with the tuned model and its history; it is whole or absent.

    It holds the configuration, with the plan's options as its section `hardware`, the log of the training, one
    checkpoint of the same step, and `tuning.json`. The checkpoint's raw and averaged weights are both the tuned ones.

    Args:
        run: The original run.
        checkpoint: Checkpoint of the run, whose model has been tuned in place.
        plan: Plan whose results the model was tuned to.
        record: Content of `tuning.json`.
        place: Folder that is made.
    """
    config = _config(run, plan)
    with atomic_path(place) as folder:
        made = RunDirectory(folder)
        folder.mkdir()
        meta = {"id": uuid.uuid4().hex, **describe_environment(), "inputs": run.meta().get("inputs", {})}
        write_json(made.meta_file, meta)
        write_text(made.config_file, dump_config(config))
        if run.train_log.exists():
            shutil.copyfile(run.train_log, made.train_log)
        if (run.path / COPIES).is_dir():
            shutil.copytree(run.path / COPIES, folder / COPIES)
        state = load_training_state(checkpoint.path)
        model: UNet = checkpoint.model
        save_checkpoint(made, config, checkpoint.step, model, model, state, checkpoint.image_shape, checkpoint.labels)
        write_json(folder / TUNING_FILE, record)
    return place


def tuning_note(run: RunDirectory, config: HardwareConfig) -> str | None:
    """Warn of a tuned model that is run in another way than it was tuned to; `None` if there is nothing to say.

    Args:
        run: Run directory, of a tuned model or of another one.
        config: Options that it is to be run with.

    Raises:
        RunDirectoryError: `tuning.json` is damaged.
    """
    path = run.path / TUNING_FILE
    if not path.exists():
        return None
    tuned = read_stored(path, _Tuning, "restore it from a copy of the run")["options"]
    now = config.model_dump()
    other = [f"{key} {tuned[key]}" for key in _DECIDING if key in tuned and tuned[key] != now[key]]
    if not other:
        return None
    return (
        f"this model was tuned to the outputs of {', '.join(other)}, and is run otherwise: its map does not fit these"
    )


def tuned_options(plan: Plan) -> dict[str, Any]:
    """What decides the outputs that a model is tuned to, of a plan's options."""
    return {key: plan.config[key] for key in (*_DECIDING, "shots") if key in plan.config}


def _config(run: RunDirectory, plan: Plan) -> RunConfig:
    """The run's configuration, with the plan's options."""
    options = {**plan.config, "budget_seconds": None}
    return run.config().model_copy(update={"hardware": build_section(HardwareConfig, options, "options of the plan")})
