"""The interpreter: whole circuits forwards and backwards, a slice of `LANES` samples at a time.

One slice goes through the whole circuit before the next begins, so its states stay in cache. Lanes never mix and
every sum has a fixed order, so a sample's numbers depend neither on its neighbours nor on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from qhybrid.quantum.gates import (
    add_pauli,
    block,
    block_back,
    dense,
    odd,
    overlap,
    permute,
    permute_back,
    rotate,
)
from qhybrid.quantum.program import BLOCK, FIXED_ELEMENT, PERMUTE, ROTATE, SIGN_CHUNK, Program
from qhybrid.quantum.simd import LANES, add, fma, fnma, kernel, load, mul, splat, store, sub

_MAX_DENSE = 64


class Workspace(NamedTuple):
    """Memory of one thread, all of the program's precision."""

    psi: Any
    lam: Any
    spare: Any
    half: Any
    blocks: Any
    angle_slopes: Any
    terms: Any
    chunk: Any
    room: Any
    slopes: Any


def make_workspace(program: Program, real: type[np.floating], *, backward: bool) -> Workspace:
    """Memory for one thread; about 2 or 3 states of `LANES` samples."""

    def array(rows: int) -> Any:
        return np.zeros(max(rows, 1) * LANES, dtype=real)

    dim = 2**program.num_qubits
    num_terms = len(program.diagonal) + len(program.paulis)
    return Workspace(
        psi=array(2 * dim),
        lam=array(2 * dim if backward else 1),
        spare=array(2 * dim),
        half=array(2 * len(program.angle_offset)),
        blocks=array(4 * (len(program.block_start) - 1)),
        angle_slopes=array(len(program.angle_offset)),
        terms=array(max(num_terms, int(program.obs_term.max(initial=0)) + 1)),
        chunk=array(SIGN_CHUNK),
        room=array(2 * _MAX_DENSE),
        slopes=array(3),
    )


@kernel
def run_forward(
    program: Program, work: Workspace, values: Any, varying: Any, first: int, last: int, states: Any, out: Any
) -> None:
    """Expectation values of slices first ... last - 1.

    Args:
        program: The circuit.
        work: This thread's memory.
        values: (B, F) float64 features.
        varying: (n_angles + n_blocks,) 1 where the angle, then the block, differs between samples.
        first: First slice.
        last: Slice to stop before.
        states: (slices, 2 * D * LANES) final states to keep for `run_backward`, or (0, 0).
        out: (B, M) float64, written.
    """
    for step in range(first, last):
        _prepare(program, work, values, varying, step * LANES, step == first)
        psi = _evolve(program, work)
        if states.shape[0]:
            states[step] = psi
        _expectations(program, work, psi)
        _write_outputs(program, work, step * LANES, out)


@kernel
def run_backward(
    program: Program,
    work: Workspace,
    values: Any,
    varying: Any,
    first: int,
    last: int,
    states: Any,
    gradient_out: Any,
    gradient: Any,
) -> None:
    """Vector-Jacobian products of slices first ... last - 1.

    Args:
        program: The circuit.
        work: This thread's memory.
        values: (B, F) float64 features.
        varying: As in `run_forward`.
        first: First slice.
        last: Slice to stop before.
        states: Final states that `run_forward` kept, or (0, 0) to compute them again.
        gradient_out: (B, M) float64.
        gradient: (B, F) float64, written.
    """
    for step in range(first, last):
        _prepare(program, work, values, varying, step * LANES, step == first)
        if states.shape[0]:
            psi, spare = work.psi, work.spare
            psi[:] = states[step]
        else:
            psi = _evolve(program, work)
            spare = work.spare if psi is work.psi else work.psi
        _start_lambda(program, work, psi, step * LANES, gradient_out)
        _sweep_back(program, work, psi, spare)
        _write_gradient(program, work, step * LANES, gradient)


@kernel
def _prepare(program: Program, work: Workspace, values: Any, varying: Any, sample: int, everything: bool) -> None:
    """cos and sin of all half angles and the unitaries of all blocks; what all samples share only once."""
    real = work.psi.dtype.type
    num_angles = program.angle_offset.shape[0]
    for angle in range(num_angles):
        if not (everything or varying[angle]):
            continue
        for lane in range(LANES):
            row = min(sample + lane, values.shape[0] - 1)
            value = program.angle_offset[angle]
            for k in range(program.angle_start[angle], program.angle_start[angle + 1]):
                value += program.angle_slope[k] * values[row, program.angle_feature[k]]
            work.half[2 * angle * LANES + lane] = real(math.cos(value / 2))
            work.half[(2 * angle + 1) * LANES + lane] = real(math.sin(value / 2))
    for index in range(program.block_start.shape[0] - 1):
        if everything or varying[num_angles + index]:
            _build_block(program, work, index)


@kernel
def _build_block(program: Program, work: Workspace, index: int) -> None:
    real = work.psi.dtype.type
    zero = splat(real(0.0))
    ar, ai, br, bi = splat(real(1.0)), zero, zero, zero
    for k in range(program.block_start[index], program.block_start[index + 1]):
        kind, which = program.elements[k, 0], program.elements[k, 1]
        # The element is [[c, -d*], [d, c*]] and multiplies from the left.
        if kind == FIXED_ELEMENT:
            cr, ci = splat(program.constants[which, 0]), splat(program.constants[which, 1])
            dr, di = splat(program.constants[which, 2]), splat(program.constants[which, 3])
        else:
            cr, sine = load(work.half, 2 * which * LANES), load(work.half, (2 * which + 1) * LANES)
            ci, dr, di = zero, zero, zero
            if kind == 0:
                di = sub(zero, sine)
            elif kind == 1:
                dr = sine
            else:
                ci = sub(zero, sine)
        nar = fnma(di, bi, fnma(dr, br, fnma(ci, ai, mul(cr, ar))))
        nai = fma(di, br, fnma(dr, bi, fma(ci, ar, mul(cr, ai))))
        nbr = fma(ci, bi, fma(cr, br, fnma(di, ai, mul(dr, ar))))
        nbi = fnma(ci, br, fma(cr, bi, fma(di, ar, mul(dr, ai))))
        ar, ai, br, bi = nar, nai, nbr, nbi
    at = 4 * index * LANES
    store(work.blocks, at, ar)
    store(work.blocks, at + LANES, ai)
    store(work.blocks, at + 2 * LANES, br)
    store(work.blocks, at + 3 * LANES, bi)


@kernel
def _initial_column(program: Program, work: Workspace, qubit: int) -> Any:
    """The state (a, b) of a qubit before the first operation on several qubits."""
    real = work.psi.dtype.type
    index = program.initial[qubit]
    zero = splat(real(0.0))
    ar, ai, br, bi = splat(real(1.0)), zero, zero, zero
    if index >= 0:
        at = 4 * index * LANES
        ar, ai = load(work.blocks, at), load(work.blocks, at + LANES)
        br, bi = load(work.blocks, at + 2 * LANES), load(work.blocks, at + 3 * LANES)
    return ar, ai, br, bi


@kernel
def _evolve(program: Program, work: Workspace) -> Any:
    """The final state; it lies in `work.psi` or `work.spare`, which is returned."""
    real = work.psi.dtype.type
    psi, spare = work.psi, work.spare
    dim = 1 << program.num_qubits
    store(psi, 0, splat(real(1.0)))
    store(psi, LANES, splat(real(0.0)))
    for qubit in range(program.num_qubits):
        ar, ai, br, bi = _initial_column(program, work, qubit)
        offset = 2 * LANES << qubit
        for k in range(1 << qubit):
            i = 2 * LANES * k
            xr, xi = load(psi, i), load(psi, i + LANES)
            store(psi, offset + i, fnma(bi, xi, mul(br, xr)))
            store(psi, offset + i + LANES, fma(bi, xr, mul(br, xi)))
            store(psi, i, fnma(ai, xi, mul(ar, xr)))
            store(psi, i + LANES, fma(ai, xr, mul(ar, xi)))
    for index in range(program.ops.shape[0]):
        op = program.ops[index]
        if op[0] == BLOCK:
            block(psi, dim, op[1], work.blocks, 4 * op[2] * LANES)
        elif op[0] == ROTATE:
            rotate(psi, dim, op[2], op[3], op[4], work.half, 2 * op[1] * LANES, 1)
        elif op[0] == PERMUTE:
            permute(psi, spare, dim, program.tables, op[1], program.phases, op[2])
            psi, spare = spare, psi
        else:
            dense(psi, dim, program.dense, op[1], program.dense_qubits, op[2], op[3], False, work.room)
    return psi


@kernel
def _expectations(program: Program, work: Workspace, psi: Any) -> None:
    """<psi| P |psi> of all terms into `work.terms`."""
    real = work.psi.dtype.type
    dim = 1 << program.num_qubits
    zero = splat(real(0.0))
    minus = splat(real(-1.0))
    if program.diagonal.shape[0]:
        for t in range(program.diagonal.shape[0]):
            store(work.terms, program.diagonal[t, 1] * LANES, zero)
        size = program.sign_table.shape[1]
        for base in range(0, dim, size):
            for k in range(size):
                i = 2 * LANES * (base + k)
                xr, xi = load(psi, i), load(psi, i + LANES)
                store(work.chunk, k * LANES, fma(xi, xi, mul(xr, xr)))
            for t in range(program.diagonal.shape[0]):
                part = zero
                for k in range(size):
                    part = fma(splat(program.sign_table[t, k]), load(work.chunk, k * LANES), part)
                if odd(base & program.diagonal[t, 0]):
                    part = mul(part, minus)
                at = program.diagonal[t, 1] * LANES
                store(work.terms, at, add(load(work.terms, at), part))
    for t in range(program.paulis.shape[0]):
        x, z, num_y, at = program.paulis[t, 0], program.paulis[t, 1], program.paulis[t, 2], program.paulis[t, 3]
        store(work.terms, at * LANES, overlap(psi, psi, dim, x, z, num_y, False))


@kernel
def _write_outputs(program: Program, work: Workspace, sample: int, out: Any) -> None:
    for lane in range(min(LANES, out.shape[0] - sample)):
        for m in range(program.obs_constant.shape[0]):
            value = program.obs_constant[m]
            for k in range(program.obs_start[m], program.obs_start[m + 1]):
                value += program.obs_coefficient[k] * work.terms[program.obs_term[k] * LANES + lane]
            out[sample + lane, m] = value


@kernel
def _start_lambda(program: Program, work: Workspace, psi: Any, sample: int, gradient_out: Any) -> None:
    """lambda = sum_m gradient_out[m] O_m psi."""
    real = work.psi.dtype.type
    dim = 1 << program.num_qubits
    zero = splat(real(0.0))
    minus = splat(real(-1.0))
    work.terms[:] = real(0.0)
    for lane in range(LANES):
        row = min(sample + lane, gradient_out.shape[0] - 1)
        for m in range(program.obs_constant.shape[0]):
            for k in range(program.obs_start[m], program.obs_start[m + 1]):
                work.terms[program.obs_term[k] * LANES + lane] += real(
                    program.obs_coefficient[k] * gradient_out[row, m]
                )
    size = program.sign_table.shape[1]
    for base in range(0, dim, size):
        for k in range(size):
            store(work.chunk, k * LANES, zero)
        for t in range(program.diagonal.shape[0]):
            weight = load(work.terms, program.diagonal[t, 1] * LANES)
            if odd(base & program.diagonal[t, 0]):
                weight = mul(weight, minus)
            for k in range(size):
                at = k * LANES
                store(work.chunk, at, fma(splat(program.sign_table[t, k]), weight, load(work.chunk, at)))
        for k in range(size):
            i = 2 * LANES * (base + k)
            weight = load(work.chunk, k * LANES)
            store(work.lam, i, mul(weight, load(psi, i)))
            store(work.lam, i + LANES, mul(weight, load(psi, i + LANES)))
    for t in range(program.paulis.shape[0]):
        x, z, num_y, at = program.paulis[t, 0], program.paulis[t, 1], program.paulis[t, 2], program.paulis[t, 3]
        add_pauli(work.lam, psi, dim, x, z, num_y, load(work.terms, at * LANES))


@kernel
def _sweep_back(program: Program, work: Workspace, psi: Any, spare: Any) -> None:
    """Undo the circuit on psi and lambda; slopes of all angles into `work.angle_slopes`."""
    real = work.psi.dtype.type
    dim = 1 << program.num_qubits
    lam = work.lam
    work.angle_slopes[:] = real(0.0)
    for index in range(program.ops.shape[0] - 1, -1, -1):
        op = program.ops[index]
        if op[0] == BLOCK:
            block_back(psi, lam, dim, op[1], work.blocks, 4 * op[2] * LANES, work.slopes)
            _distribute(program, work, op[2])
        elif op[0] == ROTATE:
            at = op[1] * LANES
            slope = overlap(lam, psi, dim, op[2], op[3], op[4], True)
            store(work.angle_slopes, at, add(load(work.angle_slopes, at), slope))
            rotate(psi, dim, op[2], op[3], op[4], work.half, 2 * at, -1)
            rotate(lam, dim, op[2], op[3], op[4], work.half, 2 * at, -1)
        elif op[0] == PERMUTE:
            permute_back(psi, spare, dim, program.tables, op[1], program.phases, op[2])
            psi, spare = spare, psi
            permute_back(lam, spare, dim, program.tables, op[1], program.phases, op[2])
            lam, spare = spare, lam
        else:
            dense(psi, dim, program.dense, op[1], program.dense_qubits, op[2], op[3], True, work.room)
            dense(lam, dim, program.dense, op[1], program.dense_qubits, op[2], op[3], True, work.room)
    _product_back(program, work, psi, lam)


@kernel
def _product_back(program: Program, work: Workspace, low: Any, lam: Any) -> None:
    """Slopes of the blocks in the initial product state.

    <lambda| P_q |psi> needs lambda contracted with every other qubit's state: the higher ones are contracted into
    lambda itself, highest first; the product of the lower ones is kept in `low`, 2**q amplitudes from place 2**q on.
    All qubits together cost a few passes over one state.
    """
    real = work.psi.dtype.type
    zero = splat(real(0.0))
    store(low, 2 * LANES, splat(real(1.0)))
    store(low, 3 * LANES, zero)
    for qubit in range(program.num_qubits - 1):
        ar, ai, br, bi = _initial_column(program, work, qubit)
        size = 1 << qubit
        for k in range(size):
            i = 2 * LANES * (size + k)
            xr, xi = load(low, i), load(low, i + LANES)
            j = 2 * LANES * (2 * size + k)
            store(low, j, fnma(ai, xi, mul(ar, xr)))
            store(low, j + LANES, fma(ai, xr, mul(ar, xi)))
            j += 2 * LANES * size
            store(low, j, fnma(bi, xi, mul(br, xr)))
            store(low, j + LANES, fma(bi, xr, mul(br, xi)))
    for qubit in range(program.num_qubits - 1, -1, -1):
        ar, ai, br, bi = _initial_column(program, work, qubit)
        size = 1 << qubit
        # (e, f) = sum over lower qubits of conj(lambda) times their product, for this qubit in |0> and |1>.
        er, ei, fr, fi = zero, zero, zero, zero
        for k in range(size):
            i, j = 2 * LANES * k, 2 * LANES * (k + size)
            pr, pi = load(low, j), load(low, j + LANES)
            xr, xi, yr, yi = load(lam, i), load(lam, i + LANES), load(lam, j), load(lam, j + LANES)
            er = fma(xi, pi, fma(xr, pr, er))
            ei = fnma(xi, pr, fma(xr, pi, ei))
            fr = fma(yi, pi, fma(yr, pr, fr))
            fi = fnma(yi, pr, fma(yr, pi, fi))
            # Contract this qubit: lambda <- conj(a) lambda_0 + conj(b) lambda_1.
            store(lam, i, fma(bi, yi, fma(br, yr, fma(ai, xi, mul(ar, xr)))))
            store(lam, i + LANES, fnma(bi, yr, fma(br, yi, fnma(ai, xr, mul(ar, xi)))))
        if program.initial[qubit] >= 0:
            sx = fma(fi, ar, fma(fr, ai, fma(ei, br, mul(er, bi))))
            sy = fnma(fi, ai, fma(fr, ar, fma(ei, bi, fnma(er, br, zero))))
            sz = fnma(fi, br, fnma(fr, bi, fma(ei, ar, mul(er, ai))))
            store(work.slopes, 0, sx)
            store(work.slopes, LANES, sy)
            store(work.slopes, 2 * LANES, sz)
            _distribute(program, work, program.initial[qubit])


@kernel
def _distribute(program: Program, work: Workspace, index: int) -> None:
    """Slopes of a block's angles from Im<lambda| X, Y, Z |psi> behind it, last element first.

    Before an element E the operators are E P E^dagger: a rotation of the three numbers.
    """
    real = work.psi.dtype.type
    two = splat(real(2.0))
    sx, sy, sz = load(work.slopes, 0), load(work.slopes, LANES), load(work.slopes, 2 * LANES)
    for k in range(program.block_start[index + 1] - 1, program.block_start[index] - 1, -1):
        kind, which = program.elements[k, 0], program.elements[k, 1]
        if kind == FIXED_ELEMENT:
            turn = program.constant_turns[which]
            nx = fma(splat(turn[2]), sz, fma(splat(turn[1]), sy, mul(splat(turn[0]), sx)))
            ny = fma(splat(turn[5]), sz, fma(splat(turn[4]), sy, mul(splat(turn[3]), sx)))
            nz = fma(splat(turn[8]), sz, fma(splat(turn[7]), sy, mul(splat(turn[6]), sx)))
            sx, sy, sz = nx, ny, nz
            continue
        at = which * LANES
        slope = sx if kind == 0 else (sy if kind == 1 else sz)
        store(work.angle_slopes, at, add(load(work.angle_slopes, at), slope))
        c, s = load(work.half, 2 * at), load(work.half, 2 * at + LANES)
        cosine = fnma(s, s, mul(c, c))
        sine = mul(two, mul(s, c))
        if kind == 0:
            sy, sz = fma(sine, sz, mul(cosine, sy)), fnma(sine, sy, mul(cosine, sz))
        elif kind == 1:
            sz, sx = fma(sine, sx, mul(cosine, sz)), fnma(sine, sz, mul(cosine, sx))
        else:
            sx, sy = fma(sine, sy, mul(cosine, sx)), fnma(sine, sx, mul(cosine, sy))


@kernel
def _write_gradient(program: Program, work: Workspace, sample: int, gradient: Any) -> None:
    for lane in range(min(LANES, gradient.shape[0] - sample)):
        row = sample + lane
        for k in range(gradient.shape[1]):
            gradient[row, k] = 0.0
        for angle in range(program.angle_offset.shape[0]):
            slope = work.angle_slopes[angle * LANES + lane]
            for k in range(program.angle_start[angle], program.angle_start[angle + 1]):
                gradient[row, program.angle_feature[k]] += program.angle_slope[k] * slope
