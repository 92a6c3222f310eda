"""A compiled circuit on any device of PyTorch: what the CPU kernels do, said in tensors.

States are (2**n, B) complex, the batch innermost. Backwards the adjoint method undoes operation after operation on psi
and lambda, so memory does not grow with depth.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.kernels.opcodes import BLOCK, FIXED_ELEMENT, PERMUTE, ROTATE
from qhybrid.quantum.engine.statevector.program import StateVectorProgram

STATE_BUDGET = 256 * 2**20
"""Bytes of one state of a batch; larger batches go through in parts. About five such tensors live at a time."""

_Unitary = tuple[Tensor, Tensor]
"""(a, b), each (B,), of [[a, -b*], [b, a*]]."""


class TorchCircuit:
    """Expectation values of a program and their vector-Jacobian products, on one device."""

    def __init__(self, program: StateVectorProgram, features: Features, device: torch.device) -> None:
        """Prepare a circuit for tensors on a device.

        Args:
            program: Arrays of the circuit; its precision is that of the tensors.
            features: Columns that the circuit's angles are linear in.
            device: Device of torch on which everything is computed.
        """
        self._program, self._features, self._device = program, features, device
        self._dim = 1 << program.num_qubits
        slopes = np.zeros((len(program.angle_offset), len(features)))
        rows = np.repeat(np.arange(len(slopes)), np.diff(program.angle_start))
        np.add.at(slopes, (rows, program.angle_feature), program.angle_slope)
        self._slopes, self._offset = self._tensor(slopes), self._tensor(program.angle_offset)
        real = program.constants.dtype
        coefficients = np.zeros((len(program.obs_constant), 1 + int(program.obs_term.max(initial=0))), dtype=real)
        rows = np.repeat(np.arange(len(coefficients)), np.diff(program.obs_start))
        np.add.at(coefficients, (rows, program.obs_term), program.obs_coefficient)
        self._coefficients, self._constant = self._tensor(coefficients), self._tensor(program.obs_constant.astype(real))
        self._real = self._coefficients.dtype
        self._complex = torch.complex64 if self._real == torch.float32 else torch.complex128
        self._states = torch.arange(self._dim, device=device)
        self._diagonal_terms = self._tensor(program.diagonal[:, 1])
        signs = [self._sign(int(z)) for z in program.diagonal[:, 0]]
        self._signs = torch.stack(signs) if signs else self._real_zeros(0, self._dim)
        self._tables = [self._tensor(table.astype(np.int64)) for table in program.tables]
        self._phases = [torch.view_as_complex(self._tensor(row).view(-1, 2)) for row in program.phases]

    def features(self, values: Tensor) -> Tensor:
        """Feature columns (B, F) float64 from parameter values (B, P)."""
        if self._features.linear:
            return values.to(self._device, torch.float64)
        return self._tensor(self._features.values(values.to("cpu", torch.float64).numpy()))

    def pull_back(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Gradient by parameter (B, P) from that by feature (B, F)."""
        if self._features.linear:
            return gradient
        host = self._features.pull_back(values.to("cpu", torch.float64).numpy(), gradient.cpu().numpy())
        return self._tensor(host)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Expectation values (B, M), and the final states if they are worth keeping for `vjp`."""
        outputs, states = [], None
        for part in self._parts(len(features)):
            turns = self._turns(features[part])
            states = self._evolve(turns)
            outputs.append(self._expectations(states))
        kept = states if len(outputs) == 1 else None
        return torch.cat(outputs) if outputs else self._constant.new_zeros(0, len(self._constant)), kept

    def vjp(self, features: Tensor, grad_output: Tensor, states: Tensor | None = None) -> Tensor:
        """Gradient of sum(grad_output * outputs) by feature (B, F) float64, one row per sample.

        Args:
            features: Features of each sample, `(B, F)` float64.
            grad_output: Gradient by each expectation value, `(B, M)`.
            states: Final states of these features; None computes them again.
        """
        gradients = []
        for part in self._parts(len(features)):
            turns = self._turns(features[part])
            psi = self._evolve(turns) if states is None else states
            lam = self._weighted(psi, grad_output[part].to(self._device, self._real))
            slopes = self._sweep_back(psi, lam, turns)
            gradients.append(slopes.T.to(torch.float64) @ self._slopes)
        return torch.cat(gradients) if gradients else self._slopes.new_zeros(0, self._slopes.shape[1])

    def _parts(self, batch: int) -> Iterator[slice]:
        size = max(1, STATE_BUDGET // (self._dim * self._complex.itemsize))
        for start in range(0, batch, size):
            yield slice(start, start + size)

    def _turns(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of all half angles, (angles, B)."""
        half = (self._slopes @ features.T + self._offset[:, None]) / 2
        return half.cos().to(self._real), half.sin().to(self._real)

    def _evolve(self, turns: tuple[Tensor, Tensor]) -> Tensor:
        batch = turns[0].shape[1]
        psi = torch.zeros(self._dim, batch, dtype=self._complex, device=self._device)
        psi[0] = 1
        for qubit, index in enumerate(self._program.initial):
            if index >= 0:
                psi = self._block(psi, qubit, self._unitary(int(index), turns))
        for kind, a, b, c, d in self._program.ops.tolist():
            if kind == BLOCK:
                psi = self._block(psi, a, self._unitary(b, turns))
            elif kind == ROTATE:
                psi = turns[0][a] * psi - 1j * turns[1][a] * self._pauli(psi, b, c, d)
            elif kind == PERMUTE:
                psi = psi.index_select(0, self._tables[a])
                if b >= 0:
                    psi = self._phases[b][:, None] * psi
            else:
                psi = self._dense(psi, a, b, c, inverse=False)
        return psi

    def _expectations(self, psi: Tensor) -> Tensor:
        terms = self._real_zeros(self._coefficients.shape[1], psi.shape[1])
        terms[self._diagonal_terms] = self._signs @ (psi.real**2 + psi.imag**2)
        for x, z, num_y, term in self._program.paulis.tolist():
            terms[term] = (psi.conj() * self._pauli(psi, x, z, num_y)).sum(0).real
        return (self._coefficients @ terms).T + self._constant

    def _weighted(self, psi: Tensor, grad_output: Tensor) -> Tensor:
        """lambda = sum_m grad_output[m] O_m psi."""
        weights = (grad_output @ self._coefficients).T
        lam = (self._signs.T @ weights[self._diagonal_terms]) * psi
        for x, z, num_y, term in self._program.paulis.tolist():
            lam = lam + weights[term] * self._pauli(psi, x, z, num_y)
        return lam

    def _sweep_back(self, psi: Tensor, lam: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        """Slopes (angles, B): Im<lambda| P |psi> behind each rotation."""
        slopes = self._real_zeros(*turns[0].shape)
        for kind, a, b, c, d in reversed(self._program.ops.tolist()):
            if kind == BLOCK:
                psi, lam = self._block_back(psi, lam, a, b, turns, slopes)
            elif kind == ROTATE:
                turned = self._pauli(psi, b, c, d)
                slopes[a] += (lam.conj() * turned).sum(0).imag
                psi = turns[0][a] * psi + 1j * turns[1][a] * turned
                lam = turns[0][a] * lam + 1j * turns[1][a] * self._pauli(lam, b, c, d)
            elif kind == PERMUTE:
                psi, lam = (self._permute_back(state, a, b) for state in (psi, lam))
            else:
                psi, lam = (self._dense(state, a, b, c, inverse=True) for state in (psi, lam))
        for qubit, index in reversed(list(enumerate(self._program.initial.tolist()))):
            if index >= 0:
                psi, lam = self._block_back(psi, lam, qubit, index, turns, slopes)
        return slopes

    def _unitary(self, index: int, turns: tuple[Tensor, Tensor]) -> _Unitary:
        """A block's product of rotations and constant gates."""
        program = self._program
        a = torch.ones(turns[0].shape[1], dtype=self._complex, device=self._device)
        b = torch.zeros_like(a)
        for kind, which in program.elements[program.block_start[index] : program.block_start[index + 1]].tolist():
            if kind == FIXED_ELEMENT:
                re_c, im_c, re_d, im_d = program.constants[which].tolist()
                c, d = complex(re_c, im_c), complex(re_d, im_d)
                a, b = c * a - d.conjugate() * b, d * a + c.conjugate() * b
                continue
            cosine, sine = turns[0][which], turns[1][which]
            if kind == 0:
                a, b = cosine * a - 1j * sine * b, cosine * b - 1j * sine * a
            elif kind == 1:
                a, b = cosine * a - sine * b, sine * a + cosine * b
            else:
                a, b = torch.complex(cosine, -sine) * a, torch.complex(cosine, sine) * b
        return a, b

    def _halves(self, state: Tensor, qubit: int) -> tuple[Tensor, Tensor]:
        """Amplitudes with the qubit in |0> and in |1>, (higher, lower, B) each."""
        view = state.view(self._dim >> (qubit + 1), 2, 1 << qubit, -1)
        return view[:, 0], view[:, 1]

    def _block(self, state: Tensor, qubit: int, unitary: _Unitary) -> Tensor:
        (x, y), (a, b) = self._halves(state, qubit), unitary
        return torch.stack([a * x - b.conj() * y, b * x + a.conj() * y], dim=1).view(state.shape)

    def _block_back(
        self, psi: Tensor, lam: Tensor, qubit: int, index: int, turns: tuple[Tensor, Tensor], slopes: Tensor
    ) -> tuple[Tensor, Tensor]:
        (x, y), (u, v) = self._halves(psi, qubit), self._halves(lam, qubit)
        ux, uy, vx, vy = ((bra.conj() * ket).sum((0, 1)) for bra in (u, v) for ket in (x, y))
        self._distribute(index, [(uy + vx).imag, (vx - uy).real, (ux - vy).imag], turns, slopes)
        a, b = self._unitary(index, turns)
        inverse = (a.conj(), -b)
        return self._block(psi, qubit, inverse), self._block(lam, qubit, inverse)

    def _distribute(self, index: int, xyz: list[Tensor], turns: tuple[Tensor, Tensor], slopes: Tensor) -> None:
        """Slopes of a block's angles from Im<lambda| X, Y, Z |psi> behind it, last element first.

        Before an element E the operators are E P E^dagger: a rotation of the three numbers.
        """
        program = self._program
        elements = program.elements[program.block_start[index] : program.block_start[index + 1]].tolist()
        for kind, which in reversed(elements):
            if kind == FIXED_ELEMENT:
                turn = program.constant_turns[which].reshape(3, 3).tolist()
                xyz = [row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2] for row in turn]
                continue
            slopes[which] += xyz[kind]
            c, s = turns[0][which], turns[1][which]
            cosine, sine = c * c - s * s, 2 * s * c
            p, q = (kind + 1) % 3, (kind + 2) % 3
            xyz[p], xyz[q] = cosine * xyz[p] + sine * xyz[q], cosine * xyz[q] - sine * xyz[p]

    def _pauli(self, state: Tensor, x: int, z: int, num_y: int) -> Tensor:
        """P |state>, where P maps |k> to i^num_y (-1)^|k & z| |k ^ x>."""
        moved = (self._sign(z)[:, None] * state) if z else state
        if x:
            moved = moved.index_select(0, self._states ^ x)
        return moved if num_y % 4 == 0 else 1j ** (num_y % 4) * moved

    def _sign(self, mask: int) -> Tensor:
        """(-1)^|k & mask| of all basis states, (2**n,)."""
        bits = self._states & mask
        for shift in (32, 16, 8, 4, 2, 1):
            bits = bits ^ (bits >> shift)
        return (1 - 2 * (bits & 1)).to(self._real)

    def _permute_back(self, state: Tensor, table: int, phase: int) -> Tensor:
        turned = self._phases[phase].conj()[:, None] * state if phase >= 0 else state
        return torch.empty_like(state).index_copy_(0, self._tables[table], turned)

    def _dense(self, state: Tensor, at: int, count: int, where: int, *, inverse: bool) -> Tensor:
        size = 1 << count
        numbers = self._tensor(self._program.dense[at : at + 2 * size * size])
        matrix = torch.view_as_complex(numbers.view(size, size, 2))
        qubits = self._program.dense_qubits[where : where + count].tolist()
        base = self._states[(self._states & sum(1 << q for q in qubits)) == 0]
        offsets = [sum((row >> k & 1) << q for k, q in enumerate(qubits)) for row in range(size)]
        rows = torch.cat([base + offset for offset in offsets])
        mixed = (matrix.conj().T if inverse else matrix) @ state.index_select(0, rows).view(size, -1)
        return torch.empty_like(state).index_copy_(0, rows, mixed.view(state.shape))

    def _real_zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=self._real, device=self._device)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
