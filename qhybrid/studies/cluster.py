"""Trainings of a study on the workers of a Dask cluster: one of this machine's own, or one that is there already.

A training goes out with the files that its folder holds and comes back with those that it holds then, so workers share
no disk with the study. It comes back after a checkpoint at the latest `SLICE_SECONDS` later and goes out again: whoever
takes it goes on from there, and a worker that is lost takes no more than that with it.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qhybrid.environment import RECORDED_PACKAGES, installed_version
from qhybrid.errors import RunDirectoryError, StudyError
from qhybrid.files import write_text
from qhybrid.stored import read_stored
from qhybrid.studies.files import Packed, pack, unpack
from qhybrid.studies.plan import Training, failure_file
from qhybrid.studies.training import run_training

if TYPE_CHECKING:
    from distributed import Client, Future

SLICE_SECONDS = 120.0
"""A training comes back from its worker at the first checkpoint after so many seconds."""

_CONNECT_SECONDS = 5
_LOOK_SECONDS = 0.5
# Two for each worker: the next one's files are there when a worker becomes free.
_AHEAD = 2
# torch, accelerate and the environment are one for a process: its threads take turns.
_turn = threading.Lock()


@dataclass(frozen=True)
class _SchedulerFile:
    address: str


def on_cluster(
    trainings: Sequence[Training], out: Path, jobs: int, scheduler: str | None, echo: Callable[[str], None]
) -> Iterator[dict[str, str]]:
    """Run trainings on workers, and bring home what they write.

    Args:
        trainings: What is to be run; each goes on from what its folder in `out` holds.
        out: The study's folder.
        jobs: Number of workers of this machine's own cluster.
        scheduler: Address or scheduler file of a cluster; `None` starts one on this machine.
        echo: Function that is called with a line about the cluster.

    Yields:
        Whenever files came home, and at least twice a second: the worker of each training that runs, by its folder.

    Raises:
        StudyError: There is no such cluster, or a worker has another version of a package that changes numbers.
    """
    with _client(jobs, scheduler) as client:
        dashboard = client.dashboard_link if "dashboard" in client.scheduler_info()["services"] else None
        place = client.scheduler.address if scheduler is not None else f"{jobs} processes of this machine"
        echo(f"study on {place}" + (f", dashboard {dashboard}" if dashboard else ""))
        threads = max(1, (os.cpu_count() or 1) // jobs) if scheduler is None else None
        yield from _run(client, trainings, out, threads)


def check_scheduler(scheduler: str) -> None:
    """Find out whether a cluster answers, before anything else is done.

    Args:
        scheduler: Address or scheduler file.

    Raises:
        StudyError: There is none.
    """
    with _client(1, scheduler):
        pass


def _run(client: Client, trainings: Sequence[Training], out: Path, threads: int | None) -> Iterator[dict[str, str]]:
    from distributed import KilledWorker, wait

    checked: set[str] = set()
    queue: deque[Training] = deque(trainings)
    running: dict[Future, Training] = {}
    while queue or running:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        _check_workers(client, workers.keys() - checked)
        checked |= workers.keys()
        while queue and len(running) < _AHEAD * len(workers):
            training = queue.popleft()
            running[_send(client, training, out, workers, threads)] = training
        yield _places(client, running)
        if not running:
            time.sleep(_LOOK_SECONDS)
            continue
        try:
            done = wait(list(running), timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            continue
        for future in done:
            training = running.pop(future)
            try:
                files, failure, complete = future.result()
            except KilledWorker as error:
                times = f"its worker was lost {error.allowed_failures + 1} times"
                write_text(failure_file(out / training.folder), f"{times}, perhaps for memory: take fewer at a time\n")
                continue
            unpack(files, out / training.folder)
            failure_file(out / training.folder).unlink(missing_ok=True)
            if failure is not None:
                write_text(failure_file(out / training.folder), failure)
            if not complete:
                # It goes on before those that have not begun.
                queue.appendleft(training)


def _send(client: Client, training: Training, out: Path, workers: Mapping[str, Any], threads: int | None) -> Future:
    # Workers that were started with `--resources "GPU=1"` take one training at a time for each.
    offered = any(worker["resources"].get("GPU") for worker in workers.values())
    wants = training.config.training.device != "cpu" and offered
    return client.submit(
        advance,
        training,
        pack(out / training.folder),
        _versions(),
        threads,
        SLICE_SECONDS,
        pure=False,
        resources={"GPU": 1} if wants else None,
    )


def advance(
    training: Training, files: Packed, versions: Mapping[str, str | None], threads: int | None, seconds: float
) -> tuple[Packed, str | None, bool]:
    """On a worker: go on with a training for some time, in a folder of the worker's own.

    Args:
        training: What is to be run.
        files: What its folder held at home.
        versions: Versions of the packages at home.
        threads: Threads that torch may use; `None` leaves them as the worker was started.
        seconds: Time after which it ends at the next checkpoint or cell.

    Returns:
        The files that the folder holds then, why the training failed, if it did, and whether nothing is left to do.

    Raises:
        StudyError: This worker has another version of a package.
    """
    _refuse_other_versions(versions, _versions(), f"worker on {platform.node()}")
    with _turn, tempfile.TemporaryDirectory(prefix="qhybrid-") as place:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        out = Path(place)
        unpack(files, out / training.folder)
        end = time.monotonic() + seconds
        complete = run_training(training, out, lambda: time.monotonic() >= end)
        failed = failure_file(out / training.folder)
        failure = failed.read_text(encoding="utf-8", errors="replace") if failed.exists() else None
        return pack(out / training.folder), failure, complete


def _versions() -> dict[str, str | None]:
    return {name: installed_version(name) for name in RECORDED_PACKAGES}


def _check_workers(client: Client, workers: Collection[str]) -> None:
    """Compare versions before anything is sent, by a function that every Python has.

    Raises:
        StudyError: A worker has another version of a package that changes numbers, or none.
    """
    found: dict[str, dict[str, str | None]] = {worker: {} for worker in workers}
    for name in RECORDED_PACKAGES if found else ():
        for worker, version in client.run(
            importlib.metadata.version, name, workers=list(found), on_error="return"
        ).items():
            found[worker][name] = version if isinstance(version, str) else None
    for worker, versions in found.items():
        _refuse_other_versions(_versions(), versions, f"worker {worker}")


def _refuse_other_versions(here: Mapping[str, str | None], there: Mapping[str, str | None], worker: str) -> None:
    for name, version in here.items():
        if there.get(name) != version:
            raise StudyError(
                f"{worker} has {name} {there.get(name) or '(none)'}, this study runs with {version or '(none)'}: "
                "numbers would not be comparable; install the same version there"
            )


def _places(client: Client, running: Mapping[Future, Training]) -> dict[str, str]:
    """Where each training is that a worker has taken up, by its folder."""
    folders = {future.key: str(training.folder) for future, training in running.items()}
    return {folders[key]: worker for worker, keys in client.processing().items() for key in keys[:1] if key in folders}


@contextmanager
def _client(jobs: int, scheduler: str | None) -> Iterator[Client]:
    """A client of the cluster.

    Raises:
        StudyError: There is none at that address.
    """
    from distributed import Client, LocalCluster

    # What Dask says when workers come and go; the study tells it in its own way.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        if scheduler is None:
            # The folder of the workers' own files, not of the study.
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="qhybrid-dask-", ignore_cleanup_errors=True))
            cluster = LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                local_directory=place,
            )
            stack.enter_context(cluster)
            yield stack.enter_context(Client(cluster))
            return
        try:
            client = Client(_address(scheduler), timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise StudyError(f"no Dask scheduler answers at `--scheduler {scheduler}` ({reason})") from None
        yield stack.enter_context(client)


def _address(scheduler: str) -> str:
    """The address itself, or the one that a scheduler file holds.

    Raises:
        StudyError: Neither an address nor a scheduler file.
    """
    if "://" in scheduler:
        return scheduler
    remedy = "give an address such as tcp://host:8786, or the file of `dask scheduler --scheduler-file FILE`"
    try:
        content = read_stored(Path(scheduler), _SchedulerFile, remedy)
    except RunDirectoryError as error:
        raise StudyError(f"`--scheduler {scheduler}`: {error}") from None
    return str(content["address"])
