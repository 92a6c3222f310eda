"""Kernels of the density-matrix simulator: one operation on the Pauli coefficients of eight states at once.

A state is one array of D * LANES floats, coefficient k of sample l at k * LANES + l. Noise cannot be undone, so
operations write to another array and the backward pass finds the states before each operation on a tape. Backward
kernels apply the transposed map to lambda, the gradient of the loss by the coefficients. Sums over coefficients go in
two levels, as in `gates`.
"""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.engine.kernels.simd import LANES, add, fma, fnma, kernel, load, mul, splat, store, sub

RUN = 64


@kernel
def affine(source: Any, target: Any, dim: int, qubit: int, maps: Any, at: int, unital: bool) -> None:
    """Map the Bloch vector of one qubit; the 3 x 4 matrix of each lane stands in `maps[at:]`."""
    m01, m02, m03 = load(maps, at + LANES), load(maps, at + 2 * LANES), load(maps, at + 3 * LANES)
    m11, m12, m13 = load(maps, at + 5 * LANES), load(maps, at + 6 * LANES), load(maps, at + 7 * LANES)
    m21, m22, m23 = load(maps, at + 9 * LANES), load(maps, at + 10 * LANES), load(maps, at + 11 * LANES)
    step = LANES << 2 * qubit
    for group in range(dim >> 2):
        i = LANES * ((group >> 2 * qubit << 2 * qubit + 2) | (group & ((1 << 2 * qubit) - 1)))
        r, x, y, z = load(source, i), load(source, i + step), load(source, i + 2 * step), load(source, i + 3 * step)
        a = fma(m03, z, fma(m02, y, mul(m01, x)))
        b = fma(m13, z, fma(m12, y, mul(m11, x)))
        c = fma(m23, z, fma(m22, y, mul(m21, x)))
        if not unital:
            a = fma(load(maps, at), r, a)
            b = fma(load(maps, at + 4 * LANES), r, b)
            c = fma(load(maps, at + 8 * LANES), r, c)
        store(target, i, r)
        store(target, i + step, a)
        store(target, i + 2 * step, b)
        store(target, i + 3 * step, c)


@kernel
def affine_back(before: Any, lam: Any, dim: int, qubit: int, maps: Any, at: int, unital: bool, slopes: Any) -> None:
    """Transposed map of lambda, in place; the gradient by the 3 x 4 matrix goes to `slopes`."""
    step = LANES << 2 * qubit
    zero = sub(load(maps, at), load(maps, at))
    for k in range(12):
        store(slopes, k * LANES, zero)
    start = 0
    while start < dim >> 2:
        w00, w01, w02, w03 = zero, zero, zero, zero
        w10, w11, w12, w13 = zero, zero, zero, zero
        w20, w21, w22, w23 = zero, zero, zero, zero
        for group in range(start, min(start + RUN, dim >> 2)):
            i = LANES * ((group >> 2 * qubit << 2 * qubit + 2) | (group & ((1 << 2 * qubit) - 1)))
            a, b, c = load(lam, i + step), load(lam, i + 2 * step), load(lam, i + 3 * step)
            x, y, z = load(before, i + step), load(before, i + 2 * step), load(before, i + 3 * step)
            w01, w02, w03 = fma(a, x, w01), fma(a, y, w02), fma(a, z, w03)
            w11, w12, w13 = fma(b, x, w11), fma(b, y, w12), fma(b, z, w13)
            w21, w22, w23 = fma(c, x, w21), fma(c, y, w22), fma(c, z, w23)
            if not unital:
                r = load(before, i)
                w00, w10, w20 = fma(a, r, w00), fma(b, r, w10), fma(c, r, w20)
                u = fma(load(maps, at + 4 * LANES), b, fma(load(maps, at), a, load(lam, i)))
                store(lam, i, fma(load(maps, at + 8 * LANES), c, u))
            for k in range(1, 4):
                first = mul(load(maps, at + k * LANES), a)
                second = fma(load(maps, at + (4 + k) * LANES), b, first)
                store(lam, i + k * step, fma(load(maps, at + (8 + k) * LANES), c, second))
        _accumulate(slopes, 0, w00, w01, w02, w03)
        _accumulate(slopes, 4 * LANES, w10, w11, w12, w13)
        _accumulate(slopes, 8 * LANES, w20, w21, w22, w23)
        start += RUN


@kernel
def _accumulate(slopes: Any, at: int, a: Any, b: Any, c: Any, d: Any) -> None:
    store(slopes, at, add(load(slopes, at), a))
    store(slopes, at + LANES, add(load(slopes, at + LANES), b))
    store(slopes, at + 2 * LANES, add(load(slopes, at + 2 * LANES), c))
    store(slopes, at + 3 * LANES, add(load(slopes, at + 3 * LANES), d))


@kernel
def turn(source: Any, target: Any, dim: int, pairs: Any, half: Any, at: int) -> None:
    """Rotation about a Pauli string; cos and sin of the angle of each lane stand in `half[at:]`."""
    c, s = load(half, at), load(half, at + LANES)
    target[:] = source
    for k in range(dim >> 2):
        i, j = LANES * pairs[k, 0], LANES * pairs[k, 1]
        x, y = load(source, i), load(source, j)
        store(target, i, fma(s, y, mul(c, x)))
        store(target, j, fnma(s, x, mul(c, y)))


@kernel
def turn_back(before: Any, lam: Any, dim: int, pairs: Any, half: Any, at: int) -> Any:
    """Transposed rotation of lambda, in place; returns the gradient by the angle."""
    c, s = load(half, at), load(half, at + LANES)
    total = sub(c, c)
    start = 0
    while start < dim >> 2:
        part = sub(c, c)
        for k in range(start, min(start + RUN, dim >> 2)):
            i, j = LANES * pairs[k, 0], LANES * pairs[k, 1]
            a, b = load(lam, i), load(lam, j)
            u, v = fnma(s, b, mul(c, a)), fma(s, a, mul(c, b))
            store(lam, i, u)
            store(lam, j, v)
            part = fnma(v, load(before, i), fma(u, load(before, j), part))
        total = add(total, part)
        start += RUN
    return total


@kernel
def table(source: Any, target: Any, dim: int, places: Any, factors: Any) -> None:
    """target[k] = factors[k] source[places[k]]."""
    for k in range(dim):
        store(target, LANES * k, mul(splat(factors[k]), load(source, LANES * places[k])))


@kernel
def table_back(source: Any, target: Any, dim: int, places: Any, factors: Any) -> None:
    """target[places[k]] = factors[k] source[k]."""
    for k in range(dim):
        store(target, LANES * places[k], mul(splat(factors[k]), load(source, LANES * k)))


@kernel
def sparse(source: Any, target: Any, dim: int, rows: Any, columns: Any, values: Any, qubits: Any, size: int) -> None:
    """A constant channel on the first `size` of `qubits`."""
    mask = 0
    for k in range(size):
        mask |= 3 << 2 * qubits[k]
    zero = splat(source.dtype.type(0.0))
    for base in range(dim):
        if base & mask:
            continue
        for row in range(1 << 2 * size):
            total = zero
            for entry in range(rows[row], rows[row + 1]):
                i = LANES * _spread(base, columns[entry], qubits, size)
                total = fma(splat(values[entry]), load(source, i), total)
            store(target, LANES * _spread(base, row, qubits, size), total)


@kernel
def sparse_back(
    source: Any, target: Any, dim: int, rows: Any, columns: Any, values: Any, qubits: Any, size: int
) -> None:
    """The transposed map of `sparse`."""
    mask = 0
    for k in range(size):
        mask |= 3 << 2 * qubits[k]
    target[:] = source.dtype.type(0.0)
    for base in range(dim):
        if base & mask:
            continue
        for row in range(1 << 2 * size):
            value = load(source, LANES * _spread(base, row, qubits, size))
            for entry in range(rows[row], rows[row + 1]):
                i = LANES * _spread(base, columns[entry], qubits, size)
                store(target, i, fma(splat(values[entry]), value, load(target, i)))


@kernel
def _spread(base: int, code: int, qubits: Any, size: int) -> int:
    for k in range(size):
        base |= (code >> 2 * k & 3) << 2 * qubits[k]
    return base
