"""Whole noisy circuits forwards and backwards, a slice of `LANES` samples at a time.

Lanes never mix and every sum has a fixed order, so a sample's numbers depend neither on its neighbours nor on the
number of threads.
"""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.density.gates import (
    affine,
    affine_back,
    sparse,
    sparse_back,
    table,
    table_back,
    turn,
    turn_back,
)
from qhybrid.quantum.engine.density.maps import (
    distribute,
    map_of,
    prepare,
    product_back,
    product_state,
)
from qhybrid.quantum.engine.density.program import BLOCK, ROTATE, TABLE, DensityProgram
from qhybrid.quantum.engine.density.workspace import DensityWorkspace
from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.vectors import add_lane


@kernel(from_python=True)
def density_forward(
    program: DensityProgram,
    work: DensityWorkspace,
    values: Any,
    varying: Any,
    first: int,
    last: int,
    kept: Any,
    finals: Any,
    out: Any,
) -> None:
    """Expectation values of slices first ... last - 1.

    Args:
        program: Arrays of the circuit.
        work: Memory of the calling thread.
        values: Features of each sample, (B, F) float64.
        varying: Array (n_angles + n_blocks,) of 0 and 1: 1 where the angle, then the block, differs between samples.
        first: Number of the first slice.
        last: Number of the slice to stop before.
        kept: Array (slices, n_ops + 1, D * LANES) that gets the states for `density_backward`, or (0, ...) to keep
            none.
        finals: Array (slices, D * LANES) that gets the final states, or (0, ...) to keep none.
        out: Array (B, M) float64 that gets the expectation values.
    """
    count = program.ops.shape[0]
    for step in range(first, last):
        prepare(program, work, values, varying, step * LANES, step == first)
        states = kept[step] if kept.shape[0] else work.states
        product_state(program, work, states[0])
        slot = _evolve(program, work, states, 0, count)
        if finals.shape[0]:
            finals[step] = states[slot]
        _write_outputs(program, states[slot], step * LANES, out)


@kernel(from_python=True)
def density_backward(
    program: DensityProgram,
    work: DensityWorkspace,
    values: Any,
    varying: Any,
    first: int,
    last: int,
    bounds: Any,
    kept: Any,
    gradient_out: Any,
    gradient: Any,
) -> None:
    """Vector-Jacobian products of slices first ... last - 1.

    Args:
        program: Arrays of the circuit.
        work: Memory of the calling thread.
        values: Features of each sample, (B, F) float64.
        varying: Array (n_angles + n_blocks,) of 0 and 1: 1 where the angle, then the block, differs between samples.
        first: Number of the first slice.
        last: Number of the slice to stop before.
        bounds: Operations at which segments begin, and the number of operations; states before each operation are
            computed again segment by segment.
        kept: States (slices, n_ops + 1, D * LANES) that `density_forward` kept, which needs a single segment, or
            (0, ...) if none were kept.
        gradient_out: Gradient by each expectation value, (B, M) float64.
        gradient: Array (B, F) float64 that gets the gradient by the features.
    """
    segments = bounds.shape[0] - 1
    for step in range(first, last):
        prepare(program, work, values, varying, step * LANES, step == first)
        work.angle_slopes[:] = work.angle_slopes.dtype.type(0.0)
        if segments > 1:
            product_state(program, work, work.states[0])
            slot = 0
            for segment in range(segments):
                work.marks[segment] = work.states[slot]
                work.states[0] = work.states[slot]
                if segment + 1 < segments:
                    slot = _evolve(program, work, work.states, bounds[segment], bounds[segment + 1])
        _start_lambda(program, work, step * LANES, gradient_out)
        side = 0
        for segment in range(segments - 1, -1, -1):
            tape = kept[step] if kept.shape[0] else work.tape
            if not kept.shape[0]:
                if segments > 1:
                    tape[0] = work.marks[segment]
                else:
                    product_state(program, work, tape[0])
                _evolve(program, work, tape, bounds[segment], bounds[segment + 1])
            side = _sweep_back(program, work, tape, bounds[segment], bounds[segment + 1], side)
            if segment == 0:
                product_back(program, work, tape[0], work.lam[side])
        _write_gradient(program, work, step * LANES, gradient)


@kernel()
def _evolve(program: DensityProgram, work: DensityWorkspace, states: Any, first: int, last: int) -> int:
    """Operations first ... last - 1 from `states[0]`, one row further each, around the end; returns the last row."""
    dim = 1 << 2 * program.num_qubits
    slot = 0
    for index in range(first, last):
        op = program.ops[index]
        after = (slot + 1) % states.shape[0]
        if op[0] == BLOCK:
            unital = program.unital[op[2]] == 1
            affine(states[slot], states[after], dim, op[1], work.maps, map_of(program, op[2]), unital)
        elif op[0] == ROTATE:
            turn(states[slot], states[after], dim, program.pairs[op[2]], work.trig, 2 * op[1])
        elif op[0] == TABLE:
            table(states[slot], states[after], dim, program.table_source[op[1]], program.table_factor[op[1]])
        else:
            rows, qubits = program.sparse_row[op[1]], program.sparse_qubits[op[3] :]
            sparse(states[slot], states[after], dim, rows, program.sparse_column, program.sparse_value, qubits, op[2])
        slot = after
    return slot


@kernel()
def _write_outputs(program: DensityProgram, state: Any, sample: int, out: Any) -> None:
    for lane in range(min(LANES, out.shape[0] - sample)):
        for m in range(program.obs_constant.shape[0]):
            value = program.obs_constant[m]
            for k in range(program.obs_start[m], program.obs_start[m + 1]):
                value += program.obs_coefficient[k] * state[program.obs_term[program.obs_index[k]] * LANES + lane]
            out[sample + lane, m] = value


@kernel()
def _start_lambda(program: DensityProgram, work: DensityWorkspace, sample: int, gradient_out: Any) -> None:
    lam = work.lam[0]
    real = lam.dtype.type
    lam[:] = real(0.0)
    for lane in range(LANES):
        row = min(sample + lane, gradient_out.shape[0] - 1)
        for m in range(program.obs_constant.shape[0]):
            for k in range(program.obs_start[m], program.obs_start[m + 1]):
                at = program.obs_term[program.obs_index[k]] * LANES + lane
                lam[at] += real(program.obs_coefficient[k] * gradient_out[row, m])


@kernel()
def _sweep_back(program: DensityProgram, work: DensityWorkspace, tape: Any, first: int, last: int, side: int) -> int:
    """Lambda back through operations last - 1 ... first; returns which of `work.lam` holds it."""
    dim = 1 << 2 * program.num_qubits
    for index in range(last - 1, first - 1, -1):
        op = program.ops[index]
        before, lam, other = tape[index - first], work.lam[side], work.lam[1 - side]
        if op[0] == BLOCK:
            unital = program.unital[op[2]] == 1
            affine_back(before, lam, dim, op[1], work.maps, map_of(program, op[2]), unital, work.slopes)
            distribute(program, work, op[2])
        elif op[0] == ROTATE:
            slope = turn_back(before, lam, dim, program.pairs[op[2]], work.trig, 2 * op[1])
            add_lane(work.angle_slopes, op[1], slope)
        elif op[0] == TABLE:
            table_back(lam, other, dim, program.table_source[op[1]], program.table_factor[op[1]])
            side = 1 - side
        else:
            rows, qubits = program.sparse_row[op[1]], program.sparse_qubits[op[3] :]
            sparse_back(lam, other, dim, rows, program.sparse_column, program.sparse_value, qubits, op[2])
            side = 1 - side
    return side


@kernel()
def _write_gradient(program: DensityProgram, work: DensityWorkspace, sample: int, gradient: Any) -> None:
    for lane in range(min(LANES, gradient.shape[0] - sample)):
        row = sample + lane
        for k in range(gradient.shape[1]):
            gradient[row, k] = 0.0
        for angle in range(program.angle_offset.shape[0]):
            slope = work.angle_slopes[angle * LANES + lane]
            for k in range(program.angle_start[angle], program.angle_start[angle + 1]):
                gradient[row, program.angle_feature[k]] += program.angle_slope[k] * slope
