"""What a device executes: an ISA circuit with its observables, alone or several copies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.providers import BackendV2
from qiskit.quantum_info import PauliList, SparsePauliOp

from hardware.errors import HardwareError
from hardware.placement.sharing import image_rows
from hardware.service.runtime_internals import isa_violation
from qhybrid.quantum.devices.snapshots import crop


@dataclass(frozen=True)
class Program:
    """What a job executes: a bound ISA circuit whose only parameters are the data, and what is read from it.

    Attributes:
        circuit: ISA circuit for `backend`, trained weights bound; of all copies, where there are several.
        observables: Observables on the circuit's qubits, one per output, copy after copy.
        inputs: Names of the input parameters, in the order of the columns of the angles, copy after copy.
        backend: Backend that runs the circuit: the whole device, or the simulated part of one.
        copies: Copies of the circuit side by side, each with another image's parameters.
        parts: The copies as programs of their own, where they are simulated one by one; else empty.
    """

    circuit: QuantumCircuit
    observables: tuple[SparsePauliOp, ...]
    inputs: tuple[str, ...]
    backend: BackendV2
    copies: int = 1
    parts: tuple[Program, ...] = ()

    @property
    def num_inputs(self) -> int:
        """n_in: angles of one image."""
        return len(self.inputs) // self.copies

    @property
    def num_outputs(self) -> int:
        """n_out: expectation values of one image."""
        return len(self.observables) // self.copies

    def pack(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Angles `(B, n_in)` as parameter sets `(ceil(B / copies), copies * n_in)`.

        Which image goes to which copy is told by `hardware.placement.sharing`.
        """
        rows = image_rows(len(angles), self.copies)
        return angles[rows].reshape(len(rows), len(self.inputs))

    def pub(self, angles: NDArray[np.float64]) -> tuple[Any, ...]:
        """One estimator pub: all observables against `angles` of shape `(B, n_in)` in radians, packed."""
        return self.circuit, [[observable] for observable in self.observables], self.bindings(angles)

    def bindings(self, angles: NDArray[np.float64]) -> dict[tuple[str, ...], NDArray[np.float64]]:
        """Parameter values by name of `angles` `(B, n_in)`, packed."""
        present = {parameter.name for parameter in self.circuit.parameters}
        columns = [index for index, name in enumerate(self.inputs) if name in present]
        return {tuple(self.inputs[index] for index in columns): self.pack(angles)[:, columns]}


def touched_qubits(circuit: QuantumCircuit) -> set[int]:
    """The qubits on which a circuit has any instruction."""
    return {circuit.find_bit(qubit).index for item in circuit.data for qubit in item.qubits}


def restricted(circuit: QuantumCircuit, qubits: Sequence[int]) -> QuantumCircuit:
    """The part of a circuit that acts on some of its qubits.

    Args:
        circuit: Circuit without instructions that act both on these qubits and on others.
        qubits: Qubit i of the part is `qubits[i]` of the circuit. Instructions on other qubits are left out.

    Raises:
        HardwareError: An instruction reaches from these qubits to others.
    """
    place = {qubit: index for index, qubit in enumerate(qubits)}
    part = QuantumCircuit(len(place), name=circuit.name, global_phase=circuit.global_phase)
    for item in circuit.data:
        where = [circuit.find_bit(qubit).index for qubit in item.qubits]
        inside = [qubit in place for qubit in where]
        if all(inside):
            part.append(item.operation, [place[qubit] for qubit in where])
        elif any(inside):
            raise HardwareError(
                f"`{item.operation.name}` on qubits {where} of `{circuit.name}` reaches out of qubits {list(qubits)}"
            )
    return part


def side_by_side(programs: Sequence[Program]) -> Program:
    """One program of several on disjoint qubits of one backend, each with parameters of its own.

    Args:
        programs: Programs of the same circuit, with equal inputs; their circuits have the same number of qubits.
    """
    first = programs[0]
    circuit = QuantumCircuit(first.circuit.num_qubits, name=first.circuit.name)
    inputs: list[str] = []
    for number, program in enumerate(programs):
        names = {name: f"copy{number}.{name}" for name in program.inputs}
        renamed = {parameter: Parameter(names[parameter.name]) for parameter in program.circuit.parameters}
        circuit.compose(program.circuit.assign_parameters(renamed), inplace=True)
        inputs += names.values()
    observables = tuple(observable for program in programs for observable in program.observables)
    return Program(circuit, observables, tuple(inputs), first.backend, copies=len(programs))


def without_idle_qubits(program: Program) -> Program:
    """The same on the part of its backend that it uses: as many executions and as long, and quickly prepared."""
    backend = program.backend
    measured = (
        index for item in program.observables for index in np.flatnonzero((item.paulis.z | item.paulis.x).any(axis=0))
    )
    used = sorted(touched_qubits(program.circuit) | {int(index) for index in measured})
    if backend.coupling_map is None or len(used) == program.circuit.num_qubits:
        return program
    small = restricted(program.circuit, used)
    observables = tuple(
        SparsePauliOp(PauliList.from_symplectic(item.paulis.z[:, used], item.paulis.x[:, used]), item.coeffs)
        for item in program.observables
    )
    part = crop(backend, used)
    part.default_rep_delay = getattr(backend, "default_rep_delay", None)
    return replace(program, circuit=small, observables=observables, backend=part)


def check_isa(circuit: QuantumCircuit, backend: BackendV2) -> None:
    """Refuse a circuit that the backend does not execute as it is; Runtime's new Estimator does not check.

    Raises:
        HardwareError: Says which instruction, on which qubits, is not in the backend's instruction set.
    """
    reason = isa_violation(circuit, backend.target)
    if reason:
        raise HardwareError(
            f"the circuit is not an ISA circuit of `{backend.name}`: {reason} Transpile it for this "
            "backend with `hardware.transpile`"
        )
