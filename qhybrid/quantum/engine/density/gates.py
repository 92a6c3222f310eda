"""Kernels of the density-matrix simulator: one operation on the Pauli coefficients of `LANES` states at once.

A state is one array of D * LANES floats, coefficient k of sample l at k * LANES + l; offsets into arrays of vectors
count vectors. Noise cannot be undone, so operations write to another array and the backward pass finds the states
before each operation on a tape. Backward kernels apply the transposed map to lambda, the gradient of the loss by the
coefficients. Sums over coefficients go in two levels, as those of the state-vector simulator.
"""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.opcodes import SUM_RUN
from qhybrid.quantum.engine.kernels.vectors import add_lanes, fma, load_lane, staged, store_lane, zero_lane


@staged(outputs=12)
def _load_map(maps: Any, at: Any) -> Any:
    return tuple(maps.lane(at + k) for k in range(12))


def _vector_of(state: Any, i: Any, step: Any) -> Any:
    """One qubit's coefficients of I, X, Z and Y, with the others' Pauli string fixed by `i`."""
    return tuple(state.lane(i + step * k) for k in range(4))


def _bloch_row(row: Any, x: Any, z: Any, y: Any) -> Any:
    return fma(row[3], y, fma(row[2], z, row[1] * x))


@staged()
def _map_unital(source: Any, target: Any, i: Any, step: Any, matrix: Any) -> None:
    r, *bloch = _vector_of(source, i, step)
    rows = [_bloch_row(matrix[k : k + 4], *bloch) for k in (0, 4, 8)]
    for k, lane in enumerate((r, *rows)):
        target.set_lane(i + step * k, lane)


@staged()
def _map_shifted(source: Any, target: Any, i: Any, step: Any, matrix: Any) -> None:
    r, *bloch = _vector_of(source, i, step)
    rows = [fma(matrix[k], r, _bloch_row(matrix[k : k + 4], *bloch)) for k in (0, 4, 8)]
    for k, lane in enumerate((r, *rows)):
        target.set_lane(i + step * k, lane)


@kernel()
def affine(source: Any, target: Any, dim: int, qubit: int, maps: Any, at: int, unital: bool) -> None:
    """Map the Bloch vector of one qubit; the 3 x 4 matrix of each lane stands in `maps` from vector `at` on."""
    matrix = _load_map(maps, at)
    step = 1 << 2 * qubit
    for group in range(dim >> 2):
        i = (group >> 2 * qubit << 2 * qubit + 2) | (group & (step - 1))
        if unital:
            _map_unital(source, target, i, step, matrix)
        else:
            _map_shifted(source, target, i, step, matrix)


@staged(outputs=12)
def _zero_map(array: Any) -> Any:
    return (array.constant(0.0),) * 12


@staged(outputs=12)
def _add_slopes(lam: Any, before: Any, i: Any, step: Any, slopes: Any) -> Any:
    """Gradient by the linear part of the matrix, which is all that a unital map has."""
    _, *gradient = _vector_of(lam, i, step)
    _, *bloch = _vector_of(before, i, step)
    return [slopes[k] if k % 4 == 0 else fma(gradient[k // 4], bloch[k % 4 - 1], slopes[k]) for k in range(12)]


@staged(outputs=12)
def _add_shift_slopes(lam: Any, before: Any, i: Any, step: Any, slopes: Any) -> Any:
    """Gradient by the shifts."""
    r = before.lane(i)
    return [fma(lam.lane(i + step * (k // 4 + 1)), r, slopes[k]) if k % 4 == 0 else slopes[k] for k in range(12)]


def _below(matrix: Any, k: int, first: Any, b: Any, c: Any) -> Any:
    """`first` plus the lower two entries of column k times theirs."""
    return fma(matrix[8 + k], c, fma(matrix[4 + k], b, first))


@staged()
def _map_back(lam: Any, i: Any, step: Any, matrix: Any) -> None:
    _, a, b, c = _vector_of(lam, i, step)
    for k in (1, 2, 3):
        lam.set_lane(i + step * k, _below(matrix, k, matrix[k] * a, b, c))


@staged()
def _shift_back(lam: Any, i: Any, step: Any, matrix: Any) -> None:
    r, a, b, c = _vector_of(lam, i, step)
    lam.set_lane(i, _below(matrix, 0, fma(matrix[0], a, r), b, c))


@staged()
def _store_slopes(slopes: Any, values: Any) -> None:
    for k in range(12):
        slopes.set_lane(k, values[k])


@staged(outputs=12)
def _add_maps(a: Any, b: Any) -> Any:
    return [x + y for x, y in zip(a, b, strict=True)]


@kernel()
def affine_back(before: Any, lam: Any, dim: int, qubit: int, maps: Any, at: int, unital: bool, slopes: Any) -> None:
    """Transposed map of lambda, in place; the gradient by the 3 x 4 matrix goes to `slopes`."""
    matrix = _load_map(maps, at)
    step = 1 << 2 * qubit
    total = _zero_map(maps)
    for start in range(0, dim >> 2, SUM_RUN):
        part = _zero_map(maps)
        for group in range(start, min(start + SUM_RUN, dim >> 2)):
            i = (group >> 2 * qubit << 2 * qubit + 2) | (group & (step - 1))
            part = _add_slopes(lam, before, i, step, part)
            if not unital:
                part = _add_shift_slopes(lam, before, i, step, part)
                _shift_back(lam, i, step, matrix)
            _map_back(lam, i, step, matrix)
        total = _add_maps(total, part)
    _store_slopes(slopes, total)


@staged()
def _turn_pair(source: Any, target: Any, i: Any, j: Any, c: Any, s: Any) -> None:
    x, y = source.lane(i), source.lane(j)
    target.set_lane(i, fma(s[0], y, c[0] * x))
    target.set_lane(j, fma(-s[0], x, c[0] * y))


@kernel()
def turn(source: Any, target: Any, dim: int, pairs: Any, trig: Any, at: int) -> None:
    """Rotation about a Pauli string; cos and sin of each lane's angle are vectors `at` and `at + 1` of `trig`."""
    c, s = load_lane(trig, at), load_lane(trig, at + 1)
    target[:] = source
    for k in range(dim >> 2):
        _turn_pair(source, target, pairs[k, 0], pairs[k, 1], c, s)


@staged(outputs=1)
def _turn_pair_back(before: Any, lam: Any, i: Any, j: Any, c: Any, s: Any, slope: Any) -> Any:
    a, b = lam.lane(i), lam.lane(j)
    u, v = fma(-s[0], b, c[0] * a), fma(s[0], a, c[0] * b)
    lam.set_lane(i, u)
    lam.set_lane(j, v)
    return (fma(-v, before.lane(i), fma(u, before.lane(j), slope[0])),)


@kernel()
def turn_back(before: Any, lam: Any, dim: int, pairs: Any, trig: Any, at: int) -> Any:
    """Transposed rotation of lambda, in place; returns the gradient by the angle."""
    c, s = load_lane(trig, at), load_lane(trig, at + 1)
    total = zero_lane(lam)
    for start in range(0, dim >> 2, SUM_RUN):
        part = zero_lane(lam)
        for k in range(start, min(start + SUM_RUN, dim >> 2)):
            part = _turn_pair_back(before, lam, pairs[k, 0], pairs[k, 1], c, s, part)
        total = add_lanes(total, part)
    return total


@staged()
def _move_scaled(source: Any, j: Any, target: Any, i: Any, factor: Any) -> None:
    target.set_lane(i, factor * source.lane(j))


@kernel()
def table(source: Any, target: Any, dim: int, places: Any, factors: Any) -> None:
    """target[k] = factors[k] source[places[k]]."""
    for k in range(dim):
        _move_scaled(source, places[k], target, k, factors[k])


@kernel()
def table_back(source: Any, target: Any, dim: int, places: Any, factors: Any) -> None:
    """target[places[k]] = factors[k] source[k]."""
    for k in range(dim):
        _move_scaled(source, k, target, places[k], factors[k])


@staged(outputs=1)
def _add_product(total: Any, factor: Any, source: Any, i: Any) -> Any:
    return (fma(factor, source.lane(i), total[0]),)


@staged()
def _add_product_to(target: Any, i: Any, factor: Any, value: Any) -> None:
    target.set_lane(i, fma(factor, value[0], target.lane(i)))


@kernel()
def sparse(source: Any, target: Any, dim: int, rows: Any, columns: Any, values: Any, qubits: Any, size: int) -> None:
    """A constant channel on the first `size` of `qubits`."""
    mask = 0
    for k in range(size):
        mask |= 3 << 2 * qubits[k]
    for base in range(dim):
        if base & mask:
            continue
        for row in range(1 << 2 * size):
            total = zero_lane(source)
            for entry in range(rows[row], rows[row + 1]):
                total = _add_product(total, values[entry], source, _spread(base, columns[entry], qubits, size))
            store_lane(target, _spread(base, row, qubits, size), total)


@kernel()
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
            value = load_lane(source, _spread(base, row, qubits, size))
            for entry in range(rows[row], rows[row + 1]):
                _add_product_to(target, _spread(base, columns[entry], qubits, size), values[entry], value)


@kernel()
def _spread(base: int, code: int, qubits: Any, size: int) -> int:
    for k in range(size):
        base |= (code >> 2 * k & 3) << 2 * qubits[k]
    return base
