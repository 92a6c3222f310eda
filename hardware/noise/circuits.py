"""Circuits that a bank of noise is measured from: on which qubits of a device, and how they are simulated locally.

`quantum_bits` puts every good qubit into superposition, one gate each. `quantum_intrinsic` runs copies of an entangling
circuit side by side. Either is one circuit without parameters whose connected groups of qubits know nothing of each
other, so that a local copy of a device, far too large to be simulated as a whole, is simulated group by group.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, qpy
from qiskit import transpile as qiskit_transpile
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import InstructionProperties

from hardware.errors import HardwareError
from hardware.placement.packing import disjoint_places
from hardware.placement.program import Program, check_isa, restricted
from hardware.service.account import is_local
from qhybrid.config import NoiseBankConfig
from qhybrid.diffusion.simulate import entangling_circuit
from qhybrid.errors import CircuitError
from qhybrid.files import atomic_path
from qhybrid.quantum.circuits.qpy_files import load_qpy
from qhybrid.quantum.devices.snapshots import crop

TILE_QUBITS = 4
# An ideal simulator has no calibration by which its qubits could be good or bad, and as many as there is memory.
_IDEAL_QUBITS = 16


@dataclass(frozen=True)
class NoiseCircuit:
    """What is executed for a bank.

    Attributes:
        circuit: ISA circuit on all device qubits, without parameters and measurements.
        groups: Measured qubits, those that are connected with each other together; their order is that of the bits.
    """

    circuit: QuantumCircuit
    groups: tuple[tuple[int, ...], ...]

    @property
    def qubits(self) -> tuple[int, ...]:
        """Measured device qubits in the order of the bits."""
        return tuple(itertools.chain(*self.groups))

    def program(self, backend: BackendV2) -> Program:
        """For the device itself.

        Raises:
            HardwareError: The device does not execute the circuit.
        """
        check_isa(self.circuit, backend)
        return Program(self.circuit, _z_of(self.qubits, self.circuit.num_qubits), (), backend, len(self.groups))

    def local_program(self, backend: BackendV2) -> Program:
        """The program of a simulation: the groups one by one, each with the device's errors."""
        errors = iter(readout_errors(backend, self.qubits))
        parts = []
        for group in self.groups:
            part = _part(backend, group, [next(errors) for _ in group])
            parts.append(Program(restricted(self.circuit, group), _z_of(range(len(group)), len(group)), (), part))
        return replace(self.program(backend), parts=tuple(parts))

    def executed(self, backend: BackendV2) -> Program:
        """What runs: `local_program` of a local backend, else `program`."""
        return self.local_program(backend) if is_local(backend) else self.program(backend)

    def save(self, path: Path) -> None:
        """Write a QPY file, atomically."""
        circuit = self.circuit.copy()
        circuit.metadata = {"groups": [list(group) for group in self.groups]}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            qpy.dump(circuit, file)

    @classmethod
    def load(cls, path: Path) -> NoiseCircuit:
        """Read what `save` wrote.

        Raises:
            HardwareError: Missing, or no such file.
        """
        try:
            circuit = load_qpy(path)
        except CircuitError as error:
            raise HardwareError(str(error)) from None
        groups = (circuit.metadata or {}).get("groups")
        if not _are_groups(groups, circuit.num_qubits):
            raise HardwareError(f"`{path}` does not say which of its qubits belong together: draw again")
        return cls(circuit, tuple(tuple(group) for group in groups or ()))


def _are_groups(groups: Any, num_qubits: int) -> bool:
    """Whether these are disjoint lists of qubits of a circuit."""
    if not isinstance(groups, list) or not all(isinstance(group, list) and group for group in groups):
        return False
    flat = [qubit for group in groups for qubit in group]
    return all(type(qubit) is int and 0 <= qubit < num_qubits for qubit in flat) and len(set(flat)) == len(flat)


def repetitions(program: Program, count: int) -> NDArray[np.float64]:
    """Angles `(count * copies, 0)` that run a circuit without parameters `count` times."""
    return np.zeros((count * program.copies, 0))


def superposition(backend: BackendV2, config: NoiseBankConfig) -> NoiseCircuit:
    """Every good qubit in an even superposition; with `config.qubits` at most so many, best readout first.

    Raises:
        HardwareError: No qubit is good enough.
    """
    good = good_qubits(backend, config)
    if config.qubits is not None and len(good) > config.qubits:
        order = np.argsort(readout_errors(backend, good).sum(axis=1), kind="stable")
        good = sorted(good[index] for index in order[: config.qubits])
    circuit = QuantumCircuit(_size(backend, good), name="superposition")
    circuit.sx(good)
    return NoiseCircuit(_native(circuit, backend), tuple((qubit,) for qubit in good))


def fluctuation(backend: BackendV2, config: NoiseBankConfig, most: int) -> NoiseCircuit:
    """Copies of the entangling circuit on disjoint places among the good qubits, best estimated success first.

    Args:
        backend: Device, local copy, or ideal simulator.
        config: Qubits of one copy, spacing, floor.
        most: Largest number of copies to place.

    Raises:
        HardwareError: No place is good enough.
    """
    alone = entangling_circuit(config.qubits or TILE_QUBITS)
    size = alone.num_qubits
    good = good_qubits(backend, config)
    if backend.coupling_map is None:
        places = [tuple(good[start : start + size]) for start in range(0, len(good) - size + 1, size)][:most]
    else:
        places = []
        least = 0.0
        for place in disjoint_places(
            alone, backend, config.spacing, without=sorted(set(range(backend.num_qubits)) - set(good))
        ):
            if len(places) == most or place.success < least:
                break
            least = least or config.floor * place.success
            places.append(place.qubits)
    if not places:
        raise HardwareError(
            f"`{backend.name}` has no place for a circuit of {size} qubits within max_readout_error "
            f"{config.max_readout_error:g} and max_gate_error {config.max_gate_error:g}: raise them, or take fewer"
        )
    circuit = QuantumCircuit(_size(backend, good), name="fluctuation")
    for qubits in places:
        circuit.compose(alone, qubits=qubits, inplace=True)
    return NoiseCircuit(_native(circuit, backend), tuple(places))


def good_qubits(backend: BackendV2, config: NoiseBankConfig) -> list[int]:
    """Qubits whose readout and one-qubit gates are within the limits; of an ideal simulator the first 16.

    Raises:
        HardwareError: There is none.
    """
    if backend.coupling_map is None:
        return list(range(min(_IDEAL_QUBITS, backend.num_qubits)))
    good = [
        qubit
        for qubit in range(backend.num_qubits)
        if _error(backend, "measure", qubit) <= config.max_readout_error
        and all(_error(backend, gate, qubit) <= config.max_gate_error for gate in _one_qubit_gates(backend))
    ]
    if not good:
        raise HardwareError(
            f"`{backend.name}` has no qubit within max_readout_error {config.max_readout_error:g} and max_gate_error "
            f"{config.max_gate_error:g}: raise them"
        )
    return good


def readout_errors(backend: BackendV2, qubits: Sequence[int]) -> NDArray[np.float64]:
    """Probabilities that a 0 is read as 1 and a 1 as 0, `(qubits, 2)`.

    They are alike where the calibration knows only their mean, and 0 for an ideal simulator.
    """
    if backend.coupling_map is None:
        return np.zeros((len(qubits), 2))
    known = backend.properties() if hasattr(backend, "properties") else None
    names = ("prob_meas1_prep0", "prob_meas0_prep1")

    def errors(qubit: int) -> list[float]:
        stated = {} if known is None else known.qubit_property(qubit)
        return [float(stated[name][0]) if name in stated else _error(backend, "measure", qubit) for name in names]

    return np.array([errors(qubit) for qubit in qubits])


class _ReadoutProperties(InstructionProperties):  # type: ignore[misc]  # qiskit is untyped
    """What Aer looks for in a target where 0 and 1 are not read equally well."""

    prob_meas1_prep0: float
    prob_meas0_prep1: float


def _part(backend: BackendV2, group: Sequence[int], errors: Sequence[NDArray[np.float64]]) -> BackendV2:
    """What a group of qubits is simulated on: gate errors and couplings, and the readout errors of 0 and of 1."""
    if backend.coupling_map is None:
        return backend
    part = crop(backend, group)
    for number, (as_one, as_zero) in enumerate(errors):
        known = part.target["measure"][(number,)]
        properties = _ReadoutProperties(known.duration, known.error)
        properties.prob_meas1_prep0, properties.prob_meas0_prep1 = float(as_one), float(as_zero)
        part.target.update_instruction_properties("measure", (number,), properties)
    return part


def _size(backend: BackendV2, good: Sequence[int]) -> int:
    return len(good) if backend.coupling_map is None else int(backend.num_qubits)


def _native(circuit: QuantumCircuit, backend: BackendV2) -> QuantumCircuit:
    """The circuit in the backend's gates, every qubit where it is."""
    places = list(range(circuit.num_qubits))
    native = qiskit_transpile(circuit, backend, initial_layout=places, optimization_level=1, seed_transpiler=0)
    check_isa(native, backend)
    return native


def _z_of(qubits: Sequence[int], size: int) -> tuple[SparsePauliOp, ...]:
    return tuple(SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], size) for qubit in qubits)


def _one_qubit_gates(backend: BackendV2) -> list[str]:
    return [name for name in ("sx", "x", "u2", "u3") if name in backend.target.operation_names]


def _error(backend: BackendV2, name: str, qubit: int) -> float:
    """As calibrated; 1 where a device does not say, since such a qubit is not to be relied on."""
    known: Any = backend.target[name].get((qubit,))
    return 1.0 if known is None or known.error is None else float(known.error)
