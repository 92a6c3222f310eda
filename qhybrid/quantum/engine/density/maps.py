"""One-qubit maps of the density-matrix simulator: built from angles, and their gradients taken back to the angles.

A block is a product of rotations and constant channels on one qubit, per sample one affine map of its Bloch vector.
The first block of each qubit makes the initial product state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from qhybrid.quantum.engine.density.gates import RUN
from qhybrid.quantum.engine.density.program import DensityProgram
from qhybrid.quantum.engine.kernels.opcodes import FIXED_ELEMENT
from qhybrid.quantum.engine.kernels.simd import LANES, add, fma, fnma, kernel, load, mul, splat, store, store_turn


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
def prepare(
    program: DensityProgram, work: DensityWorkspace, values: Any, varying: Any, sample: int, everything: bool
) -> None:
    """cos and sin of all angles and the maps of all blocks; what all samples share only once."""
    num_angles = program.angle_offset.shape[0]
    for angle in range(num_angles):
        if not (everything or varying[angle]):
            continue
        # What all samples share is computed once, not for each lane.
        lanes = 1 if varying[angle] else LANES
        for lane in range(0, LANES, lanes):
            row = min(sample + lane, values.shape[0] - 1)
            value = program.angle_offset[angle]
            for k in range(program.angle_start[angle], program.angle_start[angle + 1]):
                value += program.angle_slope[k] * values[row, program.angle_feature[k]]
            store_turn(work.trig, angle, lane, lanes, value)
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
                    mx, mz, my = splat(entry[4 * row + 1]), splat(entry[4 * row + 2]), splat(entry[4 * row + 3])
                    value = fma(my, y, fma(mz, z, mul(mx, x)))
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
def map_of(program: DensityProgram, block: int) -> int:
    """Where a block's whole map stands."""
    last: int = program.block_start[block + 1] - 1
    return 12 * last * LANES


@kernel
def _initial_vector(program: DensityProgram, work: DensityWorkspace, qubit: int) -> Any:
    """X, Z, Y of a qubit before the first operation on several qubits."""
    zero, one = splat(work.maps.dtype.type(0.0)), splat(work.maps.dtype.type(1.0))
    block = program.initial[qubit]
    x, z, y = zero, one, zero
    if block >= 0:
        at = map_of(program, block)
        x = add(load(work.maps, at), load(work.maps, at + 2 * LANES))
        z = add(load(work.maps, at + 4 * LANES), load(work.maps, at + 6 * LANES))
        y = add(load(work.maps, at + 8 * LANES), load(work.maps, at + 10 * LANES))
    return x, z, y


@kernel
def product_state(program: DensityProgram, work: DensityWorkspace, state: Any) -> None:
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
def product_back(program: DensityProgram, work: DensityWorkspace, state: Any, lam: Any) -> None:
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
            distribute(program, work, program.initial[qubit])


@kernel
def distribute(program: DensityProgram, work: DensityWorkspace, block: int) -> None:
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
