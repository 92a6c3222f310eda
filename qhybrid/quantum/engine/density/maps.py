"""One-qubit maps of the density-matrix simulator: built from angles, and their gradients taken back to the angles.

A block is a product of rotations and constant channels on one qubit, per sample one affine map of its Bloch vector.
The first block of each qubit makes the initial product state.
"""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.density.program import DensityProgram
from qhybrid.quantum.engine.density.workspace import DensityWorkspace
from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.opcodes import FIXED_ELEMENT, SUM_RUN
from qhybrid.quantum.engine.kernels.trigonometry import store_turn
from qhybrid.quantum.engine.kernels.vectors import add_lane, fma, staged


@kernel()
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


@staged()
def _start_map(maps: Any, at: Any) -> None:
    """The map that changes nothing: rows X, Z, Y and columns I, X, Z, Y."""
    for k in range(12):
        maps.set_lane(at + k, maps.constant(1.0 if k in (1, 6, 11) else 0.0))


@staged()
def _copy_map(maps: Any, source: Any, target: Any) -> None:
    for k in range(12):
        maps.set_lane(target + k, maps.lane(source + k))


def _rotated(p: Any, q: Any, trig: Any, which: Any) -> Any:
    """(p, q) turned by each lane's angle."""
    c, s = trig.lane(which * 2), trig.lane(which * 2 + 1)
    return fma(-s, q, c * p), fma(s, p, c * q)


def _rotate_rows(maps: Any, at: Any, p: int, q: int, trig: Any, which: Any) -> None:
    for column in range(4):
        i, j = at + (4 * p + column), at + (4 * q + column)
        a, b = _rotated(maps.lane(i), maps.lane(j), trig, which)
        maps.set_lane(i, a)
        maps.set_lane(j, b)


# Rows are X, Z, Y: a rotation about X turns (Y, Z), about Y (Z, X), about Z (X, Y).


@staged()
def _then_x(maps: Any, at: Any, trig: Any, which: Any) -> None:
    _rotate_rows(maps, at, 2, 1, trig, which)


@staged()
def _then_y(maps: Any, at: Any, trig: Any, which: Any) -> None:
    _rotate_rows(maps, at, 1, 0, trig, which)


@staged()
def _then_z(maps: Any, at: Any, trig: Any, which: Any) -> None:
    _rotate_rows(maps, at, 0, 2, trig, which)


@staged()
def _then_fixed(maps: Any, at: Any, constants: Any, which: Any) -> None:
    for column in range(4):
        x, z, y = (maps.lane(at + (4 * row + column)) for row in range(3))
        for row in range(3):
            shift, mx, mz, my = (constants.scalar(which * 12 + (4 * row + k)) for k in range(4))
            value = fma(my, y, fma(mz, z, mx * x))
            maps.set_lane(at + (4 * row + column), value + shift if column == 0 else value)


@kernel()
def _build_maps(program: DensityProgram, work: DensityWorkspace, index: int) -> None:
    maps = work.maps
    for k in range(program.block_start[index], program.block_start[index + 1]):
        at = 12 * k
        if k == program.block_start[index]:
            _start_map(maps, at)
        else:
            _copy_map(maps, at - 12, at)
        kind, which = program.elements[k, 0], program.elements[k, 1]
        if kind == FIXED_ELEMENT:
            _then_fixed(maps, at, program.constants, which)
        elif kind == 0:
            _then_x(maps, at, work.trig, which)
        elif kind == 1:
            _then_y(maps, at, work.trig, which)
        else:
            _then_z(maps, at, work.trig, which)


@kernel()
def map_of(program: DensityProgram, block: int) -> int:
    """Where a block's whole map stands, counted in vectors."""
    last: int = program.block_start[block + 1] - 1
    return 12 * last


@staged(outputs=3)
def _ground_vector(array: Any) -> Any:
    """X, Z, Y of |0>."""
    zero = array.constant(0.0)
    return zero, array.constant(1.0), zero


@staged(outputs=3)
def _mapped_ground_vector(maps: Any, at: Any) -> Any:
    """X, Z, Y of a map applied to |0>: its shift and its column of Z."""
    return [maps.lane(at + 4 * row) + maps.lane(at + (4 * row + 2)) for row in range(3)]


@kernel()
def _initial_vector(program: DensityProgram, work: DensityWorkspace, qubit: int) -> Any:
    """X, Z, Y of a qubit before the first operation on several qubits."""
    block = program.initial[qubit]
    return _mapped_ground_vector(work.maps, map_of(program, block)) if block >= 0 else _ground_vector(work.maps)


@staged()
def _set_one(state: Any) -> None:
    state.set_lane(0, state.constant(1.0))


@staged()
def _append_qubit(state: Any, k: Any, size: Any, vector: Any) -> None:
    r = state.lane(k)
    for place in range(3):
        state.set_lane(k + size * (place + 1), vector[place] * r)


@kernel()
def product_state(program: DensityProgram, work: DensityWorkspace, state: Any) -> None:
    """Coefficients of the product state that the first blocks of all qubits prepare."""
    _set_one(state)
    for qubit in range(program.num_qubits):
        vector = _initial_vector(program, work, qubit)
        size = 1 << 2 * qubit
        for k in range(size):
            _append_qubit(state, k, size, vector)


@staged(outputs=3)
def _no_slopes(array: Any) -> Any:
    return (array.constant(0.0),) * 3


@staged(outputs=3)
def _remove_qubit(state: Any, lam: Any, k: Any, size: Any, vector: Any, slopes: Any) -> Any:
    """Contract lambda with one qubit's vector; returns the slopes of that vector's X, Z, Y."""
    low, gradient = state.lane(k), [lam.lane(k + size * place) for place in (1, 2, 3)]
    total = lam.lane(k)
    for part, value in zip(vector, gradient, strict=True):
        total = fma(part, value, total)
    lam.set_lane(k, total)
    return [fma(value, low, slope) for value, slope in zip(gradient, slopes, strict=True)]


@staged(outputs=3)
def _add_vectors(a: Any, b: Any) -> Any:
    return [x + y for x, y in zip(a, b, strict=True)]


@staged()
def _store_vector_slopes(slopes: Any, vector: Any) -> None:
    """The initial vector is the map's shift plus its column of Z."""
    zero = slopes.constant(0.0)
    for k in range(12):
        slopes.set_lane(k, vector[k // 4] if k % 4 in (0, 2) else zero)


@kernel()
def product_back(program: DensityProgram, work: DensityWorkspace, state: Any, lam: Any) -> None:
    """Slopes of the blocks in the initial product state.

    Lambda is contracted with one qubit's vector after the other, highest first; the product of the lower ones is
    the beginning of the state itself, since every vector begins with 1.
    """
    for qubit in range(program.num_qubits - 1, -1, -1):
        vector = _initial_vector(program, work, qubit)
        size = 1 << 2 * qubit
        total = _no_slopes(state)
        for start in range(0, size, SUM_RUN):
            part = _no_slopes(state)
            for k in range(start, min(start + SUM_RUN, size)):
                part = _remove_qubit(state, lam, k, size, vector, part)
            total = _add_vectors(total, part)
        if program.initial[qubit] >= 0:
            _store_vector_slopes(work.slopes, total)
            distribute(program, work, program.initial[qubit])


def _slope_and_turn_back(slopes: Any, maps: Any, at: Any, p: int, q: int, trig: Any, which: Any) -> Any:
    """Slope of the angle that turned rows (p, q) into those in `maps`; their gradients turn back."""
    slope = slopes.constant(0.0)
    for column in range(4):
        i, j = 4 * p + column, 4 * q + column
        a, b = slopes.lane(i), slopes.lane(j)
        # With (u, v) the turned rows: slope = g_v u - g_u v.
        slope = fma(-a, maps.lane(at + j), fma(b, maps.lane(at + i), slope))
        c, s = trig.lane(which * 2), trig.lane(which * 2 + 1)
        slopes.set_lane(i, fma(s, b, c * a))
        slopes.set_lane(j, fma(-s, a, c * b))
    return (slope,)


@staged(outputs=1)
def _back_x(slopes: Any, maps: Any, at: Any, trig: Any, which: Any) -> Any:
    return _slope_and_turn_back(slopes, maps, at, 2, 1, trig, which)


@staged(outputs=1)
def _back_y(slopes: Any, maps: Any, at: Any, trig: Any, which: Any) -> Any:
    return _slope_and_turn_back(slopes, maps, at, 1, 0, trig, which)


@staged(outputs=1)
def _back_z(slopes: Any, maps: Any, at: Any, trig: Any, which: Any) -> Any:
    return _slope_and_turn_back(slopes, maps, at, 0, 2, trig, which)


@staged()
def _back_fixed(slopes: Any, constants: Any, which: Any) -> None:
    for column in range(4):
        x, z, y = (slopes.lane(4 * row + column) for row in range(3))
        for row in range(3):
            mx, mz, my = (constants.scalar(which * 12 + (4 * k + row + 1)) for k in range(3))
            slopes.set_lane(4 * row + column, fma(my, y, fma(mz, z, mx * x)))


@kernel()
def distribute(program: DensityProgram, work: DensityWorkspace, block: int) -> None:
    """Slopes of a block's angles from the gradient by its map, last element first."""
    slopes, maps = work.slopes, work.maps
    for k in range(program.block_start[block + 1] - 1, program.block_start[block] - 1, -1):
        kind, which = program.elements[k, 0], program.elements[k, 1]
        if kind == FIXED_ELEMENT:
            _back_fixed(slopes, program.constants, which)
        elif kind == 0:
            add_lane(work.angle_slopes, which, _back_x(slopes, maps, 12 * k, work.trig, which))
        elif kind == 1:
            add_lane(work.angle_slopes, which, _back_y(slopes, maps, 12 * k, work.trig, which))
        else:
            add_lane(work.angle_slopes, which, _back_z(slopes, maps, 12 * k, work.trig, which))
