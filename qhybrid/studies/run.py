"""Do what a study asks for: train, sample and judge every cell that is not finished yet.

What is finished stands on disk, so a killed study goes on with the same command, and more seeds or levels can be added
to a finished one. A cell that fails leaves its reason in a file beside its folder; the others go on.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from qhybrid.checkpoints.checkpoint import Checkpoint, load_checkpoint
from qhybrid.checkpoints.stages import with_config
from qhybrid.config import RunConfig
from qhybrid.data import load_data
from qhybrid.diffusion.supply import bank_input
from qhybrid.errors import Interrupted, QHybridError, StudyError
from qhybrid.evaluation.evaluate import evaluate
from qhybrid.evaluation.measured import unmeasured
from qhybrid.files import InputFile, write_json, write_text
from qhybrid.locks import exclusive
from qhybrid.preflight import check_stages
from qhybrid.progress import progress, silent
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import sample_checkpoint
from qhybrid.studies.page import write_study_page
from qhybrid.studies.plan import Cell, Study, Training, cell_file, describe, failure_file, finished
from qhybrid.studies.report import conclusions, views, write_summary
from qhybrid.studies.results import collect
from qhybrid.training.loop import train


def run_study(study: Study, out: Path, *, jobs: int = 1, echo: Callable[[str], None]) -> dict[str, Any]:
    """Run every cell that is not finished; write `study.json` after each training, table and pages at the end.

    Args:
        study: Study whose cells are run.
        out: The study's folder.
        jobs: Trainings at a time, each in a process of its own if there is more than one.
        echo: Function that is called with each line of the result.

    Returns:
        Content of `study.json`, as `collect` gives it.

    Raises:
        Interrupted: SIGINT or SIGTERM; checkpoints are written, the same call goes on.
        StudyError: Some cells failed, all others are done; or a process of `jobs` was killed from outside.
        QHybridError: As `check_cells`, or `out` holds runs with other configurations; nothing is written.
    """
    _check_same(study, out)
    check_cells(study, out)
    with exclusive(out):
        return _run_study(study, out, jobs, echo)


def _run_study(study: Study, out: Path, jobs: int, echo: Callable[[str], None]) -> dict[str, Any]:
    waiting = [item for item in study.trainings if not all(finished(out / cell.folder) for cell in item.cells)]
    total = len(study.trainings)
    # What is finished may be damaged: better known before the others are trained than afterwards.
    collect(study, out)
    try:
        with progress("study, trainings", total, total - len(waiting)) as advance:
            for training in _in_turn(waiting, out, jobs):
                collect(study, out)
                advance(note=str(training.folder.relative_to("runs")))
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"study stopped; the same command goes on from what `{out}` holds") from None
    except BrokenProcessPool:
        raise StudyError(
            f"a process of `--jobs {jobs}` was killed, perhaps for memory: take fewer; the same command goes on"
        ) from None
    result = collect(study, out)
    write_summary(result, out)
    for view in views(result):
        for line in conclusions(view):
            echo(line)
    echo(f"study: {write_study_page(out)}, {out / 'summary.md'}, {out / 'study.json'}, {out / 'study.png'}")
    failed = [run for run in result["runs"] if run["value"] is None]
    if failed:
        # What was judged to the end is not judged again.
        again = "" if all("metrics" in run for run in failed) else ", the same command tries again those not finished"
        raise StudyError(
            f"{len(failed)} of {len(result['runs'])} cells failed, first {describe(failed[0]['levels'])}, seed "
            f"{failed[0]['seed']}: {failed[0]['reason']}; study.json has all{again}"
        )
    return result


def _check_same(study: Study, out: Path) -> None:
    for training in study.trainings:
        parts = [(training.folder, training.config), *((cell.folder, cell.config) for cell in training.cells)]
        for folder, config in parts:
            if (out / folder / "config.yaml").exists():
                RunDirectory.create(out / folder, config, resume=True)


def check_cells(study: Study, out: Path) -> None:
    """Refuse a study of which a cell that is not finished cannot be sampled, judged or compared after its training.

    Args:
        study: What is to be run.
        out: The study's folder; it may be missing.

    Raises:
        QHybridError: The data cannot be had, the images of a cell cannot be made or judged, or its evaluation has no
            value for a metric of the study.
    """
    # One seed stands for all.
    waiting = {
        tuple(cell.levels.items()): (cell, training.config)
        for training in study.trainings
        for cell in training.cells
        if not finished(out / cell.folder)
    }
    # Each data set is loaded once, one at a time.
    for _, alike in itertools.groupby(sorted(waiting.values(), key=_data_key), key=_data_key):
        cells = list(alike)
        data = load_data(cells[0][0].config.data)
        for cell, trained in cells:
            check_stages(cell.config, data, trained)
            lacking = unmeasured(cell.config, data)
            for key, metric in study.config.metrics:
                if metric in lacking:
                    raise StudyError(
                        f"study `{study.config.name}`, `{key}: {metric}`: cell `{describe(cell.levels)}` has no value "
                        f"for it: {lacking[metric]}"
                    )


def _data_key(waiting: tuple[Cell, RunConfig]) -> str:
    return waiting[0].config.data.model_dump_json(exclude={"subset_seed"})


def run_training(training: Training, out: Path) -> None:
    """Train, then sample and judge each cell; failures are recorded beside the folders and raised no further.

    Raises:
        Interrupted: SIGINT or SIGTERM while training; a checkpoint is written.
    """
    folder = out / training.folder
    with silent(), _recorded(folder):
        run = train(training.config, folder, resume=(folder / "config.yaml").exists(), stages=False)
        checkpoint = load_checkpoint(run.path)
        for cell in training.cells:
            if not finished(out / cell.folder):
                with _recorded(out / cell.folder):
                    _judge(checkpoint, cell, out / cell.folder, run.inputs())


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


def _in_turn(trainings: list[Training], out: Path, jobs: int) -> Iterator[Training]:
    """Each training once it is done."""
    if jobs == 1:
        for training in trainings:
            run_training(training, out)
            yield training
        return
    queue = iter(trainings)
    running: dict[Future[None], Training] = {}
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Forked children would inherit torch's threads in an unusable state.
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (threads,)) as pool:
        while True:
            # No more than are running: what the pool has taken up it would start even after an interruption.
            for training in itertools.islice(queue, jobs - len(running)):
                running[pool.submit(run_training, training, out)] = training
            if not running:
                return
            for future in futures.wait(running, return_when=futures.FIRST_COMPLETED).done:
                future.result()
                yield running.pop(future)


def _start_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent would leave its workers waiting for ever; what they have on disk is whole at any moment."""
    parent = parent_process()
    assert parent is not None  # only workers come here
    connection.wait([parent.sentinel])
    os._exit(1)
