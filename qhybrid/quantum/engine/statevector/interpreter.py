"""The interpreter: whole circuits forwards and backwards, a slice of `LANES` samples at a time.

One slice goes through the whole circuit before the next begins, so its states stay in cache. Lanes never mix and
every sum has a fixed order, so a sample's numbers depend neither on its neighbours nor on the number of threads.
"""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.vectors import load_lane, store_lane
from qhybrid.quantum.engine.statevector.backward import start_lambda, sweep_back, write_gradient
from qhybrid.quantum.engine.statevector.blocks import prepare
from qhybrid.quantum.engine.statevector.forward import evolve, expectations, write_outputs
from qhybrid.quantum.engine.statevector.program import StateVectorProgram
from qhybrid.quantum.engine.statevector.workspace import Workspace


@kernel(lean=True, from_python=True)
def run_forward(
    program: StateVectorProgram,
    work: Workspace,
    rows: Any,
    common: Any,
    varying: Any,
    first: int,
    last: int,
    states: Any,
    out: Any,
) -> None:
    """Expectation values of slices first ... last - 1.

    Args:
        program: Arrays of the circuit.
        work: Memory of the calling thread.
        rows: First R features of each sample, (B, R) float64.
        common: Other features, which all samples share, (F - R,) float64.
        varying: Array (n_angles + n_blocks,) of 0 and 1: 1 where the angle, then the block, differs between samples.
        first: Number of the first slice.
        last: Number of the slice to stop before.
        states: Array (slices * 2 * D * LANES,) that gets the final states for `run_backward`, or (0,) to keep none.
        out: Array (B, M) float64 that gets the expectation values.
    """
    size = 2 << program.num_qubits
    for step in range(first, last):
        prepare(program, work, rows, common, varying, step * LANES, step == first)
        psi = work.spare if evolve(program, work) else work.psi
        if states.shape[0]:
            for k in range(size):
                store_lane(states, step * size + k, load_lane(psi, k))
        expectations(program, work, psi)
        write_outputs(program, work, step * LANES, out)


@kernel(lean=True, from_python=True)
def run_backward(
    program: StateVectorProgram,
    work: Workspace,
    rows: Any,
    common: Any,
    varying: Any,
    first: int,
    last: int,
    states: Any,
    gradient_out: Any,
    by_row: Any,
    by_slice: Any,
) -> None:
    """Vector-Jacobian products of slices first ... last - 1.

    Args:
        program: Arrays of the circuit.
        work: Memory of the calling thread.
        rows: First R features of each sample, (B, R) float64.
        common: Other features, which all samples share, (F - R,) float64.
        varying: Array (n_angles + n_blocks,) of 0 and 1: 1 where the angle, then the block, differs between samples.
        first: Number of the first slice.
        last: Number of the slice to stop before.
        states: Final states that `run_forward` kept, or (0,) to compute them again.
        gradient_out: Gradient by each expectation value, (B, M) float64.
        by_row: Array (B, R) float64 that gets the gradient by the samples' own features.
        by_slice: Array (slices, F - R) float64 that gets the gradient by the common features, summed over each slice.
    """
    size = 2 << program.num_qubits
    for step in range(first, last):
        prepare(program, work, rows, common, varying, step * LANES, step == first)
        psi, spare = work.psi, work.spare
        if states.shape[0]:
            for k in range(size):
                store_lane(psi, k, load_lane(states, step * size + k))
        elif evolve(program, work):
            psi, spare = spare, psi
        start_lambda(program, work, psi, step * LANES, gradient_out)
        sweep_back(program, work, psi, spare)
        write_gradient(program, work, step * LANES, by_row, by_slice, step)
