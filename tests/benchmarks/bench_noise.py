"""Noise mode against its peers: forward and backward of a noisy circuit with input gradients.

RY encoding, 3 layers of RY + RZ + CX ladder, all <Z_i>, one-qubit depolarizing behind every RY and on both qubits
behind every CX. All contestants compute the same numbers, which is checked first. Repeats are interleaved, so a busy
machine hurts all alike; medians are printed. Compilation is not counted, but told. The peers come with the `bench`
extra; those that cannot be imported are left out, which is said.

    python tests/benchmarks/bench_noise.py --qubits 4 6 --json noise.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qiskit_aer.noise import NoiseModel, depolarizing_error

from qhybrid.benchmarks.layer import interleave
from qhybrid.benchmarks.peers import Answer, Problem, layer_step
from qhybrid.quantum import AerEstimator, CompiledEstimator, QuantumLayer, build_qnn
from qhybrid.quantum.circuits.ansatz import benchmark_spec
from qhybrid.quantum.engine.kernels.threads import available_threads

RATE, LAYERS = 0.02, 3
Step = Callable[[], Answer]


def noise_model() -> NoiseModel:
    one = depolarizing_error(RATE, 1)
    model = NoiseModel()
    model.add_all_qubit_quantum_error(one, ["ry"])
    model.add_all_qubit_quantum_error(one.tensor(one), ["cx"])
    return model


def our_step(problem: Problem, estimator: object) -> Step:
    spec = benchmark_spec(problem.qubits, LAYERS)
    return layer_step(QuantumLayer(build_qnn(spec, estimator), problem.weights), problem)


def tensorcircuit_step(problem: Problem) -> Step:
    import jax
    import tensorcircuit as tc

    tc.set_backend("jax")
    tc.set_dtype("complex64")
    qubits, error = problem.qubits, dict.fromkeys(("px", "py", "pz"), RATE / 4)

    def outputs(x: object, w: object) -> list[object]:
        circuit = tc.DMCircuit(qubits)
        for q in range(qubits):
            circuit.ry(q, theta=x[q])
            circuit.depolarizing(q, **error)
        for layer in range(LAYERS):
            for q in range(qubits):
                circuit.ry(q, theta=w[layer, 0, q])
                circuit.depolarizing(q, **error)
                circuit.rz(q, theta=w[layer, 1, q])
            for q in range(qubits - 1):
                circuit.cx(q, q + 1)
                circuit.depolarizing(q, **error)
                circuit.depolarizing(q + 1, **error)
        return [jax.numpy.real(circuit.expectation_ps(z=[q])) for q in range(qubits)]

    return _with_jax(outputs, problem)


def pennylane_step(problem: Problem, interface: str) -> Step:
    import pennylane as qml

    qubits, error = problem.qubits, 3 * RATE / 4

    @qml.qnode(qml.device("default.mixed", wires=qubits), interface=interface, diff_method="backprop")
    def circuit(x: object, w: object) -> list[object]:
        for q in range(qubits):
            qml.RY(x[..., q], wires=q)
            qml.DepolarizingChannel(error, wires=q)
        for layer in range(LAYERS):
            for q in range(qubits):
                qml.RY(w[layer, 0, q], wires=q)
                qml.DepolarizingChannel(error, wires=q)
                qml.RZ(w[layer, 1, q], wires=q)
            for q in range(qubits - 1):
                qml.CNOT(wires=[q, q + 1])
                qml.DepolarizingChannel(error, wires=q)
                qml.DepolarizingChannel(error, wires=q + 1)
        return [qml.expval(qml.PauliZ(q)) for q in range(qubits)]

    return _with_torch(circuit, problem) if interface == "torch" else _with_jax(circuit, problem)


def _weights(problem: Problem) -> np.ndarray:
    return problem.weights.reshape(LAYERS, 2, problem.qubits)


def _with_torch(circuit: Callable[..., list[object]], problem: Problem) -> Step:
    inputs = torch.from_numpy(problem.inputs).requires_grad_()
    weights = torch.from_numpy(_weights(problem)).requires_grad_()
    grad_output = torch.from_numpy(problem.grad_output)

    def step() -> Answer:
        inputs.grad = weights.grad = None
        out = torch.stack(list(circuit(inputs, weights)), dim=1)
        out.backward(grad_output.to(out.dtype))
        return out.detach(), inputs.grad, weights.grad

    return step


def _with_jax(circuit: Callable[..., list[object]], problem: Problem) -> Step:
    import jax

    def outputs(x: object, w: object) -> object:
        return jax.numpy.stack(list(circuit(x, w)))

    @jax.jit
    def both(x: object, w: object, g: Any) -> object:
        out, pull_back = jax.vjp(jax.vmap(outputs, in_axes=(0, None)), x, w)
        return out, *pull_back(g.astype(out.dtype))

    arrays = [jax.numpy.asarray(a) for a in (problem.inputs, _weights(problem), problem.grad_output)]
    return lambda: jax.block_until_ready(both(*arrays))


PEERS: dict[str, Callable[[Problem], Step]] = {
    "QuantumLayer, CompiledEstimator": lambda problem: our_step(problem, CompiledEstimator(noise_model())),
    "TensorCircuit-NG DMCircuit, JAX jit": tensorcircuit_step,
    "PennyLane default.mixed, torch backprop": lambda problem: pennylane_step(problem, "torch"),
    "PennyLane default.mixed, JAX jit": lambda problem: pennylane_step(problem, "jax"),
    "QuantumLayer, one Aer job of all shifts": lambda problem: our_step(problem, AerEstimator(noise_model())),
}
WANTED = {"TensorCircuit": 2, "PennyLane": 40, "Aer job": 300}


def measure(qubits: int, batch: int, repeats: int, slow_seconds: float) -> dict[str, dict[str, float]]:
    problem = Problem.draw(qubits, LAYERS, batch)
    steps: dict[str, Step] = {}
    first: dict[str, float] = {}
    reference = None
    for name, make in PEERS.items():
        try:
            step = make(problem)
        except ImportError as error:
            print(f"  left out: {name} ({error})")
            continue
        start = time.perf_counter()
        results = [np.asarray(part).reshape(-1) for part in step()]
        first[name] = time.perf_counter() - start
        reference = reference or results
        for ours, theirs in zip(reference, results, strict=True):
            np.testing.assert_allclose(theirs, ours, atol=1e-3, err_msg=name)
        steps[name] = step
    return {
        name: {
            "seconds": statistics.median(values),
            "fastest": min(values),
            "repeats": len(values),
            "first_call": first[name],
        }
        for name, values in interleave(steps, repeats, slow_seconds).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--qubits", type=int, nargs="+", default=[4, 6])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--slow-seconds", type=float, default=10.0, help="a contestant stops repeating after so long")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    record: dict[str, object] = {"batch": options.batch, "layers": LAYERS, "threads": available_threads()}
    print(f"batch {options.batch}, {LAYERS} layers, {available_threads()} threads, load {os.getloadavg()[0]:.1f}")
    for qubits in options.qubits:
        print(f"{qubits} qubits")
        rows = measure(qubits, options.batch, options.repeats, options.slow_seconds)
        ours = next(iter(rows.values()))["seconds"]
        for name, row in rows.items():
            ratio = row["seconds"] / ours
            wanted = next((f", wanted {w}" for key, w in WANTED.items() if key in name), "")
            print(
                f"  {name:42s} {1e3 * row['seconds']:10.2f} ms (fastest {1e3 * row['fastest']:.2f}, "
                f"{row['repeats']} repeats, first {row['first_call']:.1f} s)  x {ratio:.1f}{wanted}"
            )
        record[str(qubits)] = rows
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
