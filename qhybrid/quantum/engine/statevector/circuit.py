"""A circuit compiled for exact expectation values and their vector-Jacobian products.

Design: the circuit becomes fixed gates and Pauli rotations (`lowering`), loses what no observable sees
(`heisenberg`), and is written down as arrays (`program`) for kernels that are compiled once and serve all circuits
(`kernels`, `gates`). The batch is cut into slices of `LANES` samples; threads take whole slices. Backwards, the
adjoint method undoes gate after gate on psi and lambda, so memory does not grow with depth; the final states are kept
from the forward pass while they fit `STATE_BUDGET`, and computed again beyond.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.feasibility import LANES, require_feasible
from qhybrid.quantum.engine.compiler.absorption import absorb, drop_idle_qubits
from qhybrid.quantum.engine.compiler.angles import Features, joined
from qhybrid.quantum.engine.compiler.lowering import Rotation, lower
from qhybrid.quantum.engine.compiler.paulis import Observables
from qhybrid.quantum.engine.kernels.threads import available_threads, in_threads
from qhybrid.quantum.engine.statevector.interpreter import run_backward, run_forward
from qhybrid.quantum.engine.statevector.program import StateVectorProgram, assemble
from qhybrid.quantum.engine.statevector.tensors import TorchCircuit
from qhybrid.quantum.engine.statevector.varying import varying_parts
from qhybrid.quantum.engine.statevector.workspace import Workspace, make_workspace

Array = NDArray[np.float64]

STATE_BUDGET = 512 * 2**20
"""Bytes of final states that are kept between the forward and the backward pass."""
_WORK_PER_THREAD = 100_000
"""Amplitude updates (of one slice) below which another thread costs more than it gives: about 0.2 ms. On a busy machine
waiting for a second thread takes longer than that."""

Engine = Literal["auto", "torch"]
"""`auto` is the kernels on a CPU and PyTorch on a CUDA device; `torch` is PyTorch on both."""

_NONE = np.empty(0)
_CPU = torch.device("cpu")


class CompiledCircuit:
    """Exact expectation values of one circuit and set of observables, for batches of parameter values.

    Immutable and safe to use from several threads; `copy.deepcopy` returns the same object.

    Attributes:
        parameters: Order of the columns of `values`.
        program: The arrays that the kernels read.
        influential: Columns of the parameters that some observable depends on structurally; the gradient with
            respect to all others is zero, exactly and everywhere.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        observables: Observables,
        parameters: Sequence[Parameter],
        *,
        double: bool = False,
        threads: int | None = None,
        engine: Engine = "auto",
    ) -> None:
        """Compile.

        Args:
            circuit: Unitary circuit of any gates that Qiskit defines.
            observables: Pauli terms of the observables (`paulis.collect`).
            parameters: All parameters of the circuit, in the order of the value columns.
            double: Whether to compute in complex128 instead of complex64.
            threads: Largest number of threads; by default one per available core.
            engine: What computes on a CPU.

        Raises:
            CircuitError: The circuit cannot be simulated exactly.
        """
        self.parameters = tuple(parameters)
        self._features = Features(parameters)
        ops, reduced = absorb(lower(circuit, self._features), observables)
        qubits, reduced = drop_idle_qubits(ops, reduced)
        require_feasible(max(len(qubits), 1), LANES)
        self._real: type[np.floating] = np.float64 if double else np.float32
        # A circuit whose gates are all absorbed keeps one idle qubit, so that kernels need no case for none.
        self.program: StateVectorProgram = assemble(ops, qubits or [0], reduced, self._real)
        self.num_outputs = len(observables.coefficients)
        self.influential: frozenset[int] = frozenset().union(
            *(self._features.parameters_of(op.angle) for op in ops if isinstance(op, Rotation))
        )
        self._threads = threads or available_threads()
        self._engine = engine
        self._on: dict[torch.device, TorchCircuit] = {}
        self._local = threading.local()
        self._varying: dict[int, NDArray[np.int64]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledCircuit:
        return self

    def expectations(self, values: Array, *, shared: int = 0) -> Array:
        """Expectation values.

        Args:
            values: Parameter values in radians, float64 (B, P).
            shared: Number of last columns that are equal in all rows (weights), which saves work; not checked.

        Returns:
            Expectation values (B, M) float64.
        """
        return self.forward(values, shared=shared, keep=False)[0]

    def forward(self, values: Array, *, shared: int = 0, keep: bool = True) -> tuple[Array, NDArray[Any]]:
        """Expectation values (B, M) and what `vjp` can reuse of this pass.

        Args:
            values: Parameter values in radians, float64 `(B, P)`.
            shared: How many of the last parameters are the same for all samples.
            keep: Whether states are kept for `vjp`.
        """
        return self._forward(self._features_of(values), _NONE, self._varying_of(shared), keep)

    def vjp(self, values: Array, grad_output: Array, *, shared: int = 0, states: NDArray[Any] | None = None) -> Array:
        """Vector-Jacobian product: gradient of sum(grad_output * expectations(values)), one row per sample.

        Args:
            values: Parameter values in radians, float64 (B, P).
            grad_output: Gradient by each expectation value, (B, M).
            shared: Number of last columns that are equal in all rows (weights), which saves work; not checked.
            states: States that `forward` returned for the same values; `None` computes them again.

        Returns:
            Gradient by parameter and sample, (B, P) float64; sum the rows for the gradient of a parameter that all
            samples share.

        Raises:
            CircuitError: A shape does not fit.
        """
        features = self._features_of(values)
        gradient, _ = self._backward(features, _NONE, self._varying_of(shared), grad_output, states)
        return self._features.pull_back(np.asarray(values, dtype=np.float64), gradient)

    def forward_split(self, inputs: Array, weights: Array, *, keep: bool = True) -> tuple[Array, NDArray[Any]]:
        """`forward` for parameters of which the first differ between samples and the last are common to all.

        Args:
            inputs: Values in radians of the parameters that differ between samples, (B, P - W) float64.
            weights: Values in radians of the parameters that all samples share, (W,) float64.
            keep: Whether to return what `vjp_split` can reuse.

        Returns:
            Expectation values (B, M) float64, and the final states.
        """
        rows, common = self._split(inputs, weights)
        return self._forward(rows, common, self._varying_of(len(weights)), keep)

    def vjp_split(
        self, inputs: Array, weights: Array, grad_output: Array, states: NDArray[Any] | None = None
    ) -> tuple[Array, Array]:
        """Vector-Jacobian product as of `vjp`, for parameters split into inputs and weights.

        Args:
            inputs: Values in radians of the parameters that differ between samples, `(B, P - W)`.
            weights: Values in radians of the parameters that all samples share, `(W,)`.
            grad_output: Gradient by each expectation value, `(B, M)`.
            states: States that `forward_split` returned beside the values; `None` computes them again.

        Returns:
            Gradient by inputs (B, P - W) and by weights (W,), the latter summed over the samples in double precision
            and in their order, so that it does not depend on the number of threads.
        """
        rows, common = self._split(inputs, weights)
        by_row, by_slice = self._backward(rows, common, self._varying_of(len(weights)), grad_output, states)
        if self._features.linear:
            return by_row, by_slice.sum(axis=0)
        gradient = self._features.pull_back(joined(inputs, weights), by_row)
        return gradient[:, : inputs.shape[1]], gradient[:, inputs.shape[1] :].sum(axis=0)

    def in_tensors(self, device: torch.device) -> TorchCircuit | None:
        """The circuit for tensors on a device, where PyTorch computes it; None where the compiled kernels do."""
        if device.type != "cuda" and self._engine == "auto":
            return None
        if device not in self._on:
            self._on[device] = TorchCircuit(self.program, self._features, device)
        return self._on[device]

    def _forward(
        self, rows: Array, common: Array, varying: NDArray[np.int64], keep: bool
    ) -> tuple[Array, NDArray[Any]]:
        if tensors := self.in_tensors(_CPU):
            outputs, _ = tensors.forward(torch.from_numpy(joined(rows, common)))
            return outputs.double().numpy(), np.empty(0, dtype=self._real)
        out = np.empty((len(rows), self.num_outputs))
        slices = -(-len(rows) // LANES)
        size = slices * 2 * LANES * 2**self.program.num_qubits
        keep = keep and size * np.dtype(self._real).itemsize <= STATE_BUDGET
        states = np.empty(size if keep else 0, dtype=self._real)
        self._in_threads(
            slices, False, lambda a, b, work: run_forward(self.program, work, rows, common, varying, a, b, states, out)
        )
        return out, states

    def _backward(
        self,
        rows: Array,
        common: Array,
        varying: NDArray[np.int64],
        grad_output: Array,
        states: NDArray[Any] | None,
    ) -> tuple[Array, Array]:
        if grad_output.shape != (len(rows), self.num_outputs):
            raise CircuitError(
                f"gradient of shape {grad_output.shape}, expected {(len(rows), self.num_outputs)}: one row per "
                "sample, one column per observable"
            )
        if tensors := self.in_tensors(_CPU):
            gradient = tensors.vjp(torch.from_numpy(joined(rows, common)), torch.from_numpy(grad_output)).numpy()
            return gradient[:, : rows.shape[1]], gradient[:, rows.shape[1] :]
        out = np.ascontiguousarray(grad_output, dtype=np.float64)
        slices = -(-len(rows) // LANES)
        by_row, by_slice = np.empty_like(rows), np.empty((slices, len(common)))
        kept = np.empty(0, dtype=self._real) if states is None else states
        self._in_threads(
            slices,
            True,
            lambda a, b, work: run_backward(
                self.program, work, rows, common, varying, a, b, kept, out, by_row, by_slice
            ),
        )
        return by_row, by_slice

    def _split(self, inputs: Array, weights: Array) -> tuple[Array, Array]:
        """Features of each sample and common ones; a nonlinear feature may depend on both and goes to the former."""
        if inputs.ndim != 2 or inputs.shape[1] + len(weights) != len(self.parameters):
            raise CircuitError(
                f"inputs of shape {inputs.shape} and {len(weights)} weights: the circuit has {len(self.parameters)} "
                "parameters"
            )
        if self._features.linear:
            return np.ascontiguousarray(inputs, dtype=np.float64), np.ascontiguousarray(weights, dtype=np.float64)
        return self._features_of(joined(inputs, weights)), _NONE

    def _features_of(self, values: Array) -> Array:
        if values.ndim != 2 or values.shape[1] != len(self.parameters):
            raise CircuitError(
                f"parameter values of shape {values.shape}: expected (batch, {len(self.parameters)}), one column per "
                "parameter"
            )
        return self._features.values(np.ascontiguousarray(values, dtype=np.float64))

    def _varying_of(self, shared: int) -> NDArray[np.int64]:
        """Which angles and blocks differ between samples if the last `shared` parameters do not."""
        if shared not in self._varying:
            self._varying[shared] = varying_parts(self.program, self._features, shared)
        return self._varying[shared]

    def _in_threads(self, slices: int, backward: bool, run: Callable[[int, int, Workspace], None]) -> None:
        work = slices * 2**self.program.num_qubits * (len(self.program.ops) + 1) * (4 if backward else 1)
        threads = max(1, min(self._threads, slices, work // _WORK_PER_THREAD))
        in_threads(slices, threads, lambda first, last: run(first, last, self._workspace(backward)))

    def _workspace(self, backward: bool) -> Workspace:
        """This thread's memory for this circuit."""
        found: Workspace | None = getattr(self._local, "work", None)
        if found is None or (backward and not self._local.backward):
            found = make_workspace(self.program, self._real, backward=backward)
            self._local.work, self._local.backward = found, backward
        return found
