"""The layer benchmark as tables and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qhybrid.benchmarks.growth import grow, precision
from qhybrid.benchmarks.layer import BATCH, LAYERS, compare, environment, first_steps
from qhybrid.benchmarks.peers import OURS
from qhybrid.errors import ConfigError
from qhybrid.files import check_writable, write_json


def measure_layer(
    qubits: str,
    *,
    peers: bool,
    growth: bool,
    repeats: int,
    budget: float,
    json_file: Path | None,
    echo: Callable[[str], None],
) -> dict[str, Any]:
    """Measure, print and write.

    Args:
        qubits: Numbers of qubits, separated by commas.
        peers: Whether other libraries than `QuantumLayer` take part.
        growth: Whether to measure growth and precision too.
        repeats: Number of interleaved rounds.
        budget: Seconds for one contender at one size.
        json_file: JSON file that all numbers are written to; `None` writes none.
        echo: Function that is called with each line of the tables.

    Raises:
        ConfigError: `qubits` is not a list of positive numbers.
        RunDirectoryError: `json_file` cannot be written.
    """
    sizes = [int(part) if part.strip().isdigit() else 0 for part in qubits.split(",")]
    if min(sizes) < 1:
        raise ConfigError(f"--qubits {qubits}: give positive numbers separated by commas, e.g. 4,8")
    if json_file is not None:
        # Better known before the minutes of measuring.
        check_writable(json_file.parent)
    result: dict[str, Any] = {"environment": environment(), "repeats": repeats}
    result["comparison"] = []
    for line in heading_lines(result):
        echo(line)
    for row in compare(sizes, peers=peers, repeats=repeats, budget=budget):
        result["comparison"].append(row)
        for line in row_lines(row):
            echo(line)
    first = result["first_steps"] = first_steps()
    echo(f"first step in a new process: {first['cold_s']:.1f} s cold, {first['warm_s']:.2f} s warm")
    if growth:
        result["growth"], result["precision"] = grow(), precision()
        for line in ["", *growth_lines(result)]:
            echo(line)
    if json_file is not None:
        write_json(json_file, result)
        echo(f"written: {json_file}")
    return result


def heading_lines(result: dict[str, Any]) -> list[str]:
    """What is compared, and the names of the columns."""
    where = result["environment"]
    return [
        f"forward + backward with input gradients, batch {BATCH}: RY encoding, {LAYERS} x [RY, RZ, CX ladder], all <Z>",
        f"{where['threads']} threads, torch {where['torch_threads']}, {where['cores']} cores, load "
        f"{where['load_average']:.1f}; medians of at most {result['repeats']} rounds, compiled before",
        "every contender in a process of its own, the processes taking turns",
        "",
        f"{'qubits':>6}  {'contender':<32} {'ms':>12} {'times ours':>11} {'rounds':>6}  {'difference':>10}  form",
    ]


def row_lines(row: dict[str, Any]) -> list[str]:
    """One size of the comparison."""
    ours = row["contenders"][OURS]["ms"]
    lines = []
    for name, entry in row["contenders"].items():
        head = f"{row['qubits']:>6}  {name:<32} "
        if "reason" in entry:
            lines.append(f"{head}{entry['reason']}")
            continue
        times = f"{entry['ms']:>12.3f} {entry['ms'] / ours:>11.1f} {entry['rounds']:>6}"
        note = f", one sample, times {entry['scaled_by']}" if entry["scaled_by"] > 1 else ""
        lines.append(f"{head}{times}  {entry['error']:>10.1e}  {entry['form']}{note}")
    return lines


def growth_lines(result: dict[str, Any]) -> list[str]:
    """Growth and precision as tables."""
    machine = result["growth"]["floor"]
    lines = [
        "floor of this machine: "
        f"memory {machine['memory_gb_per_s']:.0f} GB/s, in cache {machine['cache_gb_per_s']:.0f} GB/s, "
        f"matrix product {machine['matmul_gflop_per_s']:.0f} GFLOP/s",
        "",
        f"{'qubits':>6} {'layers':>6} {'batch':>6} {'step ms':>10} {'forward':>10} {'backward':>10} {'torch':>8} "
        f"{'GFLOP/s':>8} {'floor ms':>9} {'slice MB':>9} {'kept MB':>8}",
    ]
    for axis, part in result["growth"]["axes"].items():
        for row in part["rows"]:
            rest = max(0.0, row["ms"] - row["forward_ms"] - row["backward_ms"])
            lines.append(
                f"{row['qubits']:>6} {row['layers']:>6} {row['batch']:>6} {row['ms']:>10.3f} "
                f"{row['forward_ms']:>10.3f} {row['backward_ms']:>10.3f} {rest:>8.3f} {row['gflop_per_s']:>8.1f} "
                f"{row['arithmetic_floor_ms']:>9.3f} {row['slice_mb']:>9.3f} {row['kept_mb']:>8.2f}"
            )
        law = f"2^({part['exponent']:.2f} n)" if axis == "qubits" else f"{axis}^{part['exponent']:.2f}"
        lines += [f"time grows with {axis} as {law} (larger half)", ""]
    lines.append(f"peak memory of the process: {result['growth']['peak_memory_mb']:.0f} MB")
    lines += ["", f"{'layers':>6} {'error of outputs':>17} {'of gradients':>13}   complex64 against complex128"]
    lines += [f"{row['layers']:>6} {row['outputs']:>17.1e} {row['gradients']:>13.1e}" for row in result["precision"]]
    return lines
