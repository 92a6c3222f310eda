"""Do what a study asks for: train, sample and judge every cell that is not finished yet.

What is finished stands on disk, so a killed study goes on with the same command, and more seeds or levels can be added
to a finished one. A cell that fails leaves its reason in a file beside its folder; the others go on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qhybrid.config import RunConfig
from qhybrid.data import load_data
from qhybrid.errors import Interrupted, StudyError
from qhybrid.evaluation.measured import unmeasured
from qhybrid.locks import exclusive
from qhybrid.preflight import check_stages
from qhybrid.rundir import RunDirectory
from qhybrid.studies.board import board
from qhybrid.studies.cluster import check_scheduler, on_cluster
from qhybrid.studies.page import write_study_page
from qhybrid.studies.plan import Cell, Study, describe, failure_file, finished
from qhybrid.studies.report import conclusions, views, write_summary
from qhybrid.studies.results import collect
from qhybrid.studies.training import run_training


def run_study(
    study: Study, out: Path, *, jobs: int = 1, scheduler: str | None = None, echo: Callable[[str], None]
) -> dict[str, Any]:
    """Run every cell that is not finished; write `study.json` after each training, table and pages at the end.

    Args:
        study: Study whose cells are run.
        out: The study's folder.
        jobs: Trainings at a time on this machine, each in a process of its own if there is more than one.
        scheduler: Address or scheduler file of a Dask cluster whose workers do the work; `None` for this machine.
        echo: Function that is called with each line of the result.

    Returns:
        Content of `study.json`, as `collect` gives it.

    Raises:
        Interrupted: SIGINT or SIGTERM; checkpoints are written, the same call goes on.
        StudyError: Some cells failed, all others are done; or the cluster is not there, or its workers have other
            versions.
        QHybridError: As `check_cells`, or `out` holds runs with other configurations; nothing is written.
    """
    if scheduler is not None:
        check_scheduler(scheduler)
    _check_same(study, out)
    check_cells(study, out)
    with exclusive(out):
        return _run_study(study, out, jobs, scheduler, echo)


def _run_study(
    study: Study, out: Path, jobs: int, scheduler: str | None, echo: Callable[[str], None]
) -> dict[str, Any]:
    waiting = [item for item in study.trainings if not all(finished(out / cell.folder) for cell in item.cells)]
    cells = sum(len(item.cells) for item in study.trainings)
    left = sum(not finished(out / cell.folder) for item in waiting for cell in item.cells)
    # What is finished may be damaged: better known before the others are trained than afterwards.
    collect(study, out)
    try:
        with board(cells, cells - left) as show:
            if jobs == 1 and scheduler is None:
                for training in waiting:
                    show(_settled(study, out), {str(training.folder): "this process"})
                    run_training(training, out)
                    collect(study, out)
            elif waiting:
                seen = None
                for running in on_cluster(waiting, out, jobs, scheduler, echo):
                    settled = _settled(study, out)
                    if settled != seen:
                        collect(study, out)
                    seen = settled
                    show(settled, running)
            show(_settled(study, out), {})
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"study stopped; the same command goes on from what `{out}` holds") from None
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


def _settled(study: Study, out: Path) -> tuple[int, int]:
    """Numbers of cells that are done and that have failed."""
    done = failed = 0
    for training in study.trainings:
        for cell in training.cells:
            if finished(out / cell.folder):
                done += 1
            elif failure_file(out / cell.folder).exists() or failure_file(out / training.folder).exists():
                failed += 1
    return done, failed


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
