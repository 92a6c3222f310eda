"""How the layer's time grows, how far it is from this machine's floor, and how exact single precision is."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from qhybrid.benchmarks.layer import BATCH, LAYERS, floor, peak_memory_mb
from qhybrid.benchmarks.peers import Problem, layer_step, quantum_layer
from qhybrid.benchmarks.turns import interleave, timer
from qhybrid.quantum.circuits.ansatz import benchmark_spec
from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.engine.compiler.paulis import collect, pauli_terms
from qhybrid.quantum.engine.kernels.opcodes import BLOCK
from qhybrid.quantum.engine.statevector.circuit import CompiledCircuit
from qhybrid.seeds import plain_generator

AXES = {
    "batch": [8, 16, 32, 64, 128, 256, 512, 1024],
    "qubits": [2, 4, 6, 8, 10, 12, 14, 16, 18],
    "layers": [1, 2, 4, 8, 16, 32],
}
_QUBITS = 8
# Floating-point operations per amplitude: a block on one state (14 per amplitude); backwards on two, and three slopes.
_FORWARD_FLOPS, _BACKWARD_FLOPS = 14, 2 * 14 + 12


def grow(*, max_qubits: int = 18, repeats: int = 5, budget: float = 8.0) -> dict[str, Any]:
    """Times along each axis, the other two as in the comparison, with exponents; the machine's floor beside them.

    Args:
        max_qubits: Largest circuit that is measured.
        repeats: Measurements of each point; the median counts.
        budget: Seconds for one point.
    """
    machine = floor()
    axes: dict[str, Any] = {}
    for axis, points in AXES.items():
        rows = [
            _measure(*_sizes(axis, point), machine, repeats, budget)
            for point in points
            if axis != "qubits" or point <= max_qubits
        ]
        axes[axis] = {"rows": rows, "exponent": _exponent(axis, rows)}
    return {"floor": machine, "axes": axes, "peak_memory_mb": peak_memory_mb()}


def _sizes(axis: str, point: int) -> tuple[int, int, int]:
    return (
        point if axis == "qubits" else _QUBITS,
        point if axis == "layers" else LAYERS,
        point if axis == "batch" else BATCH,
    )


def _measure(
    qubits: int, layers: int, batch: int, machine: dict[str, float], repeats: int, budget: float
) -> dict[str, Any]:
    problem = Problem.draw(qubits, layers, batch)
    compiled = _compile(benchmark_spec(qubits, layers))
    inputs, weights = problem.inputs.astype(np.float64), problem.weights.astype(np.float64)
    grad_output = problem.grad_output.astype(np.float64)
    outputs = compiled.forward_split(inputs, weights)
    steps: dict[str, Callable[[], Any]] = {
        "step": layer_step(quantum_layer(problem), problem),
        "forward": lambda: compiled.forward_split(inputs, weights),
        "backward": lambda: compiled.vjp_split(inputs, weights, grad_output, outputs[1] if len(outputs[1]) else None),
    }
    for step in steps.values():
        step()
    times = {
        name: 1e3 * statistics.median(values)
        for name, values in interleave({name: timer(step) for name, step in steps.items()}, repeats, budget).items()
    }
    flops = _block_flops(compiled, batch)
    return {
        "qubits": qubits,
        "layers": layers,
        "batch": batch,
        "ms": times["step"],
        "forward_ms": times["forward"],
        "backward_ms": times["backward"],
        "gflop_per_s": flops / (times["forward"] + times["backward"]) / 1e6,
        "arithmetic_floor_ms": flops / machine["matmul_gflop_per_s"] / 1e6,
        "slice_mb": 3 * 2 * LANES * 4 * 2.0**qubits / 2**20,
        "kept_mb": outputs[1].nbytes / 2**20,
    }


def _compile(spec: CircuitSpec, *, double: bool = False) -> CompiledCircuit:
    observables = collect([pauli_terms(observable) for observable in spec.observables])
    return CompiledCircuit(spec.circuit, observables, [*spec.inputs, *spec.weights], double=double)


def _block_flops(compiled: CompiledCircuit, batch: int) -> float:
    """Operations in the one-qubit blocks of a forward and a backward pass, which is where the arithmetic is."""
    blocks = int(np.count_nonzero(compiled.program.ops[:, 0] == BLOCK))
    return float(blocks * 2.0**compiled.program.num_qubits * batch * (_FORWARD_FLOPS + _BACKWARD_FLOPS))


def _exponent(axis: str, rows: list[dict[str, Any]]) -> float:
    """Slope of log time by log size over the larger half; for qubits that of log2 time per qubit."""
    half = rows[len(rows) // 2 :]
    sizes = np.array([row[axis] for row in half], dtype=float)
    times = np.log2([row["ms"] for row in half])
    return float(np.polyfit(sizes if axis == "qubits" else np.log2(sizes), times, 1)[0])


def precision(
    qubits: int = 6, layers: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64), batch: int = 16
) -> list[dict[str, Any]]:
    """Worst absolute error of complex64 against complex128 over depth: outputs, and gradients for a unit gradient.

    Args:
        qubits: Qubits of the circuit.
        layers: Depths that are compared.
        batch: Random parameter vectors at each depth.
    """
    rows = []
    for depth in layers:
        spec = benchmark_spec(qubits, depth)
        rng = plain_generator(depth)
        values = rng.uniform(-np.pi, np.pi, (batch, len(spec.inputs) + len(spec.weights)))
        grad_output = rng.normal(size=(batch, qubits))
        grad_output /= np.linalg.norm(grad_output, axis=1, keepdims=True)
        single, double = _compile(spec), _compile(spec, double=True)
        outputs = single.expectations(values) - double.expectations(values)
        gradients = single.vjp(values, grad_output) - double.vjp(values, grad_output)
        rows.append(
            {"layers": depth, "outputs": float(np.abs(outputs).max()), "gradients": float(np.abs(gradients).max())}
        )
    return rows
