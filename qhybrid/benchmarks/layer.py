"""The speed of the quantum layer beside its peers, beside this machine's floor, and how it grows.

Every contender has a process of its own, pinned to the same cores, and the processes take turns in rounds, each of
which times every contender once: other work on the machine meets all of them alike, and no library's idle threads meet
another one. Medians are reported. Compilation is not counted, but measured on its own.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qhybrid.benchmarks.peers import CONTENDERS, OURS, NotPossibleError, Problem
from qhybrid.benchmarks.turns import Worker, interleave, serve, timer
from qhybrid.quantum.engine.kernels.threads import available_threads

BATCH, LAYERS = 64, 3
_TOLERANCE = 2e-3
"""How far a contender's numbers may be from ours (all but one compute in single precision)."""

_PACKAGES = (
    "torch",
    "numba",
    "qiskit",
    "qiskit-aer",
    "pennylane",
    "pennylane-lightning",
    "tensorcircuit-ng",
    "jax",
    "torq-quantum",
    "deepquantum",
)

Step = Callable[[], Any]


def compare(
    qubits: Sequence[int], *, peers: bool = True, repeats: int = 7, budget: float = 30.0
) -> Iterator[dict[str, Any]]:
    """Milliseconds of one step, forward and backward with input gradients, for each size.

    Args:
        qubits: Numbers of qubits, one for each size.
        peers: Whether other libraries than `QuantumLayer` take part.
        repeats: Number of rounds in which every contender is timed.
        budget: Seconds that one contender may take at one size; the slow ones get fewer rounds, but one at least.

    Yields:
        A row per size: `qubits` and, for each contender, `form` (how it computes the step), `ms`, `rounds`, `error`
        (largest difference from ours), or `reason` for not taking part.
    """
    for n in qubits:
        yield _compare_at(n, peers, repeats, budget)


def _compare_at(qubits: int, peers: bool, repeats: int, budget: float) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    ours: dict[bool, list[NDArray[Any]]] = {}
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, contender in CONTENDERS.items():
            if name != OURS and not peers:
                continue
            if qubits > contender.max_qubits:
                entries[name] = {"reason": f"not measured beyond {contender.max_qubits} qubits"}
                continue
            worker = stack.enter_context(Worker(_program(name, qubits), available_threads()))
            answer = worker.start()
            if isinstance(answer, str):
                entries[name] = {"reason": answer}
                continue
            if contender.one_sample not in ours:
                ours[contender.one_sample] = _answer(OURS, qubits, contender.one_sample)
            entries[name] = {"form": contender.form, "error": difference(answer, ours[contender.one_sample])}
            workers[name] = worker
        times = interleave({name: worker.timed for name, worker in workers.items()}, repeats, budget)
    for name, values in times.items():
        factor = BATCH if CONTENDERS[name].one_sample else 1
        entries[name] |= {"ms": 1e3 * statistics.median(values) * factor, "rounds": len(values), "scaled_by": factor}
    return {"qubits": qubits, "contenders": entries}


def _program(name: str, qubits: int) -> str:
    return f"from qhybrid.benchmarks.layer import take_part; take_part({name!r}, {qubits})"


def take_part(name: str, qubits: int) -> None:
    """Build a contender in this process and serve its times; the file of its answer is the first argument.

    Args:
        name: Name of the contender, a key of `CONTENDERS`.
        qubits: Number of qubits of the circuit.
    """
    contender = CONTENDERS[name]
    try:
        step = contender.build(_problem(qubits, contender.one_sample))
        answer = [np.asarray(part) for part in step()]
    except NotPossibleError as reason:
        serve(None, str(reason))
        return
    np.savez(sys.argv[1], *answer)
    serve(step)


def _problem(qubits: int, one_sample: bool) -> Problem:
    problem = Problem.draw(qubits, LAYERS, BATCH)
    return problem.first(1) if one_sample else problem


def _answer(name: str, qubits: int, one_sample: bool) -> list[NDArray[Any]]:
    return [np.asarray(part) for part in CONTENDERS[name].build(_problem(qubits, one_sample))()]


def difference(answer: list[NDArray[Any]], expected: list[NDArray[Any]]) -> float:
    """Largest difference of a contender's answer from ours.

    Args:
        answer: Outputs (B, n), gradients by inputs (B, n) and by weights (W,).
        expected: Outputs and gradients of this package, in the same form.

    Raises:
        ArithmeticError: It computes something else, and its time would mean nothing.
    """
    if [part.shape for part in answer] != [part.shape for part in expected]:
        raise ArithmeticError(f"a contender's answers have shapes {[part.shape for part in answer]}")
    worst = max(float(np.abs(a - b).max()) for a, b in zip(answer, expected, strict=True))
    if not worst <= _TOLERANCE * max(1, len(expected[0])):
        raise ArithmeticError(f"a contender's numbers differ from ours by {worst}")
    return worst


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
    times = [value for values in interleave({"": timer(step)}, 7).values() for value in values]
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
