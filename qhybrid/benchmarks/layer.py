"""The speed of the quantum layer beside its peers, beside this machine's floor, and how it grows.

Everything is measured in one process and in rounds, each of which times every contender once, so that other work on
the machine meets all of them alike; medians are reported. Compilation is not counted, but measured on its own.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from qhybrid.benchmarks.peers import CONTENDERS, OURS, NotPossibleError, Problem
from qhybrid.quantum.engine.kernels.threads import available_threads

BATCH, LAYERS = 64, 3
_SHORTEST = 2e-2
"""Seconds that one timing lasts at least; short steps are repeated within it."""
_TOLERANCE = 2e-3
"""How far a contender's numbers may be from ours (all but one compute in single precision)."""

_PACKAGES = ("torch", "numba", "qiskit", "qiskit-aer", "pennylane", "pennylane-lightning", "tensorcircuit-ng", "jax")

Step = Callable[[], Any]


def compare(
    qubits: Sequence[int], *, peers: bool = True, repeats: int = 7, budget: float = 30.0
) -> Iterator[dict[str, Any]]:
    """Milliseconds of one step, forward and backward with input gradients, for each size.

    Args:
        qubits: Sizes.
        peers: Whether others than `QuantumLayer` take part.
        repeats: Rounds.
        budget: Seconds that one contender may take at one size; the slow ones get fewer rounds, but one at least.

    Yields:
        A row per size: `qubits` and, for each contender, `ms`, `rounds`, `error` (largest difference from ours), or
        `reason` for not taking part.
    """
    for n in qubits:
        yield _compare_at(n, peers, repeats, budget)


def _compare_at(qubits: int, peers: bool, repeats: int, budget: float) -> dict[str, Any]:
    problem = Problem.draw(qubits, LAYERS, BATCH)
    expected: Any = None
    entries: dict[str, Any] = {}
    steps: dict[str, Step] = {}
    for name, contender in CONTENDERS.items():
        if name != OURS and not peers:
            continue
        if qubits > contender.max_qubits:
            entries[name] = {"reason": f"not measured beyond {contender.max_qubits} qubits"}
            continue
        given = problem.first(1) if contender.one_sample else problem
        try:
            step = contender.build(given)
            answer = [np.asarray(part) for part in step()]
        except NotPossibleError as reason:
            entries[name] = {"reason": str(reason)}
            continue
        expected = expected or {len(problem.inputs): answer}
        entries[name] = {"error": _difference(answer, expected, given)}
        steps[name] = step
    for name, times in interleave(steps, repeats, budget).items():
        factor = BATCH if CONTENDERS[name].one_sample else 1
        entries[name] |= {"ms": 1e3 * statistics.median(times) * factor, "rounds": len(times), "scaled_by": factor}
    return {"qubits": qubits, "contenders": entries}


def _difference(answer: list[Any], expected: dict[int, list[Any]], given: Problem) -> float:
    """Largest difference from our numbers; a contender that computes something else is an error, not a time."""
    count = len(given.inputs)
    if count not in expected:
        expected[count] = [np.asarray(part) for part in CONTENDERS[OURS].build(given)()]
    worst = max(float(np.abs(a - b).max()) for a, b in zip(answer, expected[count], strict=True))
    if worst > _TOLERANCE * max(1, count):
        raise ArithmeticError(f"a contender's numbers differ from ours by {worst}")
    return worst


def interleave(steps: dict[str, Step], repeats: int, budget: float = 30.0) -> dict[str, list[float]]:
    """Seconds per call of each step, `repeats` rounds over all of them; each has been called once before.

    Args:
        steps: What is measured, by name.
        repeats: Rounds over all of them.
        budget: Seconds for one of them in all.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    inner: dict[str, int] = {}
    spent = dict.fromkeys(steps, 0.0)
    for _ in range(repeats):
        for name, step in steps.items():
            if spent[name] and spent[name] * (1 + 1 / len(times[name])) > budget:
                continue
            seconds = _timed(step, inner.get(name, 1))
            if name not in inner:
                inner[name] = max(1, int(_SHORTEST / seconds))
                if inner[name] > 1:
                    seconds = _timed(step, inner[name])
            spent[name] += seconds
            times[name].append(seconds / inner[name])
    return times


def _timed(step: Step, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return time.perf_counter() - start


def floor() -> dict[str, float]:
    """What this machine can do, measured now: copying memory (read and write, GB/s) and a matrix product (GFLOP/s)."""
    rates = {}
    for name, numbers in (("memory_gb_per_s", 2**26), ("cache_gb_per_s", 2**16)):
        source, target = torch.ones(numbers), torch.empty(numbers)
        seconds = _best(lambda source=source, target=target: target.copy_(source))  # type: ignore[misc]
        rates[name] = 8 * numbers / seconds / 1e9
    a, b = torch.ones(2048, 2048), torch.ones(2048, 2048)
    rates["matmul_gflop_per_s"] = 2 * 2048**3 / _best(lambda: a @ b) / 1e9
    return rates


def _best(step: Step) -> float:
    step()
    times = [value for values in interleave({"": step}, 7).values() for value in values]
    return min(times)


def first_steps(qubits: int = 8) -> dict[str, float]:
    """Seconds of the first training step in a new process: with an empty cache of kernels, and with a full one."""
    program = (
        "import time; from qhybrid.benchmarks.peers import CONTENDERS, OURS, Problem; "
        f"step = CONTENDERS[OURS].build(Problem.draw({qubits}, {LAYERS}, {BATCH})); "
        "start = time.perf_counter(); step(); print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        seconds = [
            float(
                subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
            )
            for _ in range(2)
        ]
    return {"cold_s": seconds[0], "warm_s": seconds[1]}


def environment() -> dict[str, Any]:
    """Machine, threads and versions."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "threads": available_threads(),
        "torch_threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load_average": os.getloadavg()[0],
        "versions": versions,
    }


def peak_memory_mb() -> float:
    """Largest resident size of this process so far."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)
