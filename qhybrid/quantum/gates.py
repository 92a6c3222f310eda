"""Kernels that apply one operation to eight states at once, forwards and backwards.

A state is one array of 2 * D * LANES floats: amplitude i of sample l has its real part at (2 i) * LANES + l and its
imaginary part at (2 i + 1) * LANES + l. Backward kernels undo the operation on psi and lambda and return the
gradient Im<lambda| P |psi> that the adjoint method needs, measured behind the operation. Sums over basis states go
in two levels (at most `RUN` terms each before they are added up), which keeps single precision accurate.
"""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.simd import LANES, add, fma, fnma, kernel, load, mul, splat, store, sub

RUN = 64


@kernel
def odd(bits: int) -> int:
    """1 if the number of set bits is odd, else 0."""
    bits ^= bits >> 32
    bits ^= bits >> 16
    bits ^= bits >> 8
    bits ^= bits >> 4
    bits ^= bits >> 2
    bits ^= bits >> 1
    return bits & 1


@kernel
def block(state: Any, dim: int, qubit: int, blocks: Any, at: int) -> None:
    """One-qubit unitary [[a, -b*], [b, a*]] of each lane; re a, im a, re b, im b stand in `blocks[at:]`."""
    ar, ai = load(blocks, at), load(blocks, at + LANES)
    br, bi = load(blocks, at + 2 * LANES), load(blocks, at + 3 * LANES)
    stride = 1 << qubit
    for pair in range(dim >> 1):
        low = (pair >> qubit << (qubit + 1)) | (pair & (stride - 1))
        i, j = 2 * LANES * low, 2 * LANES * (low | stride)
        xr, xi, yr, yi = load(state, i), load(state, i + LANES), load(state, j), load(state, j + LANES)
        store(state, i, fnma(bi, yi, fnma(br, yr, fnma(ai, xi, mul(ar, xr)))))
        store(state, i + LANES, fma(bi, yr, fnma(br, yi, fma(ai, xr, mul(ar, xi)))))
        store(state, j, fma(ai, yi, fma(ar, yr, fnma(bi, xi, mul(br, xr)))))
        store(state, j + LANES, fnma(ai, yr, fma(ar, yi, fma(bi, xr, mul(br, xi)))))


@kernel
def block_back(psi: Any, lam: Any, dim: int, qubit: int, blocks: Any, at: int, slopes: Any) -> None:
    """Undo `block` on both states; Im<lambda| P |psi> for P = X, Y, Z goes to `slopes`."""
    ar, ai = load(blocks, at), load(blocks, at + LANES)
    br, bi = load(blocks, at + 2 * LANES), load(blocks, at + 3 * LANES)
    zero = sub(ar, ar)
    sx, sy, sz = zero, zero, zero
    stride = 1 << qubit
    start = 0
    while start < dim >> 1:
        px, py, pz = zero, zero, zero
        for pair in range(start, min(start + RUN, dim >> 1)):
            low = (pair >> qubit << (qubit + 1)) | (pair & (stride - 1))
            i, j = 2 * LANES * low, 2 * LANES * (low | stride)
            xr, xi, yr, yi = load(psi, i), load(psi, i + LANES), load(psi, j), load(psi, j + LANES)
            ur, ui, vr, vi = load(lam, i), load(lam, i + LANES), load(lam, j), load(lam, j + LANES)
            px = fnma(vi, xr, fma(vr, xi, fnma(ui, yr, fma(ur, yi, px))))
            py = fma(vi, xi, fma(vr, xr, fnma(ui, yi, fnma(ur, yr, py))))
            pz = fma(vi, yr, fnma(vr, yi, fnma(ui, xr, fma(ur, xi, pz))))
            store(psi, i, fma(bi, yi, fma(br, yr, fma(ai, xi, mul(ar, xr)))))
            store(psi, i + LANES, fnma(bi, yr, fma(br, yi, fnma(ai, xr, mul(ar, xi)))))
            store(psi, j, fnma(ai, yi, fma(ar, yr, fma(bi, xi, fnma(br, xr, zero)))))
            store(psi, j + LANES, fma(ai, yr, fma(ar, yi, fnma(bi, xr, fnma(br, xi, zero)))))
            store(lam, i, fma(bi, vi, fma(br, vr, fma(ai, ui, mul(ar, ur)))))
            store(lam, i + LANES, fnma(bi, vr, fma(br, vi, fnma(ai, ur, mul(ar, ui)))))
            store(lam, j, fnma(ai, vi, fma(ar, vr, fma(bi, ui, fnma(br, ur, zero)))))
            store(lam, j + LANES, fma(ai, vr, fma(ar, vi, fnma(bi, ur, fnma(br, ui, zero)))))
        sx, sy, sz = add(sx, px), add(sy, py), add(sz, pz)
        start += RUN
    store(slopes, 0, sx)
    store(slopes, LANES, sy)
    store(slopes, 2 * LANES, sz)


@kernel
def rotate(state: Any, dim: int, x: int, z: int, num_y: int, half: Any, at: int, direction: int) -> None:
    """exp(-i direction angle/2 P); cos and sin of angle/2 of each lane stand in `half[at:]`.

    P maps |k> to i^num_y (-1)^|k & z| |k ^ x>.
    """
    one = splat(half.dtype.type(1.0))
    minus = splat(half.dtype.type(-1.0))
    c, s = load(half, at), load(half, at + LANES)
    if direction < 0:
        s = mul(s, minus)
    if x == 0:
        for k in range(dim):
            i = 2 * LANES * k
            t = mul(s, minus) if odd(k & z) else mul(s, one)
            xr, xi = load(state, i), load(state, i + LANES)
            store(state, i, fma(t, xi, mul(c, xr)))
            store(state, i + LANES, fnma(t, xr, mul(c, xi)))
        return
    # -i i^num_y is -i, 1, i, -1: imaginary for even num_y, real for odd.
    if num_y % 4 == 2 or num_y % 4 == 3:
        s = mul(s, minus)
    pivot = 0
    while x >> (pivot + 1):
        pivot += 1
    for pair in range(dim >> 1):
        first = (pair >> pivot << (pivot + 1)) | (pair & ((1 << pivot) - 1))
        second = first ^ x
        i, j = 2 * LANES * first, 2 * LANES * second
        to_first = mul(s, minus) if odd(second & z) else mul(s, one)
        to_second = mul(s, minus) if odd(first & z) else mul(s, one)
        xr, xi, yr, yi = load(state, i), load(state, i + LANES), load(state, j), load(state, j + LANES)
        if num_y & 1:
            store(state, i, fma(to_first, yr, mul(c, xr)))
            store(state, i + LANES, fma(to_first, yi, mul(c, xi)))
            store(state, j, fma(to_second, xr, mul(c, yr)))
            store(state, j + LANES, fma(to_second, xi, mul(c, yi)))
        else:
            store(state, i, fma(to_first, yi, mul(c, xr)))
            store(state, i + LANES, fnma(to_first, yr, mul(c, xi)))
            store(state, j, fma(to_second, xi, mul(c, yr)))
            store(state, j + LANES, fnma(to_second, xr, mul(c, yi)))


@kernel
def overlap(bra: Any, ket: Any, dim: int, x: int, z: int, num_y: int, imaginary: bool) -> Any:
    """Real or imaginary part of <bra| P |ket> for each lane, as a vector."""
    minus = splat(ket.dtype.type(-1.0))
    zero = splat(ket.dtype.type(0.0))
    total = zero
    start = 0
    while start < dim:
        part = zero
        for k in range(start, min(start + RUN, dim)):
            i, j = 2 * LANES * k, 2 * LANES * (k ^ x)
            br, bi, kr, ki = load(bra, i), load(bra, i + LANES), load(ket, j), load(ket, j + LANES)
            re = fma(bi, ki, mul(br, kr))
            im = fnma(bi, kr, mul(br, ki))
            # i^num_y (re + i im): one of (re, im), (-im, re), (-re, -im), (im, -re).
            swap = (num_y & 1) == 1
            term = (re if swap else im) if imaginary else (im if swap else re)
            negative = (num_y % 4 == 2 or num_y % 4 == 3) if imaginary else (num_y % 4 == 1 or num_y % 4 == 2)
            part = fma(term, minus, part) if negative != (odd((k ^ x) & z) == 1) else add(part, term)
        total = add(total, part)
        start += RUN
    return total


@kernel
def add_pauli(out: Any, state: Any, dim: int, x: int, z: int, num_y: int, factor: Any) -> None:
    """out += factor P state, with one factor per lane."""
    minus = splat(state.dtype.type(-1.0))
    turn = mul(factor, minus) if num_y % 4 == 2 or num_y % 4 == 3 else factor
    for k in range(dim):
        i, j = 2 * LANES * k, 2 * LANES * (k ^ x)
        f = mul(turn, minus) if odd((k ^ x) & z) else turn
        xr, xi = load(state, j), load(state, j + LANES)
        if num_y & 1:
            store(out, i, fnma(f, xi, load(out, i)))
            store(out, i + LANES, fma(f, xr, load(out, i + LANES)))
        else:
            store(out, i, fma(f, xr, load(out, i)))
            store(out, i + LANES, fma(f, xi, load(out, i + LANES)))


@kernel
def permute(source: Any, target: Any, dim: int, tables: Any, table: int, phases: Any, phase: int) -> None:
    """target[k] = phase[k] source[table[k]]."""
    for k in range(dim):
        i, j = 2 * LANES * k, 2 * LANES * tables[table, k]
        xr, xi = load(source, j), load(source, j + LANES)
        if phase >= 0:
            pr, pi = splat(phases[phase, 2 * k]), splat(phases[phase, 2 * k + 1])
            xr, xi = fnma(pi, xi, mul(pr, xr)), fma(pi, xr, mul(pr, xi))
        store(target, i, xr)
        store(target, i + LANES, xi)


@kernel
def permute_back(source: Any, target: Any, dim: int, tables: Any, table: int, phases: Any, phase: int) -> None:
    """target[table[k]] = conj(phase[k]) source[k]."""
    for k in range(dim):
        i, j = 2 * LANES * k, 2 * LANES * tables[table, k]
        xr, xi = load(source, i), load(source, i + LANES)
        if phase >= 0:
            pr, pi = splat(phases[phase, 2 * k]), splat(phases[phase, 2 * k + 1])
            xr, xi = fma(pi, xi, mul(pr, xr)), fnma(pi, xr, mul(pr, xi))
        store(target, j, xr)
        store(target, j + LANES, xi)


@kernel
def dense(
    state: Any, dim: int, matrix: Any, at: int, qubits: Any, count: int, where: int, inverse: bool, room: Any
) -> None:
    """A constant unitary on `count` qubits `qubits[where:]`, or its inverse; `room` holds 2**count amplitudes."""
    size = 1 << count
    mask = 0
    for k in range(count):
        mask |= 1 << qubits[where + k]
    zero = splat(state.dtype.type(0.0))
    for base in range(dim):
        if base & mask:
            continue
        for row in range(size):
            i = 2 * LANES * _spread(base, row, qubits, where, count)
            store(room, 2 * LANES * row, load(state, i))
            store(room, 2 * LANES * row + LANES, load(state, i + LANES))
        for row in range(size):
            re, im = zero, zero
            for column in range(size):
                entry = at + 2 * (column * size + row if inverse else row * size + column)
                mr = splat(matrix[entry])
                mi = splat(-matrix[entry + 1] if inverse else matrix[entry + 1])
                xr, xi = load(room, 2 * LANES * column), load(room, 2 * LANES * column + LANES)
                re = fnma(mi, xi, fma(mr, xr, re))
                im = fma(mi, xr, fma(mr, xi, im))
            i = 2 * LANES * _spread(base, row, qubits, where, count)
            store(state, i, re)
            store(state, i + LANES, im)


@kernel
def _spread(base: int, bits: int, qubits: Any, where: int, count: int) -> int:
    for k in range(count):
        base |= (bits >> k & 1) << qubits[where + k]
    return base
