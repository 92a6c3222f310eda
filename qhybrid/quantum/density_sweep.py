"""Whole noisy circuits forwards and backwards, a slice of `LANES` samples at a time.

Lanes never mix and every sum has a fixed order, so a sample's numbers depend neither on its neighbours nor on the
number of threads.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from qhybrid.quantum.density_kernels import (
    RUN,
    affine,
    affine_back,
    sparse,
    sparse_back,
    table,
    table_back,
    turn,
    turn_back,
)
from qhybrid.quantum.density_program import BLOCK, FIXED_ELEMENT, ROTATE, TABLE, DensityProgram
from qhybrid.quantum.simd import LANES, add, fma, fnma, kernel, load, mul, splat, store, sub


class DensityWorkspace(NamedTuple):
    """Memory of one thread, all of the program's precision.

    Attributes:
        states: (2, D * LANES) for passes that keep nothing.
        tape: (slots, D * LANES) states before each operation of a segment, and behind the last.
        marks: (segments, D * LANES) states at the beginning of each segment.
        lam: (2, D * LANES).
        trig: cos and sin of each angle.
        maps: (n_elements * 12 * LANES) each block's map up to and with each element.
        slopes: gradient by a block's map.
        angle_slopes: gradient by each angle.
    """

    states: Any
    tape: Any
    marks: Any
    lam: Any
    trig: Any
    maps: Any
    slopes: Any
    angle_slopes: Any


def make_density_workspace(
    program: DensityProgram, real: type[np.floating], slots: int, segments: int
) -> DensityWorkspace:
    """Memory for one thread; `slots` and `segments` are 0 if only forward passes are made."""
    row = LANES << 2 * program.num_qubits
    angles = max(len(program.angle_offset), 1)

    def states(count: int) -> Any:
        return np.zeros((max(count, 1), row if count else 1), dtype=real)

    return DensityWorkspace(
        states=states(2),
        tape=states(slots),
        marks=states(segments if segments > 1 else 0),
        lam=states(2 if slots else 0),
        trig=np.zeros(2 * angles * LANES, dtype=real),
        maps=np.zeros(max(len(program.elements), 1) * 12 * LANES, dtype=real),
        slopes=np.zeros(12 * LANES, dtype=real),
        angle_slopes=np.zeros(angles * LANES, dtype=real),
    )


@kernel
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
        program: The circuit.
        work: This thread's memory.
        values: (B, F) float64 features.
        varying: (n_angles + n_blocks,) 1 where the angle, then the block, differs between samples.
        first: First slice.
        last: Slice to stop before.
        kept: (slices, n_ops + 1, D * LANES) states for `density_backward`, or (0, ...).
        finals: (slices, D * LANES) final states, or (0, ...).
        out: (B, M) float64, written.
    """
    count = program.ops.shape[0]
    for step in range(first, last):
        _prepare(program, work, values, varying, step * LANES, step == first)
        states = kept[step] if kept.shape[0] else work.states
        _product_state(program, work, states[0])
        slot = _evolve(program, work, states, 0, count)
        if finals.shape[0]:
            finals[step] = states[slot]
        _write_outputs(program, states[slot], step * LANES, out)


@kernel
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
        program: The circuit.
        work: This thread's memory.
        values: (B, F) float64 features.
        varying: As in `density_forward`.
        first: First slice.
        last: Slice to stop before.
        bounds: Operations at which segments begin, and the number of operations; states before each operation are
            computed again segment by segment.
        kept: What `density_forward` kept, which needs a single segment, or (0, ...).
        gradient_out: (B, M) float64.
        gradient: (B, F) float64, written.
    """
    segments = bounds.shape[0] - 1
    for step in range(first, last):
        _prepare(program, work, values, varying, step * LANES, step == first)
        work.angle_slopes[:] = work.angle_slopes.dtype.type(0.0)
        if segments > 1:
            _product_state(program, work, work.states[0])
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
                    _product_state(program, work, tape[0])
                _evolve(program, work, tape, bounds[segment], bounds[segment + 1])
            side = _sweep_back(program, work, tape, bounds[segment], bounds[segment + 1], side)
            if segment == 0:
                _product_back(program, work, tape[0], work.lam[side])
        _write_gradient(program, work, step * LANES, gradient)


@kernel
def _prepare(
    program: DensityProgram, work: DensityWorkspace, values: Any, varying: Any, sample: int, everything: bool
) -> None:
    """cos and sin of all angles and the maps of all blocks; what all samples share only once."""
    real = work.trig.dtype.type
    num_angles = program.angle_offset.shape[0]
    for angle in range(num_angles):
        if not (everything or varying[angle]):
            continue
        for lane in range(LANES):
            row = min(sample + lane, values.shape[0] - 1)
            value = program.angle_offset[angle]
            for k in range(program.angle_start[angle], program.angle_start[angle + 1]):
                value += program.angle_slope[k] * values[row, program.angle_feature[k]]
            work.trig[2 * angle * LANES + lane] = real(math.cos(value))
            work.trig[(2 * angle + 1) * LANES + lane] = real(math.sin(value))
    for index in range(program.block_start.shape[0] - 1):
        if everything or varying[num_angles + index]:
            _build_maps(program, work, index)


@kernel
def _build_maps(program: DensityProgram, work: DensityWorkspace, index: int) -> None:
    maps = work.maps
    zero, one = splat(maps.dtype.type(0.0)), splat(maps.dtype.type(1.0))
    for k in range(program.block_start[index], program.block_start[index + 1]):
        at = 12 * k * LANES
        first = k == program.block_start[index]
        kind, which = program.elements[k, 0], program.elements[k, 1]
        for column in range(4):
            # The map so far, one column: rows X, Z, Y.
            x, z, y = zero, zero, zero
            if first:
                x, z, y = one if column == 1 else zero, one if column == 2 else zero, one if column == 3 else zero
            else:
                before = at - (12 - column) * LANES
                x, z, y = load(maps, before), load(maps, before + 4 * LANES), load(maps, before + 8 * LANES)
            if kind == FIXED_ELEMENT:
                entry = program.constants[which]
                for row in range(3):
                    value = fma(splat(entry[4 * row + 3]), y, fma(splat(entry[4 * row + 2]), z, mul(splat(entry[4 * row + 1]), x)))
                    if column == 0:
                        value = add(value, splat(entry[4 * row]))
                    store(maps, at + (4 * row + column) * LANES, value)
            else:
                c, s = load(work.trig, 2 * which * LANES), load(work.trig, (2 * which + 1) * LANES)
                if kind == 0:
                    y, z = fnma(s, z, mul(c, y)), fma(s, y, mul(c, z))
                elif kind == 1:
                    z, x = fnma(s, x, mul(c, z)), fma(s, z, mul(c, x))
                else:
                    x, y = fnma(s, y, mul(c, x)), fma(s, x, mul(c, y))
                store(maps, at + column * LANES, x)
                store(maps, at + (4 + column) * LANES, z)
                store(maps, at + (8 + column) * LANES, y)


@kernel
def _map_of(program: DensityProgram, block: int) -> int:
    """Where a block's whole map stands."""
    return 12 * (program.block_start[block + 1] - 1) * LANES


@kernel
def _initial_vector(program: DensityProgram, work: DensityWorkspace, qubit: int) -> Any:
    """X, Z, Y of a qubit before the first operation on several qubits."""
    zero, one = splat(work.maps.dtype.type(0.0)), splat(work.maps.dtype.type(1.0))
    block = program.initial[qubit]
    x, z, y = zero, one, zero
    if block >= 0:
        at = _map_of(program, block)
        x = add(load(work.maps, at), load(work.maps, at + 2 * LANES))
        z = add(load(work.maps, at + 4 * LANES), load(work.maps, at + 6 * LANES))
        y = add(load(work.maps, at + 8 * LANES), load(work.maps, at + 10 * LANES))
    return x, z, y


@kernel
def _product_state(program: DensityProgram, work: DensityWorkspace, state: Any) -> None:
    store(state, 0, splat(state.dtype.type(1.0)))
    for qubit in range(program.num_qubits):
        x, z, y = _initial_vector(program, work, qubit)
        size = LANES << 2 * qubit
        for k in range(1 << 2 * qubit):
            r = load(state, LANES * k)
            store(state, LANES * k + size, mul(x, r))
            store(state, LANES * k + 2 * size, mul(z, r))
            store(state, LANES * k + 3 * size, mul(y, r))


@kernel
def _evolve(program: DensityProgram, work: DensityWorkspace, states: Any, first: int, last: int) -> int:
    """Operations first ... last - 1 from `states[0]`, one row further each, around the end; returns the last row."""
    dim = 1 << 2 * program.num_qubits
    slot = 0
    for index in range(first, last):
        op = program.ops[index]
        after = (slot + 1) % states.shape[0]
        if op[0] == BLOCK:
            unital = program.unital[op[2]] == 1
            affine(states[slot], states[after], dim, op[1], work.maps, _map_of(program, op[2]), unital)
        elif op[0] == ROTATE:
            turn(states[slot], states[after], dim, program.pairs[op[2]], work.trig, 2 * op[1] * LANES)
        elif op[0] == TABLE:
            table(states[slot], states[after], dim, program.table_source[op[1]], program.table_factor[op[1]])
        else:
            rows, qubits = program.sparse_row[op[1]], program.sparse_qubits[op[3] :]
            sparse(states[slot], states[after], dim, rows, program.sparse_column, program.sparse_value, qubits, op[2])
        slot = after
    return slot


@kernel
def _write_outputs(program: DensityProgram, state: Any, sample: int, out: Any) -> None:
    for lane in range(min(LANES, out.shape[0] - sample)):
        for m in range(program.obs_constant.shape[0]):
            value = program.obs_constant[m]
            for k in range(program.obs_start[m], program.obs_start[m + 1]):
                value += program.obs_coefficient[k] * state[program.obs_term[program.obs_index[k]] * LANES + lane]
            out[sample + lane, m] = value


@kernel
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


@kernel
def _sweep_back(
    program: DensityProgram, work: DensityWorkspace, tape: Any, first: int, last: int, side: int
) -> int:
    """Lambda back through operations last - 1 ... first; returns which of `work.lam` holds it."""
    dim = 1 << 2 * program.num_qubits
    for index in range(last - 1, first - 1, -1):
        op = program.ops[index]
        before, lam, other = tape[index - first], work.lam[side], work.lam[1 - side]
        if op[0] == BLOCK:
            unital = program.unital[op[2]] == 1
            affine_back(before, lam, dim, op[1], work.maps, _map_of(program, op[2]), unital, work.slopes)
            _distribute(program, work, op[2])
        elif op[0] == ROTATE:
            at = op[1] * LANES
            slope = turn_back(before, lam, dim, program.pairs[op[2]], work.trig, 2 * at)
            store(work.angle_slopes, at, add(load(work.angle_slopes, at), slope))
        elif op[0] == TABLE:
            table_back(lam, other, dim, program.table_source[op[1]], program.table_factor[op[1]])
            side = 1 - side
        else:
            rows, qubits = program.sparse_row[op[1]], program.sparse_qubits[op[3] :]
            sparse_back(lam, other, dim, rows, program.sparse_column, program.sparse_value, qubits, op[2])
            side = 1 - side
    return side


@kernel
def _product_back(program: DensityProgram, work: DensityWorkspace, state: Any, lam: Any) -> None:
    """Slopes of the blocks in the initial product state.

    Lambda is contracted with one qubit's vector after the other, highest first; the product of the lower ones is
    the beginning of the state itself, since every vector begins with 1.
    """
    zero = splat(state.dtype.type(0.0))
    for qubit in range(program.num_qubits - 1, -1, -1):
        x, z, y = _initial_vector(program, work, qubit)
        size = 1 << 2 * qubit
        sx, sz, sy = zero, zero, zero
        start = 0
        while start < size:
            px, pz, py = zero, zero, zero
            for k in range(start, min(start + RUN, size)):
                i = LANES * k
                step = LANES * size
                low = load(state, i)
                a, b, c = load(lam, i + step), load(lam, i + 2 * step), load(lam, i + 3 * step)
                px, pz, py = fma(a, low, px), fma(b, low, pz), fma(c, low, py)
                store(lam, i, fma(y, c, fma(z, b, fma(x, a, load(lam, i)))))
            sx, sz, sy = add(sx, px), add(sz, pz), add(sy, py)
            start += RUN
        if program.initial[qubit] >= 0:
            for column in range(4):
                used = column == 0 or column == 2
                store(work.slopes, column * LANES, sx if used else zero)
                store(work.slopes, (4 + column) * LANES, sz if used else zero)
                store(work.slopes, (8 + column) * LANES, sy if used else zero)
            _distribute(program, work, program.initial[qubit])


@kernel
def _distribute(program: DensityProgram, work: DensityWorkspace, block: int) -> None:
    """Slopes of a block's angles from the gradient by its map, last element first."""
    slopes, maps = work.slopes, work.maps
    zero = splat(slopes.dtype.type(0.0))
    for k in range(program.block_start[block + 1] - 1, program.block_start[block] - 1, -1):
        kind, which = program.elements[k, 0], program.elements[k, 1]
        slope = zero
        for column in range(4):
            i, j, h = column * LANES, (4 + column) * LANES, (8 + column) * LANES
            x, z, y = load(slopes, i), load(slopes, j), load(slopes, h)
            if kind == FIXED_ELEMENT:
                entry = program.constants[which]
                for row in range(3):
                    value = fma(splat(entry[9 + row]), y, fma(splat(entry[5 + row]), z, mul(splat(entry[1 + row]), x)))
                    store(slopes, (4 * row + column) * LANES, value)
                continue
            at = 12 * k * LANES + column * LANES
            mx, mz, my = load(maps, at), load(maps, at + 4 * LANES), load(maps, at + 8 * LANES)
            c, s = load(work.trig, 2 * which * LANES), load(work.trig, (2 * which + 1) * LANES)
            # With (u, v) the turned rows: slope = g_v u' - g_u v', and the gradient turns back.
            if kind == 0:
                slope = fnma(y, mz, fma(z, my, slope))
                y, z = fma(s, z, mul(c, y)), fnma(s, y, mul(c, z))
            elif kind == 1:
                slope = fnma(z, mx, fma(x, mz, slope))
                z, x = fma(s, x, mul(c, z)), fnma(s, z, mul(c, x))
            else:
                slope = fnma(x, my, fma(y, mx, slope))
                x, y = fma(s, y, mul(c, x)), fnma(s, x, mul(c, y))
            store(slopes, i, x)
            store(slopes, j, z)
            store(slopes, h, y)
        if kind != FIXED_ELEMENT:
            at = which * LANES
            store(work.angle_slopes, at, add(load(work.angle_slopes, at), slope))


@kernel
def _write_gradient(program: DensityProgram, work: DensityWorkspace, sample: int, gradient: Any) -> None:
    for lane in range(min(LANES, gradient.shape[0] - sample)):
        row = sample + lane
        for k in range(gradient.shape[1]):
            gradient[row, k] = 0.0
        for angle in range(program.angle_offset.shape[0]):
            slope = work.angle_slopes[angle * LANES + lane]
            for k in range(program.angle_start[angle], program.angle_start[angle + 1]):
                gradient[row, program.angle_feature[k]] += program.angle_slope[k] * slope
