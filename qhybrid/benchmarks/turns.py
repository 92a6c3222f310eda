"""Contenders in processes of their own that take turns, so that no library's idle threads slow another one down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.errors import BenchmarkError

Timer = Callable[[int], float]
"""Seconds that so many calls of a step take together."""

SHORTEST = 2e-2
"""Seconds that one timing lasts at least; short steps are repeated within it."""


def timer(step: Callable[[], Any]) -> Timer:
    """Time a step of this process."""

    def timed(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            step()
        return time.perf_counter() - start

    return timed


def interleave(timers: Mapping[str, Timer], repeats: int, budget: float = 30.0) -> dict[str, list[float]]:
    """Time every contender once in each round.

    Args:
        timers: Timers of the contenders by name; each step has been called once before.
        repeats: Number of rounds in which every contender is timed.
        budget: Seconds that one contender may take; the slow ones get fewer rounds, but one at least.

    Returns:
        Seconds per call of each round, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in timers}
    calls: dict[str, int] = {}
    spent = dict.fromkeys(timers, 0.0)
    for _ in range(repeats):
        for name, timed in timers.items():
            if spent[name] and spent[name] * (1 + 1 / len(times[name])) > budget:
                continue
            seconds = timed(calls.get(name, 1))
            if name not in calls:
                calls[name] = max(1, int(SHORTEST / seconds))
                if calls[name] > 1:
                    seconds = timed(calls[name])
            spent[name] += seconds
            times[name].append(seconds / calls[name])
    return times


class Worker:
    """A process that holds one contender's step and times it when asked.

    Args:
        program: Python code that gets a file name as its first argument. It writes the step's answer there as an npz
            file, or a reason for not taking part as text, and then calls `serve`.
        threads: Cores that the process may use, and threads that its libraries are told to start.
    """

    def __init__(self, program: str, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._answer = Path(self._folder.name) / "answer.npz"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, str(self._answer)],
            env=_pinned(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))[:threads]
            os.sched_setaffinity(self._process.pid, cores)

    def start(self) -> str | list[NDArray[Any]]:
        """Wait for the first step: its answer, or the reason for not taking part.

        Raises:
            BenchmarkError: The process ended otherwise.
        """
        said = self._ask(None)
        if "reason" in said:
            return str(said["reason"])
        with np.load(self._answer) as arrays:
            return [arrays[name] for name in sorted(arrays.files)]

    def timed(self, calls: int) -> float:
        """Seconds that so many calls of the step take, measured in its own process."""
        return float(self._ask({"calls": calls})["seconds"])

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _ask(self, question: dict[str, Any] | None) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if question is not None:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            # Libraries print as well.
            if line.startswith(_MARK):
                answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
                return answer
        _, errors = self._process.communicate()
        last = errors.strip().splitlines()[-1:] or ["it said nothing"]
        raise BenchmarkError(f"a contender of the benchmark ended: {last[0][:500]}")


_MARK = "layer benchmark: "


def serve(step: Callable[[], Any] | None, reason: str | None = None) -> None:
    """Answer a `Worker`'s questions for the rest of this process.

    Args:
        step: Step to be timed; `None` if there is none.
        reason: Reason why there is no step.
    """
    if step is None:
        _say({"reason": reason})
        return
    timed = timer(step)
    _say({})
    for line in sys.stdin:
        _say({"seconds": timed(json.loads(line)["calls"])})


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(_MARK + json.dumps(answer) + "\n")
    sys.stdout.flush()


def _pinned(threads: int) -> dict[str, str]:
    """The environment in which every library starts so many threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return os.environ | dict.fromkeys(names, str(threads)) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
