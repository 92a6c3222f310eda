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
from qhybrid.seeds import plain_generator

Floats = NDArray[np.float32]
Answer = tuple[Any, Any, Any]
"""Outputs (B, n), gradient by inputs (B, n), gradient by weights (W,)."""


@dataclass(frozen=True)
class Problem:
    """One size: RY(x) encoding, layers of RY, RZ and a CX ladder, all <Z_i>.

    Attributes:
        qubits: Number of qubits n of the circuit.
        layers: Number of layers of the circuit.
        inputs: Input angles in radians, float32 (B, n).
        weights: Angles of RY and RZ in radians, float32 (2 * n * layers,).
        grad_output: Gradient by each expectation value, float32 (B, n).
    """

    qubits: int
    layers: int
    inputs: Floats
    weights: Floats
    grad_output: Floats

    @classmethod
    def draw(cls, qubits: int, layers: int, batch: int) -> Problem:
        """Random angles, the same for everybody.

        Args:
            qubits: Number of qubits of the circuit.
            layers: Number of layers of the circuit.
            batch: Number of samples.
        """
        rng = plain_generator(qubits)
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
        name: Name of the contender in the table.
        form: Way in which it computes the step: the fastest that its library offers.
        build: Function that makes the step for a problem; raises `NotPossibleError`.
        max_qubits: Largest number of qubits at which it is measured, for its time or its memory.
        one_sample: Whether it gets one sample only, its time being multiplied by the batch.
    """

    name: str
    form: str
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

    signs = jax.numpy.asarray(z_signs(problem.qubits))

    def outputs(x: Any, w: Any) -> Any:
        circuit = tc.Circuit(problem.qubits)
        _gates(problem, lambda q: circuit.ry(q, theta=x[q]), circuit.ry, circuit.rz, circuit.cnot, w)
        # One `expectation_ps` per qubit takes 4 to 6 times as long at 12 and 16 qubits.
        return jax.numpy.abs(circuit.state()) ** 2 @ signs

    return _jax_step(jax, jax.vmap(outputs, in_axes=(0, None)), problem)


def _jax_step(jax: Any, outputs: Callable[[Any, Any], Any], problem: Problem) -> Callable[[], Answer]:
    """A jitted step of outputs (B, n) of inputs (B, n) and weights (W,)."""

    def loss(x: Any, w: Any, g: Any) -> Any:
        result = outputs(x, w)
        return (g * result).sum(), result

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    arguments = [jax.numpy.asarray(a) for a in (problem.inputs, problem.weights, problem.grad_output)]

    def step() -> Answer:
        (_, result), (by_x, by_w) = compiled(*arguments)
        jax.block_until_ready((result, by_x, by_w))
        return result, by_x, by_w

    return step


def _pennylane_jax(problem: Problem) -> Callable[[], Answer]:
    jax, qml = _peer("jax"), _peer("pennylane")

    @qml.qnode(qml.device("default.qubit", wires=problem.qubits), interface="jax", diff_method="backprop")  # type: ignore[untyped-decorator,unused-ignore]
    def probabilities(x: Any, w: Any) -> Any:
        _pennylane_gates(qml, problem, x, w)
        return qml.probs(wires=range(problem.qubits))

    # Wire 0 is the leading bit.
    signs = jax.numpy.asarray(z_signs(problem.qubits))
    return _jax_step(jax, lambda x, w: probabilities(x, w) @ signs, problem)


def _pennylane_gates(qml: Any, problem: Problem, x: Any, w: Any) -> None:
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


def _deepquantum(problem: Problem) -> Callable[[], Answer]:
    """DeepQuantum by its batched circuit: inputs are data, and the <Z_i> come from one state."""
    dq = _peer("deepquantum")
    n, weights = problem.qubits, torch.from_numpy(problem.weights).requires_grad_()
    inputs = torch.from_numpy(problem.inputs).requires_grad_()
    grad_output = torch.from_numpy(problem.grad_output)
    signs = torch.from_numpy(z_signs(n))
    circuit = dq.QubitCircuit(n)
    _gates(
        problem,
        lambda q: circuit.ry(q, encode=True),
        lambda q, theta: circuit.ry(q, encode=True),
        lambda q, theta: circuit.rz(q, encode=True),
        circuit.cnot,
        problem.weights,
    )

    def step() -> Answer:
        inputs.grad = weights.grad = None
        # Weights as data too: its own parameters cannot be set from a vector that gradients are wanted for.
        state = circuit(data=torch.cat([inputs, weights.expand(len(inputs), -1)], dim=1)).reshape(len(inputs), -1)
        result = state.abs() ** 2 @ signs
        result.backward(grad_output)
        return result.detach(), inputs.grad, weights.grad

    return step


def _torq(problem: Problem) -> Callable[[], Answer]:
    """TorQ in its shared-unitary form: one matrix of all layers for the whole batch."""
    ops, rotations = _peer("torq.Ops"), _peer("torq.Rotations")
    controls, measure = _peer("torq.Controls"), _peer("torq.Measure")
    n, batch, layers = problem.qubits, len(problem.inputs), problem.layers
    inputs = torch.from_numpy(problem.inputs).requires_grad_()
    weights = torch.from_numpy(problem.weights).requires_grad_()
    grad_output = torch.from_numpy(problem.grad_output)
    ladder = torch.eye(2**n, dtype=torch.complex64)
    for q in range(n - 1):
        ladder = controls.get_cnot_ops(n, q, q + 1, dtype=torch.complex64, device=torch.device("cpu")) @ ladder

    def step() -> Answer:
        inputs.grad = weights.grad = None
        columns = rotations.get_ry(inputs.reshape(-1), only_first_column=True).reshape(batch, n, 2, 1)
        state = ops.multi_dim_tensor_product(*columns.unbind(dim=1)).squeeze(-1)
        unitary = None
        for angles in weights.reshape(layers, 2, n):
            gates = rotations.get_rz(angles[1]) @ rotations.get_ry(angles[0])
            layer = ladder @ ops.multi_dim_tensor_product(*gates.unbind(dim=0))
            unitary = layer if unitary is None else layer @ unitary
        result = measure.measure_local_Z(ops.apply_matrix(state, unitary))
        result.backward(grad_output)
        return result.detach(), inputs.grad, weights.grad

    return step


def z_signs(qubits: int) -> Floats:
    """Eigenvalues of every Z_i (2^n, n) for libraries whose first qubit is the leading bit."""
    states = np.arange(2**qubits)[:, None]
    return (1.0 - 2.0 * (states >> np.arange(qubits)[::-1] & 1)).astype(np.float32)


def _pennylane(device: str, method: str) -> Callable[[Problem], Callable[[], Answer]]:
    def build(problem: Problem) -> Callable[[], Answer]:
        qml = _peer("pennylane")

        @qml.qnode(qml.device(device, wires=problem.qubits), interface="torch", diff_method=method)  # type: ignore[untyped-decorator,unused-ignore]
        def outputs(x: Any, w: Any) -> Any:
            _pennylane_gates(qml, problem, x, w)
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
        Contender(OURS, "one adjoint sweep, batch in lanes", _ours),
        Contender("TensorCircuit-NG", "JAX jit, vmap, probabilities of one state", _tensorcircuit, max_qubits=16),
        # Backpropagation keeps a batch of states per gate: tens of GB at 16 qubits.
        Contender("PennyLane, JAX", "default.qubit, jit, backprop, probabilities", _pennylane_jax, max_qubits=12),
        Contender(
            "PennyLane, torch",
            "default.qubit, broadcast, backprop",
            _pennylane("default.qubit", "backprop"),
            max_qubits=12,
        ),
        Contender(
            "PennyLane lightning", "lightning.qubit, adjoint", _pennylane("lightning.qubit", "adjoint"), max_qubits=16
        ),
        # A matrix of 2^n x 2^n per layer.
        Contender("TorQ", "shared unitary", _torq, max_qubits=8),
        Contender("DeepQuantum", "batched circuit, probabilities of one state", _deepquantum, max_qubits=12),
        Contender("QuantumLayer on Aer", "one job of all shifts", _ours_on_aer, max_qubits=8),
        Contender("stock TorchConnector on Aer", "as it comes", _stock, max_qubits=8, one_sample=True),
    )
}
