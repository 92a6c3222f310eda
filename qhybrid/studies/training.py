"""One training of a study and the cells that share its checkpoint, in this process."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from qhybrid.checkpoints.checkpoint import Checkpoint, latest_checkpoint, load_checkpoint
from qhybrid.checkpoints.stages import with_config
from qhybrid.diffusion.supply import bank_input
from qhybrid.errors import Interrupted, QHybridError
from qhybrid.evaluation.evaluate import evaluate
from qhybrid.files import InputFile, write_json, write_text
from qhybrid.progress import silent
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import sample_checkpoint
from qhybrid.studies.plan import Cell, Training, cell_file, failure_file, finished
from qhybrid.training.loop import train


def run_training(training: Training, out: Path, pause: Callable[[], bool] = lambda: False) -> bool:
    """Train, then sample and judge each cell; failures are recorded beside the folders and raised no further.

    Args:
        training: What is to be run; it goes on from what its folder holds.
        out: The study's folder, or that of a worker.
        pause: Asked after each checkpoint and each cell whether to stop there; the same call goes on.

    Returns:
        Whether there is nothing left to do: all is finished or has failed.

    Raises:
        Interrupted: SIGINT or SIGTERM while training; a checkpoint is written.
    """
    folder = out / training.folder
    with silent(), _recorded(folder):
        run = train(training.config, folder, resume=(folder / "config.yaml").exists(), stages=False, pause=pause)
        latest = latest_checkpoint(run)
        if latest is None or latest.name != f"step-{training.config.training.steps}":
            return False
        checkpoint = load_checkpoint(run.path)
        waiting = [cell for cell in training.cells if not finished(out / cell.folder)]
        for place, cell in enumerate(waiting, start=1):
            with _recorded(out / cell.folder):
                _judge(checkpoint, cell, out / cell.folder, run.inputs())
            if place < len(waiting) and pause():
                return False
    return True


def _judge(checkpoint: Checkpoint, cell: Cell, folder: Path, inputs: Mapping[str, InputFile]) -> None:
    # A cell may be sampled with another bank than it was trained with.
    inputs = {kind: item for kind, item in inputs.items() if kind == "data"} | bank_input(cell.config.diffusion.noise)
    run = RunDirectory.create(folder, cell.config, resume=True, inputs=inputs)
    assert cell.config.sampling is not None  # every cell has a seed for its images
    start = time.perf_counter()
    model = with_config(checkpoint, cell.config)
    sample_checkpoint(model, cell.config.sampling, run)
    sampled = time.perf_counter()
    evaluate(run, checkpoint=model)
    seconds = {"sampling": round(sampled - start, 3), "evaluation": round(time.perf_counter() - sampled, 3)}
    write_json(cell_file(folder), {"levels": cell.levels, "seconds": seconds})


@contextmanager
def _recorded(folder: Path) -> Iterator[None]:
    """Write why something failed beside its folder; a bug with its traceback, so that a night's study survives it."""
    failure_file(folder).unlink(missing_ok=True)
    try:
        yield
    except Interrupted:
        raise
    except QHybridError as error:
        write_text(failure_file(folder), f"{error}\n")
    except Exception as error:  # noqa: BLE001 - recorded, and the exit code tells
        line = " ".join(f"{type(error).__name__}: {error}".split())
        write_text(failure_file(folder), f"{line}\n\n{traceback.format_exc()}")
