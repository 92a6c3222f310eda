"""Worker threads of the simulator."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_pools: dict[int, ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()


def available_threads() -> int:
    """Cores that this process may use; `OMP_NUM_THREADS` lowers it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(limit))) if limit.isdigit() else cores


def _thread_pool() -> ThreadPoolExecutor:
    """Worker threads of this process; a forked child needs its own, since threads do not survive a fork."""
    with _pools_lock:
        if os.getpid() not in _pools:
            _pools.clear()
            _pools[os.getpid()] = ThreadPoolExecutor(available_threads(), thread_name_prefix="qhybrid-quantum")
        return _pools[os.getpid()]


def in_threads(slices: int, threads: int, run: Callable[[int, int], None]) -> None:
    """Call `run(first, last)` on even shares of the slices, one in each of so many threads, the first in this one.

    Args:
        slices: Number of slices to share out.
        threads: Number of threads, this one among them.
        run: Called in each thread with the first slice and the one after the last.
    """
    bounds = [slices * k // threads for k in range(threads + 1)]
    futures = [_thread_pool().submit(run, bounds[k], bounds[k + 1]) for k in range(1, threads)]
    run(bounds[0], bounds[1])
    for future in futures:
        future.result()
