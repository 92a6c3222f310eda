"""Kernels of the backward pass, the adjoint method: undo gate after gate on psi and lambda = sum_m g_m O_m psi.

The gradient by the angle of exp(-i angle/2 P) is Im<lambda| P |psi>, measured behind the gate.
"""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.opcodes import BLOCK, DENSE, PERMUTE, ROTATE, SUM_RUN
from qhybrid.quantum.engine.kernels.vectors import (
    Amplitude,
    add_lane,
    combine,
    load_lane,
    staged,
    store_lane,
    zero_lane,
)
from qhybrid.quantum.engine.statevector.blocks import distribute, initial_unitary
from qhybrid.quantum.engine.statevector.forward import append_qubit, negated, set_one
from qhybrid.quantum.engine.statevector.gates import add_pauli, dense, load_unitary, odd, overlap, permute_back, rotate
from qhybrid.quantum.engine.statevector.program import StateVectorProgram
from qhybrid.quantum.engine.statevector.workspace import Workspace


@staged()
def _add_weight(chunk: Any, k: Any, signs: Any, at: Any, weight: Any) -> None:
    chunk.set_lane(k, chunk.lane(k) + signs.scalar(at) * weight[0])


@staged()
def _weigh(lam: Any, psi: Any, i: Any, chunk: Any, k: Any) -> None:
    weight, x = chunk.lane(k), psi[i]
    lam[i] = Amplitude(weight * x.re, weight * x.im)


@kernel(lean=True)
def start_lambda(program: StateVectorProgram, work: Workspace, psi: Any, sample: int, gradient_out: Any) -> None:
    """lambda = sum_m gradient_out[m] O_m psi."""
    real = work.psi.dtype.type
    dim = 1 << program.num_qubits
    count, size = program.diagonal.shape[0], program.sign_table.shape[1]
    for k in range(work.terms.shape[0]):
        work.terms[k] = real(0.0)
    for lane in range(LANES):
        row = min(sample + lane, gradient_out.shape[0] - 1)
        for m in range(program.obs_constant.shape[0]):
            for k in range(program.obs_start[m], program.obs_start[m + 1]):
                weight = real(program.obs_coefficient[k] * gradient_out[row, m])
                work.terms[program.obs_term[k] * LANES + lane] += weight
    for base in range(0, dim, size):
        for k in range(size):
            store_lane(work.chunk, k, zero_lane(psi))
        for t in range(count):
            weights = load_lane(work.terms, program.diagonal[t, 1])
            if odd(base & program.diagonal[t, 0]):
                weights = negated(weights)
            for k in range(size):
                _add_weight(work.chunk, k, program.sign_table, t * size + k, weights)
        for k in range(size):
            _weigh(work.lam, psi, base + k, work.chunk, k)
    for t in range(program.paulis.shape[0]):
        x, z, num_y, at = program.paulis[t, 0], program.paulis[t, 1], program.paulis[t, 2], program.paulis[t, 3]
        add_pauli(work.lam, psi, dim, x, z, num_y, load_lane(work.terms, at))


@staged(outputs=3)
def _undo_pair(psi: Any, lam: Any, i: Any, j: Any, unitary: Any, slopes: Any) -> Any:
    a, b = Amplitude(*unitary[:2]), Amplitude(*unitary[2:])
    x, y, u, v = psi[i], psi[j], lam[i], lam[j]
    sx = slopes[0] + u.re * y.im - u.im * y.re + v.re * x.im - v.im * x.re
    sy = slopes[1] - u.re * y.re - u.im * y.im + v.re * x.re + v.im * x.im
    sz = slopes[2] + u.re * x.im - u.im * x.re - v.re * y.im + v.im * y.re
    psi[i] = combine((a.conj(), x), (b.conj(), y))
    psi[j] = combine((a, y), (-b, x))
    lam[i] = combine((a.conj(), u), (b.conj(), v))
    lam[j] = combine((a, v), (-b, u))
    return sx, sy, sz


@staged(outputs=3)
def _no_slopes(array: Any) -> Any:
    zero = array.constant(0.0)
    return zero, zero, zero


@staged(outputs=3)
def _add_slopes(a: Any, b: Any) -> Any:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@kernel(lean=True)
def _block_back(psi: Any, lam: Any, dim: int, qubit: int, unitary: Any) -> Any:
    """Undo a block on both states; Im<lambda| P |psi> for P = X, Y, Z."""
    stride = 1 << qubit
    slopes = _no_slopes(psi)
    for start in range(0, dim >> 1, SUM_RUN):
        part = _no_slopes(psi)
        for pair in range(start, min(start + SUM_RUN, dim >> 1)):
            low = (pair >> qubit << (qubit + 1)) | (pair & (stride - 1))
            part = _undo_pair(psi, lam, low, low | stride, unitary, part)
        slopes = _add_slopes(slopes, part)
    return slopes


@kernel(lean=True)
def sweep_back(program: StateVectorProgram, work: Workspace, psi: Any, spare: Any) -> None:
    """Undo the circuit on psi and lambda; slopes of all angles into `work.angle_slopes`."""
    dim, minus = 1 << program.num_qubits, psi.dtype.type(-1.0)
    lam, ops = work.lam, program.ops
    for angle in range(program.angle_offset.shape[0]):
        store_lane(work.angle_slopes, angle, zero_lane(psi))
    for index in range(ops.shape[0] - 1, -1, -1):
        kind, a, b, c, d = ops[index, 0], ops[index, 1], ops[index, 2], ops[index, 3], ops[index, 4]
        if kind == BLOCK:
            slopes = _block_back(psi, lam, dim, a, load_unitary(work.blocks, b))
            distribute(program, work, b, slopes)
        elif kind == ROTATE:
            add_lane(work.angle_slopes, a, overlap(lam, psi, dim, b, c, d + 3))
            rotate(psi, dim, b, c, d, work.half, 2 * a, minus)
            rotate(lam, dim, b, c, d, work.half, 2 * a, minus)
        elif kind == PERMUTE:
            permute_back(psi, spare, dim, program.tables, a, program.phases, b)
            psi, spare = spare, psi
            permute_back(lam, spare, dim, program.tables, a, program.phases, b)
            lam, spare = spare, lam
        else:
            dense(psi, dim, program.dense, a, program.dense_qubits, b, c, kind == DENSE, work.room)
            dense(lam, dim, program.dense, a, program.dense_qubits, b, c, kind == DENSE, work.room)
    _product_back(program, work, psi, lam)


@staged(outputs=4)
def _contract(lam: Any, low: Any, i: Any, j: Any, unitary: Any, sums: Any) -> Any:
    """Add conj(lambda) times the lower qubits' product to the sums; contract this qubit in lambda."""
    a, b = Amplitude(*unitary[:2]), Amplitude(*unitary[2:])
    p, x, y = low[j], lam[i], lam[j]
    er, ei, fr, fi = sums
    er, ei = er + x.re * p.re + x.im * p.im, ei + x.re * p.im - x.im * p.re
    fr, fi = fr + y.re * p.re + y.im * p.im, fi + y.re * p.im - y.im * p.re
    lam[i] = combine((a.conj(), x), (b.conj(), y))
    return er, ei, fr, fi


@staged(outputs=4)
def _no_sums(array: Any) -> Any:
    zero = array.constant(0.0)
    return zero, zero, zero, zero


@staged(outputs=3)
def _slopes_of(sums: Any, unitary: Any) -> Any:
    er, ei, fr, fi = sums
    ar, ai, br, bi = unitary
    sx = er * bi + ei * br + fr * ai + fi * ar
    sy = ei * bi - er * br + fr * ar - fi * ai
    sz = er * ai + ei * ar - fr * bi - fi * br
    return sx, sy, sz


@kernel(lean=True)
def _product_back(program: StateVectorProgram, work: Workspace, low: Any, lam: Any) -> None:
    """Slopes of the blocks in the initial product state.

    <lambda| P_q |psi> needs lambda contracted with every other qubit's state: the higher ones are contracted into
    lambda itself, highest first; the product of the lower ones is kept in `low`, 2**q amplitudes from place 2**q on.
    All qubits together cost a few passes over one state.
    """
    set_one(low, 1)
    for qubit in range(program.num_qubits - 1):
        unitary = initial_unitary(program, work, qubit)
        size = 1 << qubit
        for k in range(size):
            append_qubit(low, size + k, low, 2 * size + k, 3 * size + k, unitary)
    for qubit in range(program.num_qubits - 1, -1, -1):
        unitary = initial_unitary(program, work, qubit)
        size = 1 << qubit
        sums = _no_sums(low)
        for k in range(size):
            sums = _contract(lam, low, k, k + size, unitary, sums)
        if program.initial[qubit] >= 0:
            distribute(program, work, program.initial[qubit], _slopes_of(sums, unitary))


@kernel(lean=True)
def write_gradient(
    program: StateVectorProgram, work: Workspace, sample: int, by_row: Any, by_slice: Any, index: int
) -> None:
    """Gradient by feature: of each sample for those that differ, summed over the slice for the common ones."""
    split = by_row.shape[1]
    for k in range(by_slice.shape[1]):
        by_slice[index, k] = 0.0
    for lane in range(min(LANES, by_row.shape[0] - sample)):
        row = sample + lane
        for k in range(split):
            by_row[row, k] = 0.0
        for angle in range(program.angle_offset.shape[0]):
            slope = work.angle_slopes[angle * LANES + lane]
            for k in range(program.angle_start[angle], program.angle_start[angle + 1]):
                feature = program.angle_feature[k]
                if feature < split:
                    by_row[row, feature] += program.angle_slope[k] * slope
                else:
                    by_slice[index, feature - split] += program.angle_slope[k] * slope
