"""Kernels of the forward pass: from |0...0> to the final state, and from there to expectation values."""

from __future__ import annotations

from typing import Any

from qhybrid.quantum.circuits.feasibility import LANES
from qhybrid.quantum.engine.kernels.compilation import kernel
from qhybrid.quantum.engine.kernels.opcodes import BLOCK, DENSE, PERMUTE, ROTATE
from qhybrid.quantum.engine.kernels.vectors import Amplitude, add_lane, combine, staged, store_lane, zero_lane
from qhybrid.quantum.engine.statevector.blocks import initial_unitary
from qhybrid.quantum.engine.statevector.gates import block, dense, load_unitary, odd, overlap, permute, rotate
from qhybrid.quantum.engine.statevector.program import StateVectorProgram
from qhybrid.quantum.engine.statevector.workspace import Workspace


@staged()
def set_one(state: Any, i: Any) -> None:
    """Amplitude 1."""
    state[i] = Amplitude(state.constant(1.0), state.constant(0.0))


@staged()
def append_qubit(source: Any, k: Any, target: Any, i: Any, j: Any, unitary: Any) -> None:
    """Amplitude k of a product state becomes those with the next qubit in |0> (at i) and |1> (at j)."""
    x = source[k]
    target[j] = combine((Amplitude(*unitary[2:]), x))
    target[i] = combine((Amplitude(*unitary[:2]), x))


@kernel(lean=True)
def evolve(program: StateVectorProgram, work: Workspace) -> bool:
    """Compute the final state; true if it lies in `work.spare` instead of `work.psi`."""
    psi, spare, swapped = work.psi, work.spare, False
    dim, one = 1 << program.num_qubits, psi.dtype.type(1.0)
    set_one(psi, 0)
    for qubit in range(program.num_qubits):
        unitary = initial_unitary(program, work, qubit)
        for k in range(1 << qubit):
            append_qubit(psi, k, psi, k, k + (1 << qubit), unitary)
    ops = program.ops
    for index in range(ops.shape[0]):
        kind, a, b, c, d = ops[index, 0], ops[index, 1], ops[index, 2], ops[index, 3], ops[index, 4]
        if kind == BLOCK:
            block(psi, dim, a, load_unitary(work.blocks, b))
        elif kind == ROTATE:
            rotate(psi, dim, b, c, d, work.half, 2 * a, one)
        elif kind == PERMUTE:
            permute(psi, spare, dim, program.tables, a, program.phases, b)
            psi, spare, swapped = spare, psi, not swapped
        else:
            dense(psi, dim, program.dense, a, program.dense_qubits, b, c, kind != DENSE, work.room)
    return swapped


@staged()
def _store_probability(chunk: Any, k: Any, psi: Any, i: Any) -> None:
    x = psi[i]
    chunk.set_lane(k, x.re * x.re + x.im * x.im)


@staged(outputs=1)
def _add_signed(total: Any, signs: Any, at: Any, chunk: Any, k: Any) -> Any:
    return (total[0] + signs.scalar(at) * chunk.lane(k),)


@staged(outputs=1)
def negated(lane: Any) -> Any:
    """The vector times -1."""
    return (-lane[0],)


@kernel(lean=True)
def expectations(program: StateVectorProgram, work: Workspace, psi: Any) -> None:
    """<psi| P |psi> of all terms into `work.terms`."""
    dim = 1 << program.num_qubits
    count, size = program.diagonal.shape[0], program.sign_table.shape[1]
    if count:
        for t in range(count):
            store_lane(work.terms, program.diagonal[t, 1], zero_lane(psi))
        for base in range(0, dim, size):
            for k in range(size):
                _store_probability(work.chunk, k, psi, base + k)
            for t in range(count):
                part = zero_lane(psi)
                for k in range(size):
                    part = _add_signed(part, program.sign_table, t * size + k, work.chunk, k)
                if odd(base & program.diagonal[t, 0]):
                    part = negated(part)
                add_lane(work.terms, program.diagonal[t, 1], part)
    for t in range(program.paulis.shape[0]):
        x, z, num_y, at = program.paulis[t, 0], program.paulis[t, 1], program.paulis[t, 2], program.paulis[t, 3]
        store_lane(work.terms, at, overlap(psi, psi, dim, x, z, num_y))


@kernel(lean=True)
def write_outputs(program: StateVectorProgram, work: Workspace, sample: int, out: Any) -> None:
    """Observables of the slice from its terms."""
    for lane in range(min(LANES, out.shape[0] - sample)):
        for m in range(program.obs_constant.shape[0]):
            value = program.obs_constant[m]
            for k in range(program.obs_start[m], program.obs_start[m + 1]):
                value += program.obs_coefficient[k] * work.terms[program.obs_term[k] * LANES + lane]
            out[sample + lane, m] = value
