"""A noisy circuit compiled for exact expectation values and their vector-Jacobian products.

The density matrix is followed in Pauli coefficients (`channels`): 4^n real numbers per sample, rotations and one-qubit
noise are affine maps of one Bloch vector, a ladder of CX with Pauli noise is one permutation. As in `compiled`, the
batch is cut into slices of `LANES` samples and threads take whole slices.

Noise cannot be undone, so going backwards needs the states of the way forward. They are kept for the whole batch while
they fit `TAPE_BUDGET`. Beyond, each slice is computed again: at once while its states fit the cache, otherwise in
segments, so that a thread holds about 2 sqrt(L) states of a slice for L operations (8 qubits: 2 MiB each).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.feasibility import LANES, require_feasible_under_noise
from qhybrid.quantum.engine.compiler.absorption import drop_idle_qubits
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.compiler.lowering import Rotation
from qhybrid.quantum.engine.compiler.paulis import Observables
from qhybrid.quantum.engine.density.interpreter import density_backward, density_forward
from qhybrid.quantum.engine.density.program import DensityProgram, assemble_density
from qhybrid.quantum.engine.density.workspace import DensityWorkspace, make_density_workspace
from qhybrid.quantum.engine.kernels.threads import available_threads, in_threads
from qhybrid.quantum.engine.statevector.varying import varying_parts
from qhybrid.quantum.noise.channels import NoisyOp, absorb_channels, merge_channels

Array = NDArray[np.float64]

TAPE_BUDGET = 2 * 2**20
"""Bytes of states of the whole batch that are kept between the forward and the backward pass."""
SLICE_BUDGET = 8 * 2**20
"""Bytes of states of one slice up to which no segments are made."""
_WORK_PER_THREAD = 300_000
"""Coefficient updates (of one slice) below which another thread costs more than it gives."""


class DensityCircuit:
    """Exact expectation values of a noisy circuit, with the interface of `compiled.CompiledCircuit`.

    Immutable and safe to use from several threads; `copy.deepcopy` returns the same object.

    Attributes:
        program: The arrays that the kernels read.
        influential: Columns of the parameters that some observable depends on structurally.
    """

    def __init__(
        self,
        ops: Sequence[NoisyOp],
        features: Features,
        observables: Observables,
        *,
        double: bool = False,
        threads: int | None = None,
        qubits: Sequence[int] | None = None,
    ) -> None:
        """Compile.

        Args:
            ops: Rotations and channels (`gate_noise.noisy_ops`).
            features: Columns that the angles are linear in.
            observables: Pauli terms, as they are measured (`measurement.Measurement.fold`).
            double: Whether to compute in float64 instead of float32.
            threads: Largest number of threads; by default one per available core.
            qubits: Follow these qubits to the end of the circuit, for `final_states`; by default those, and that much
                of the circuit, that the observables need.

        Raises:
            CircuitError: More qubits in use than density matrices are followed for.
        """
        self._features = features
        reduced = observables
        if qubits is None:
            ops, reduced = absorb_channels(ops, observables)
            qubits, reduced = drop_idle_qubits(ops, reduced)  # type: ignore[arg-type]  # only `.qubits` is read
        require_feasible_under_noise(len(qubits))
        self._real: type[np.floating] = np.float64 if double else np.float32
        self.program: DensityProgram = assemble_density(merge_channels(ops), qubits or [0], reduced, self._real)
        self.num_outputs = len(observables.coefficients)
        self.influential: frozenset[int] = frozenset().union(
            *(features.parameters_of(op.angle) for op in ops if isinstance(op, Rotation))
        )
        self._threads = threads or available_threads()
        self._local = threading.local()
        self._varying: dict[int, NDArray[np.int64]] = {}
        self._row = LANES << 2 * self.program.num_qubits
        self._bounds = self._segments()

    def __deepcopy__(self, memo: dict[int, Any]) -> DensityCircuit:
        return self

    def expectations(self, values: Array, *, shared: int = 0) -> Array:
        """Expectation values (B, M) float64 at parameter values (B, P); see `CompiledCircuit.expectations`."""
        return self.forward(values, shared=shared, keep=False)[0]

    def forward(self, values: Array, *, shared: int = 0, keep: bool = True) -> tuple[Array, NDArray[Any]]:
        """Expectation values (B, M) and what `vjp` can reuse of this pass, if it is not too much.

        Args:
            values: Parameter values in radians, float64 `(B, P)`.
            shared: How many of the last parameters are the same for all samples.
            keep: Whether states are kept for `vjp`.
        """
        features = self._features_of(values)
        slices, slots = -(-len(values) // LANES), len(self.program.ops) + 1
        keep = keep and slices * slots * self._row * np.dtype(self._real).itemsize <= TAPE_BUDGET
        kept = np.empty((slices, slots, self._row) if keep else (0, 1, 1), dtype=self._real)
        return self._run_forward(features, shared, kept, np.empty((0, 1), dtype=self._real)), kept

    def final_states(self, values: Array, *, shared: int = 0) -> NDArray[Any]:
        """Pauli coefficients (B, 4^n) of the final states; see `channels` for their order."""
        features = self._features_of(values)
        slices = -(-len(values) // LANES)
        finals = np.empty((slices, self._row), dtype=self._real)
        self._run_forward(features, shared, np.empty((0, 1, 1), dtype=self._real), finals)
        by_sample = finals.reshape(slices, -1, LANES).transpose(0, 2, 1)
        return by_sample.reshape(slices * LANES, -1)[: len(values)]

    def vjp(self, values: Array, grad_output: Array, *, shared: int = 0, states: NDArray[Any] | None = None) -> Array:
        """Gradient (B, P) of sum(grad_output * expectations(values)), one row per sample; see `CompiledCircuit.vjp`.

        Args:
            values: Parameter values in radians, float64 `(B, P)`.
            grad_output: Gradient by each expectation value, `(B, M)`.
            shared: How many of the last parameters are the same for all samples.
            states: States that `forward` returned beside the values; `None` computes them again.

        Raises:
            CircuitError: The gradient has another shape.
        """
        features = self._features_of(values)
        if grad_output.shape != (len(values), self.num_outputs):
            raise CircuitError(
                f"gradient of shape {grad_output.shape}, expected {(len(values), self.num_outputs)}: one row per "
                "sample, one column per observable"
            )
        out = np.ascontiguousarray(grad_output, dtype=np.float64)
        gradient = np.empty_like(features)
        kept = np.empty((0, 1, 1), dtype=self._real) if states is None else states
        bounds = self._bounds if states is None else np.array([0, len(self.program.ops)])
        varying = self._varying_of(shared)

        def run(first: int, last: int) -> None:
            work = self._workspace(backward=True, tape=states is None)
            density_backward(self.program, work, features, varying, first, last, bounds, kept, out, gradient)

        self._in_threads(-(-len(values) // LANES), 4, run)
        return self._features.pull_back(np.asarray(values, dtype=np.float64), gradient)

    def _run_forward(self, features: Array, shared: int, kept: NDArray[Any], finals: NDArray[Any]) -> Array:
        out = np.empty((len(features), self.num_outputs))
        varying = self._varying_of(shared)

        def run(first: int, last: int) -> None:
            work = self._workspace(backward=False, tape=False)
            density_forward(self.program, work, features, varying, first, last, kept, finals, out)

        self._in_threads(-(-len(features) // LANES), 1, run)
        return out

    def _features_of(self, values: Array) -> Array:
        count = len(self._features.parameters)
        if values.ndim != 2 or values.shape[1] != count:
            raise CircuitError(
                f"parameter values of shape {values.shape}: expected (batch, {count}), one column per parameter"
            )
        return self._features.values(np.ascontiguousarray(values, dtype=np.float64))

    def _varying_of(self, shared: int) -> NDArray[np.int64]:
        """Which angles and blocks differ between samples if the last `shared` parameters do not."""
        if shared not in self._varying:
            self._varying[shared] = varying_parts(self.program, self._features, shared)
        return self._varying[shared]

    def _segments(self) -> NDArray[np.int64]:
        count = len(self.program.ops)
        whole = (count + 1) * self._row * np.dtype(self._real).itemsize <= SLICE_BUDGET
        segments = 1 if whole else max(1, math.isqrt(count))
        return np.array([count * k // segments for k in range(segments + 1)], dtype=np.int64)

    def _in_threads(self, slices: int, passes: int, run: Callable[[int, int], None]) -> None:
        work = slices * (self._row // LANES) * (len(self.program.ops) + 1) * passes
        threads = max(1, min(self._threads, slices, work // _WORK_PER_THREAD))
        in_threads(slices, threads, run)

    def _workspace(self, *, backward: bool, tape: bool) -> DensityWorkspace:
        """This thread's memory for this circuit."""
        wanted = (1 + tape) if backward else 0
        if getattr(self._local, "level", -1) < wanted:
            segments = len(self._bounds) - 1
            slots = int(np.diff(self._bounds).max()) + 1 if wanted == 2 else wanted
            self._local.work = make_density_workspace(self.program, self._real, slots, segments)
            self._local.level = wanted
        work: DensityWorkspace = self._local.work
        return work
