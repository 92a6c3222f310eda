"""Kernels that apply one operation to `LANES` states at once.

A state is one array of 2 * D * LANES floats: amplitude i of sample l has its real part at (2 i) * LANES + l and its
imaginary part at (2 i + 1) * LANES + l. Offsets into other arrays of vectors count vectors.
Numba compiles a function once for each literal among its arguments, so kernels take no literal as a flag.
"""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.opcodes import SUM_RUN
from qhybrid.quantum.engine.kernels.vectors import Amplitude, add_lanes, combine, load_lane, staged, zero_lane


@kernel(lean=True)
def odd(bits: int) -> int:
    """1 if the number of set bits is odd, else 0."""
    bits ^= bits >> 32
    bits ^= bits >> 16
    bits ^= bits >> 8
    bits ^= bits >> 4
    bits ^= bits >> 2
    bits ^= bits >> 1
    return bits & 1


@staged(outputs=4)
def load_unitary(blocks: Any, index: Any) -> Any:
    """[[a, -b*], [b, a*]] of a block as re a, im a, re b, im b."""
    a, b = blocks[index * 2], blocks[index * 2 + 1]
    return a.re, a.im, b.re, b.im


@staged()
def _block_pair(state: Any, i: Any, j: Any, unitary: Any) -> None:
    a, b = Amplitude(*unitary[:2]), Amplitude(*unitary[2:])
    x, y = state[i], state[j]
    state[i] = combine((a, x), (-b.conj(), y))
    state[j] = combine((b, x), (a.conj(), y))


@kernel(lean=True)
def block(state: Any, dim: int, qubit: int, unitary: Any) -> None:
    """A one-qubit unitary, one for each lane (`load_unitary`)."""
    stride = 1 << qubit
    for pair in range(dim >> 1):
        low = (pair >> qubit << (qubit + 1)) | (pair & (stride - 1))
        _block_pair(state, low, low | stride, unitary)


@staged()
def _turn_real(state: Any, i: Any, j: Any, c: Any, s: Any, to_i: Any, to_j: Any) -> None:
    x, y, t_i, t_j = state[i], state[j], s[0] * to_i, s[0] * to_j
    state[i] = Amplitude(c[0] * x.re + t_i * y.re, c[0] * x.im + t_i * y.im)
    state[j] = Amplitude(c[0] * y.re + t_j * x.re, c[0] * y.im + t_j * x.im)


@staged()
def _turn_imaginary(state: Any, i: Any, j: Any, c: Any, s: Any, to_i: Any, to_j: Any) -> None:
    x, y, t_i, t_j = state[i], state[j], s[0] * to_i, s[0] * to_j
    state[i] = Amplitude(c[0] * x.re + t_i * y.im, c[0] * x.im - t_i * y.re)
    state[j] = Amplitude(c[0] * y.re + t_j * x.im, c[0] * y.im - t_j * x.re)


@staged()
def _turn_phase(state: Any, i: Any, c: Any, s: Any, sign: Any) -> None:
    x, t = state[i], s[0] * sign
    state[i] = Amplitude(c[0] * x.re + t * x.im, c[0] * x.im - t * x.re)


@kernel(lean=True)
def rotate(state: Any, dim: int, x: int, z: int, num_y: int, half: Any, at: int, direction: float) -> None:
    """exp(-i direction angle/2 P); cos and sin of angle/2 of each lane are vectors `at` and `at + 1` of `half`.

    P maps |k> to i^num_y (-1)^|k & z| |k ^ x>.
    """
    plus = half.dtype.type(direction)
    minus = -plus
    c, s = load_lane(half, at), load_lane(half, at + 1)
    if x == 0:
        for k in range(dim):
            _turn_phase(state, k, c, s, minus if odd(k & z) else plus)
        return
    # -i i^num_y is -i, 1, i, -1: imaginary for even num_y, real for odd.
    if num_y % 4 == 2 or num_y % 4 == 3:
        plus, minus = minus, plus
    pivot = 0
    while x >> (pivot + 1):
        pivot += 1
    for pair in range(dim >> 1):
        i = (pair >> pivot << (pivot + 1)) | (pair & ((1 << pivot) - 1))
        j = i ^ x
        to_i, to_j = minus if odd(j & z) else plus, minus if odd(i & z) else plus
        if num_y & 1:
            _turn_real(state, i, j, c, s, to_i, to_j)
        else:
            _turn_imaginary(state, i, j, c, s, to_i, to_j)


@staged(outputs=1)
def _overlap_term(bra: Any, ket: Any, i: Any, j: Any, of_re: Any, of_im: Any, total: Any) -> Any:
    b, k = bra[i], ket[j]
    re, im = b.re * k.re + b.im * k.im, b.re * k.im - b.im * k.re
    return (total[0] + of_re * re + of_im * im,)


@kernel(lean=True)
def overlap(bra: Any, ket: Any, dim: int, x: int, z: int, power: int) -> Any:
    """Real part of i^power <bra| X^x Z^z |ket> for each lane, as a vector.

    <P> has a power equal to its number of Y; three more give the imaginary part.
    """
    sign = -1 if power % 4 == 1 or power % 4 == 2 else 1
    nothing = ket.dtype.type(0)
    total = zero_lane(ket)
    for start in range(0, dim, SUM_RUN):
        part = zero_lane(ket)
        for k in range(start, min(start + SUM_RUN, dim)):
            factor = ket.dtype.type(-sign if odd((k ^ x) & z) else sign)
            of_re, of_im = (nothing, factor) if power & 1 else (factor, nothing)
            part = _overlap_term(bra, ket, k, k ^ x, of_re, of_im, part)
        total = add_lanes(total, part)
    return total


@staged()
def _add_scaled(out: Any, i: Any, state: Any, j: Any, factor: Any, sign: Any) -> None:
    f, x, y = factor[0] * sign, state[j], out[i]
    out[i] = Amplitude(y.re + f * x.re, y.im + f * x.im)


@staged()
def _add_scaled_turned(out: Any, i: Any, state: Any, j: Any, factor: Any, sign: Any) -> None:
    f, x, y = factor[0] * sign, state[j], out[i]
    out[i] = Amplitude(y.re - f * x.im, y.im + f * x.re)


@kernel(lean=True)
def add_pauli(out: Any, state: Any, dim: int, x: int, z: int, num_y: int, factor: Any) -> None:
    """out += factor P state, with one factor per lane."""
    sign = -1 if num_y % 4 == 2 or num_y % 4 == 3 else 1
    for k in range(dim):
        s = state.dtype.type(-sign if odd((k ^ x) & z) else sign)
        if num_y & 1:
            _add_scaled_turned(out, k, state, k ^ x, factor, s)
        else:
            _add_scaled(out, k, state, k ^ x, factor, s)


@staged()
def _move(source: Any, j: Any, target: Any, i: Any) -> None:
    target[i] = source[j]


@staged()
def _move_turned(source: Any, j: Any, target: Any, i: Any, phases: Any, at: Any) -> None:
    target[i] = combine((Amplitude(phases.scalar(at), phases.scalar(at + 1)), source[j]))


@staged()
def _move_turned_back(source: Any, j: Any, target: Any, i: Any, phases: Any, at: Any) -> None:
    target[i] = combine((Amplitude(phases.scalar(at), phases.scalar(at + 1)).conj(), source[j]))


@kernel(lean=True)
def permute(source: Any, target: Any, dim: int, tables: Any, table: int, phases: Any, phase: int) -> None:
    """target[k] = phase[k] source[table[k]]; no phases if `phase` is negative."""
    if phase >= 0:
        for k in range(dim):
            _move_turned(source, tables[table, k], target, k, phases, 2 * (phase * dim + k))
    else:
        for k in range(dim):
            _move(source, tables[table, k], target, k)


@kernel(lean=True)
def permute_back(source: Any, target: Any, dim: int, tables: Any, table: int, phases: Any, phase: int) -> None:
    """target[table[k]] = conj(phase[k]) source[k]."""
    if phase >= 0:
        for k in range(dim):
            _move_turned_back(source, k, target, tables[table, k], phases, 2 * (phase * dim + k))
    else:
        for k in range(dim):
            _move(source, k, target, tables[table, k])


@staged()
def _clear(state: Any, i: Any) -> None:
    zero = state.constant(0.0)
    state[i] = Amplitude(zero, zero)


@staged()
def _add_entry(out: Any, i: Any, room: Any, column: Any, re: Any, im: Any) -> None:
    total, x = out[i], room[column]
    out[i] = Amplitude(total.re + re * x.re - im * x.im, total.im + re * x.im + im * x.re)


@kernel(lean=True)
def dense(
    state: Any, dim: int, matrix: Any, at: int, qubits: Any, count: int, where: int, inverse: bool, room: Any
) -> None:
    """A constant unitary on `count` qubits `qubits[where:]`, or its inverse; `room` holds 2**count amplitudes."""
    size = 1 << count
    sign = matrix.dtype.type(-1 if inverse else 1)
    mask = 0
    for k in range(count):
        mask |= 1 << qubits[where + k]
    for base in range(dim):
        if base & mask:
            continue
        for row in range(size):
            i = _spread(base, row, qubits, where, count)
            _move(state, i, room, row)
            _clear(state, i)
        for row in range(size):
            i = _spread(base, row, qubits, where, count)
            for column in range(size):
                entry = at + 2 * (column * size + row if inverse else row * size + column)
                _add_entry(state, i, room, column, matrix[entry], sign * matrix[entry + 1])


@kernel(lean=True)
def _spread(base: int, bits: int, qubits: Any, where: int, count: int) -> int:
    for k in range(count):
        base |= (bits >> k & 1) << qubits[where + k]
    return base
