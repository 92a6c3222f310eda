"""Kernels between angles and one-qubit blocks: the unitaries of a slice of samples, and slopes back to the angles."""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.opcodes import FIXED_ELEMENT
from qhybrid.quantum.engine.kernels.trigonometry import store_turn
from qhybrid.quantum.engine.kernels.vectors import Amplitude, add_lane, combine, staged
from qhybrid.quantum.engine.statevector.gates import load_unitary
from qhybrid.quantum.engine.statevector.program import StateVectorProgram
from qhybrid.quantum.engine.statevector.workspace import Workspace


@kernel(lean=True)
def prepare(
    program: StateVectorProgram, work: Workspace, rows: Any, common: Any, varying: Any, sample: int, everything: bool
) -> None:
    """cos and sin of all half angles and the unitaries of all blocks; what all samples share only once."""
    num_angles, num_rows, split = program.angle_offset.shape[0], rows.shape[0], rows.shape[1]
    for angle in range(num_angles):
        if not (everything or varying[angle]):
            continue
        # What all samples share is computed once, not for each lane.
        lanes = 1 if varying[angle] else LANES
        for lane in range(0, LANES, lanes):
            row = min(sample + lane, num_rows - 1)
            value = program.angle_offset[angle]
            for k in range(program.angle_start[angle], program.angle_start[angle + 1]):
                feature = program.angle_feature[k]
                value += program.angle_slope[k] * (rows[row, feature] if feature < split else common[feature - split])
            store_turn(work.half, angle, lane, lanes, value / 2)
    for index in range(program.block_start.shape[0] - 1):
        if everything or varying[num_angles + index]:
            _build_block(program, work, index)


@staged(outputs=4)
def identity(array: Any) -> Any:
    """The unitary that changes nothing."""
    one, zero = array.constant(1.0), array.constant(0.0)
    return one, zero, zero, zero


@staged(outputs=4)
def _then_fixed(unitary: Any, constants: Any, which: Any) -> Any:
    c = Amplitude(constants.scalar(which * 4), constants.scalar(which * 4 + 1))
    d = Amplitude(constants.scalar(which * 4 + 2), constants.scalar(which * 4 + 3))
    return _product(c, d, unitary)


@staged(outputs=4)
def _then_x(unitary: Any, half: Any, which: Any) -> Any:
    cosine, sine = half.lane(which * 2), half.lane(which * 2 + 1)
    zero = half.constant(0.0)
    return _product(Amplitude(cosine, zero), Amplitude(zero, -sine), unitary)


@staged(outputs=4)
def _then_y(unitary: Any, half: Any, which: Any) -> Any:
    cosine, sine = half.lane(which * 2), half.lane(which * 2 + 1)
    zero = half.constant(0.0)
    return _product(Amplitude(cosine, zero), Amplitude(sine, zero), unitary)


@staged(outputs=4)
def _then_z(unitary: Any, half: Any, which: Any) -> Any:
    cosine, sine = half.lane(which * 2), half.lane(which * 2 + 1)
    zero = half.constant(0.0)
    return _product(Amplitude(cosine, -sine), Amplitude(zero, zero), unitary)


def _product(c: Amplitude, d: Amplitude, unitary: Any) -> Any:
    """[[c, -d*], [d, c*]] times the unitary."""
    a, b = Amplitude(*unitary[:2]), Amplitude(*unitary[2:])
    a, b = combine((c, a), (-d.conj(), b)), combine((d, a), (c.conj(), b))
    return a.re, a.im, b.re, b.im


@staged()
def _store_unitary(blocks: Any, index: Any, unitary: Any) -> None:
    blocks[index * 2] = Amplitude(*unitary[:2])
    blocks[index * 2 + 1] = Amplitude(*unitary[2:])


@kernel(lean=True)
def _build_block(program: StateVectorProgram, work: Workspace, index: int) -> None:
    unitary = identity(work.blocks)
    for k in range(program.block_start[index], program.block_start[index + 1]):
        kind, which = program.elements[k, 0], program.elements[k, 1]
        if kind == FIXED_ELEMENT:
            unitary = _then_fixed(unitary, program.constants, which)
        elif kind == 0:
            unitary = _then_x(unitary, work.half, which)
        elif kind == 1:
            unitary = _then_y(unitary, work.half, which)
        else:
            unitary = _then_z(unitary, work.half, which)
    _store_unitary(work.blocks, index, unitary)


@kernel(lean=True)
def initial_unitary(program: StateVectorProgram, work: Workspace, qubit: int) -> Any:
    """What turns |0> into a qubit's state before the first operation on several qubits."""
    index = program.initial[qubit]
    return load_unitary(work.blocks, index) if index >= 0 else identity(work.blocks)


@staged(outputs=3)
def _turn_fixed(slopes: Any, turns: Any, which: Any) -> Any:
    x, y, z = slopes
    turn = [turns.scalar(which * 9 + k) for k in range(9)]
    return tuple(turn[k] * x + turn[k + 1] * y + turn[k + 2] * z for k in (0, 3, 6))


def _turned(p: Any, q: Any, half: Any, which: Any) -> Any:
    """(p, q) turned by the whole angle."""
    c, s = half.lane(which * 2), half.lane(which * 2 + 1)
    cosine, sine = c * c - s * s, s * c + s * c
    return cosine * p + sine * q, cosine * q - sine * p


@staged(outputs=3)
def _turn_x(slopes: Any, half: Any, which: Any) -> Any:
    x, y, z = slopes
    return (x, *_turned(y, z, half, which))


@staged(outputs=3)
def _turn_y(slopes: Any, half: Any, which: Any) -> Any:
    x, y, z = slopes
    z, x = _turned(z, x, half, which)
    return x, y, z


@staged(outputs=3)
def _turn_z(slopes: Any, half: Any, which: Any) -> Any:
    x, y, z = slopes
    return (*_turned(x, y, half, which), z)


@staged(outputs=1)
def _slope_x(slopes: Any) -> Any:
    return (slopes[0],)


@staged(outputs=1)
def _slope_y(slopes: Any) -> Any:
    return (slopes[1],)


@staged(outputs=1)
def _slope_z(slopes: Any) -> Any:
    return (slopes[2],)


@kernel(lean=True)
def distribute(program: StateVectorProgram, work: Workspace, index: int, slopes: Any) -> None:
    """Slopes of a block's angles from Im<lambda| X, Y, Z |psi> behind it, last element first.

    Before an element E the operators are E P E^dagger: a rotation of the three numbers.
    """
    for k in range(program.block_start[index + 1] - 1, program.block_start[index] - 1, -1):
        kind, which = program.elements[k, 0], program.elements[k, 1]
        if kind == FIXED_ELEMENT:
            slopes = _turn_fixed(slopes, program.constant_turns, which)
        elif kind == 0:
            add_lane(work.angle_slopes, which, _slope_x(slopes))
            slopes = _turn_x(slopes, work.half, which)
        elif kind == 1:
            add_lane(work.angle_slopes, which, _slope_y(slopes))
            slopes = _turn_y(slopes, work.half, which)
        else:
            add_lane(work.angle_slopes, which, _slope_z(slopes))
            slopes = _turn_z(slopes, work.half, which)
