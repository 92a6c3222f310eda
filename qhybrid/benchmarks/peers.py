"""The contenders of the layer benchmark: the same circuit, batch and gradients, each the way its library does it best.

A contender's step computes all <Z_i> of all samples, and the gradient of sum(g * outputs) by inputs and weights. Peers
that are not installed (extra `bench`) or cannot hold a size say so. Nothing here is imported but by the benchmark.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qhybrid.quantum.circuits.ansatz import benchmark_spec
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn

Floats = NDArray[np.float32]
Answer = tuple[Any, Any, Any]
"""Outputs (B, n), gradient by inputs (B, n), gradient by weights (W,)."""


@dataclass(frozen=True)
class Problem:
    """One size: RY(x) encoding, layers of RY, RZ and a CX ladder, all <Z_i>."""

    qubits: int
    layers: int
    inputs: Floats
    weights: Floats
    grad_output: Floats

    @classmethod
    def draw(cls, qubits: int, layers: int, batch: int) -> Problem:
        """Random angles, the same for everybody.

        Args:
            qubits: Qubits of the circuit.
            layers: Layers of the circuit.
            batch: Number of samples.
        """
        rng = np.random.default_rng(qubits)
        return cls(
            qubits,
            layers,
            rng.uniform(-np.pi, np.pi, (batch, qubits)).astype(np.float32),
            rng.uniform(-np.pi, np.pi, 2 * qubits * layers).astype(np.float32),
            rng.normal(size=(batch, qubits)).astype(np.float32),
        )

    def first(self, count: int) -> Problem:
        """The problem with fewer samples."""
        return Problem(self.qubits, self.layers, self.inputs[:count], self.weights, self.grad_output[:count])


class NotPossibleError(Exception):
    """Why a contender does not take part; not a user's mistake."""


@dataclass(frozen=True)
class Contender:
    """A way to compute the step.

    Attributes:
        name: For the table.
        build: Makes the step for a problem; raises `NotPossibleError`.
        max_qubits: Where it is not measured any more, for its time or its memory.
        one_sample: It gets one sample, and its time is multiplied by the batch.
    """

    name: str
    build: Callable[[Problem], Callable[[], Answer]]
    max_qubits: int = 64
    one_sample: bool = False


def layer_step(layer: Any, problem: Problem) -> Callable[[], Answer]:
    """A step of any Torch module with parameter `weight`."""
    inputs = torch.from_numpy(problem.inputs).requires_grad_()
    grad_output = torch.from_numpy(problem.grad_output)

    def step() -> Answer:
        inputs.grad = layer.weight.grad = None
        outputs = layer(inputs)
        outputs.backward(grad_output)
        return outputs.detach(), inputs.grad, layer.weight.grad

    return step


def quantum_layer(problem: Problem, threads: int | None = None) -> QuantumLayer:
    """Our layer with the problem's weights."""
    spec = benchmark_spec(problem.qubits, problem.layers)
    return QuantumLayer(build_qnn(spec, CompiledEstimator(threads=threads)), problem.weights)


def _ours(problem: Problem) -> Callable[[], Answer]:
    return layer_step(quantum_layer(problem), problem)


def _ours_on_aer(problem: Problem) -> Callable[[], Answer]:
    spec = benchmark_spec(problem.qubits, problem.layers)
    return layer_step(QuantumLayer(build_qnn(spec, AerEstimator()), problem.weights), problem)


def _stock(problem: Problem) -> Callable[[], Answer]:
    """qiskit-machine-learning as it comes, but for input gradients and exact expectation values."""
    connector = importlib.import_module("qiskit_machine_learning.connectors").TorchConnector
    estimator = importlib.import_module("qiskit_aer.primitives").EstimatorV2(options={"default_precision": 0.0})
    spec = benchmark_spec(problem.qubits, problem.layers)
    return layer_step(connector(build_qnn(spec, estimator), problem.weights), problem)


def _tensorcircuit(problem: Problem) -> Callable[[], Answer]:
    jax, tc = _peer("jax"), _peer("tensorcircuit")
    tc.set_backend("jax")
    tc.set_dtype("complex64")

    def outputs(x: Any, w: Any) -> Any:
        circuit = tc.Circuit(problem.qubits)
        _gates(problem, lambda q: circuit.ry(q, theta=x[q]), circuit.ry, circuit.rz, circuit.cnot, w)
        return jax.numpy.stack([circuit.expectation_ps(z=[q]).real for q in range(problem.qubits)])

    def loss(x: Any, w: Any, g: Any) -> Any:
        result = jax.vmap(outputs, in_axes=(0, None))(x, w)
        return (g * result).sum(), result

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    arguments = [jax.numpy.asarray(a) for a in (problem.inputs, problem.weights, problem.grad_output)]

    def step() -> Answer:
        (_, result), (by_x, by_w) = compiled(*arguments)
        jax.block_until_ready((result, by_x, by_w))
        return result, by_x, by_w

    return step


def _pennylane(device: str, method: str) -> Callable[[Problem], Callable[[], Answer]]:
    def build(problem: Problem) -> Callable[[], Answer]:
        qml = _peer("pennylane")

        @qml.qnode(qml.device(device, wires=problem.qubits), interface="torch", diff_method=method)  # type: ignore[untyped-decorator,unused-ignore]
        def outputs(x: Any, w: Any) -> Any:
            def turn(gate: Any) -> Any:
                return lambda q, theta: gate(theta, wires=q)

            _gates(
                problem,
                lambda q: qml.RY(x[:, q], wires=q),
                turn(qml.RY),
                turn(qml.RZ),
                lambda a, b: qml.CNOT(wires=[a, b]),
                w,
            )
            return [qml.expval(qml.PauliZ(q)) for q in range(problem.qubits)]

        inputs = torch.from_numpy(problem.inputs).requires_grad_()
        weights = torch.from_numpy(problem.weights).requires_grad_()
        grad_output = torch.from_numpy(problem.grad_output)

        def step() -> Answer:
            inputs.grad = weights.grad = None
            result = torch.stack(outputs(inputs, weights), dim=1)
            torch.autograd.backward(result, grad_output.to(result.dtype))
            return result.detach(), inputs.grad, weights.grad

        return step

    return build


def _gates(problem: Problem, encode: Any, ry: Any, rz: Any, cx: Any, weights: Any) -> None:
    """The gates of `ansatz.benchmark_spec`, whose agreement the benchmark checks by their numbers."""
    n = problem.qubits
    for q in range(n):
        encode(q)
    for layer in range(problem.layers):
        at = 2 * n * layer
        for q in range(n):
            ry(q, theta=weights[at + q])
        for q in range(n):
            rz(q, theta=weights[at + n + q])
        for q in range(n - 1):
            cx(q, q + 1)


def _peer(name: str) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotPossibleError(f"not installed: {error.name or name} (pip install 'qhybrid[bench]')") from None


OURS = "QuantumLayer"
CONTENDERS: Mapping[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender(OURS, _ours),
        Contender("TensorCircuit-NG, JAX jit", _tensorcircuit, max_qubits=16),
        # Backpropagation keeps a batch of states per gate: tens of GB at 16 qubits.
        Contender("PennyLane default.qubit backprop", _pennylane("default.qubit", "backprop"), max_qubits=12),
        Contender("PennyLane lightning adjoint", _pennylane("lightning.qubit", "adjoint"), max_qubits=16),
        Contender("QuantumLayer on Aer", _ours_on_aer, max_qubits=8),
        Contender("stock TorchConnector on Aer", _stock, max_qubits=8, one_sample=True),
    )
}
