"""What an Aer `NoiseModel` adds to each gate, as constant channels.

Aer's rules: an error belongs to an instruction's label, or else its name; an error for the very qubits takes the place
of the one for all qubits; it acts behind the gate. Relaxation of idle qubits is a pass of the model that looks at the
durations of delays. The circuit is followed in the gates that it is written in: a gate that the model does not name
runs without noise, in Aer too, and is reported once.

Here a label counts only if the model names it. A label that was written for the drawing alone leaves the gate what it
is; Aer, run directly, finds no error under such a label and runs the gate without noise.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.quantum_info import SuperOp

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.definitions import standard_name, stated_definition
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.compiler.lowering import Rotation, lower
from qhybrid.quantum.noise.aer_model import error_of_pass, is_local_and_behind, noise_passes, quantum_errors
from qhybrid.quantum.noise.channels import Channel, NoisyOp, channel_of_superoperator, channel_of_unitary

_STANDARD = frozenset(get_standard_gate_name_mapping())
NOT_GATES = frozenset({"measure", "reset", "delay", "barrier"})


class NoiselessGateWarning(UserWarning):
    """A gate of a circuit that runs without noise: the noise model does not name it, or only on other couplings."""


class GateNoise:
    """The channels of a noise model, looked up by instruction; made once per instruction and qubits."""

    def __init__(self, model: Any, *, labels: bool = True) -> None:
        """Read the errors of gates from a noise model.

        Args:
            model: An Aer `NoiseModel`.
            labels: Whether the model may name instructions by their labels. A device's model names gates only.

        Raises:
            CircuitError: The model holds a pass that is more than noise behind an instruction.
        """
        self._errors = quantum_errors(model)
        self._passes = noise_passes(model)
        for item in self._passes:
            if not is_local_and_behind(item):
                raise CircuitError(
                    f"the noise model holds the pass {type(item).__name__}, which is no local noise behind an "
                    "instruction: use AerEstimator"
                )
        self.named = named_instructions(model)
        self._labels = self.named if labels else frozenset()
        self.basis = frozenset(model.basis_gates) & _STANDARD - NOT_GATES
        self._reported: set[str] = set()
        self._matrices: dict[tuple[str, tuple[int, ...]], NDArray[np.float64] | None] = {}

    def name_of(self, operation: Any) -> str:
        """What the model calls an instruction: by its label if it names that, else by its name."""
        return error_name(operation, self._labels)

    def names(self, operation: Any) -> bool:
        """Whether the model names this instruction."""
        return self.name_of(operation) in self.named

    def misses(self, operation: Any, qubits: tuple[int, ...]) -> bool:
        """Whether the model has errors of this two-qubit gate, but none for this coupling."""
        name = self.name_of(operation)
        known = self._errors.local.get(name)
        return known is not None and len(qubits) == 2 and qubits not in known and name not in self._errors.default

    def behind(self, operation: Any, qubits: tuple[int, ...]) -> list[Channel]:
        """The channels that follow an instruction."""
        matrix = self._matrix_of(self.name_of(operation), qubits)
        channels = [] if matrix is None else [Channel(qubits, matrix)]
        for item in self._passes:
            added = error_of_pass(item, operation, qubits)
            if added is not None:
                channels.append(channel_of_superoperator(qubits, _superoperator(added)))
        return channels

    def report_couplings(self, gates: Sequence[str]) -> None:
        """Warn of gates on couplings that the model does not know, each once."""
        fresh = sorted(set(gates) - self._reported)
        if fresh:
            self._reported.update(fresh)
            warnings.warn(
                f"the noise model has errors of these gates, but none for these qubits: {', '.join(fresh)}; they run "
                "without noise, so it is probably the model of another device or of another layout",
                NoiselessGateWarning,
                stacklevel=2,
            )

    def report(self, names: Sequence[str]) -> None:
        """Warn of gates that run noiselessly, each name once."""
        fresh = sorted(set(names) - self._reported)
        if fresh:
            self._reported.update(fresh)
            warn_of_noiseless(fresh, self.basis)

    def _matrix_of(self, name: str, qubits: tuple[int, ...]) -> NDArray[np.float64] | None:
        key = (name, qubits)
        if key not in self._matrices:
            error = self._errors.find(name, qubits)
            self._matrices[key] = (
                None if error is None else channel_of_superoperator(qubits, _superoperator(error)).matrix
            )
        return self._matrices[key]


def named_instructions(model: Any) -> frozenset[str]:
    """Names and labels of the instructions that a noise model knows: its basis gates, and those with errors."""
    return frozenset(model.basis_gates) | frozenset(model.noise_instructions)


def error_name(operation: Any, labels: Collection[str]) -> str:
    """The name under which a noise model has the errors of an instruction: its label if that is in `labels`."""
    label = getattr(operation, "label", None)
    return str(label if label in labels else operation.name)


def warn_of_noiseless(names: Iterable[str], basis: Collection[str]) -> None:
    """Warn that gates of these names run without noise.

    Args:
        names: Names of the gates in the circuit.
        basis: Gates that the noise model names.
    """
    shown = ", ".join(f"`{name}`" for name in sorted(names))
    warnings.warn(
        f"the noise model does not name {shown}: such gates run without noise; write the circuit in the model's gates "
        f"({', '.join(sorted(basis))}), e.g. qiskit.transpile(circuit, basis_gates=...), or name them with "
        "add_basis_gates",
        NoiselessGateWarning,
        stacklevel=2,
    )


def noisy_ops(circuit: QuantumCircuit, features: Features, noise: GateNoise | None) -> list[NoisyOp]:
    """The circuit as rotations and constant channels, errors included.

    Args:
        circuit: Gates, delays and barriers; instructions that the noise model does not name are followed into their
            definition if they are no standard gates.
        features: The columns that angles are linear in; nonlinear expressions are added.
        noise: The errors; without them gates only.

    Raises:
        CircuitError: A measurement, reset, control flow or an instruction without a definition, by name.
    """
    ops: list[NoisyOp] = []
    unnamed: list[str] = []
    elsewhere: list[str] = []
    names = noise.names if noise is not None else None
    for operation, qubits in flat_instructions(circuit, range(circuit.num_qubits), names):
        ops.extend(_gate_ops(operation, qubits, features))
        if noise is not None and operation.name != "barrier":
            ops.extend(noise.behind(operation, qubits))
            if operation.name != "delay" and not noise.names(operation):
                unnamed.append(operation.name)
            elif noise.misses(operation, qubits):
                elsewhere.append(f"{operation.name} {qubits}")
    if noise is not None:
        noise.report(unnamed)
        noise.report_couplings(elsewhere)
    return ops


def flat_instructions(
    circuit: QuantumCircuit, qubits: Sequence[int], names: Callable[[Any], bool] | None
) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Instructions and their qubits, composite ones followed into their definitions.

    Args:
        circuit: Circuit with any instructions, composite ones included.
        qubits: Numbers that stand for the circuit's qubits in the result.
        names: Function that tells whether the noise model names an instruction, so that it stays whole; `None`
            where there is no noise model.
    """
    place = {bit: qubits[index] for index, bit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        operation = instruction.operation
        where = tuple(place[qubit] for qubit in instruction.qubits)
        named = names is not None and names(operation)
        native = named or standard_name(operation) is not None or isinstance(operation, UnitaryGate)
        definition = None if native or instruction.clbits else stated_definition(operation)
        if definition is not None:
            yield from flat_instructions(definition, where, names)
        else:
            yield operation, where


def _gate_ops(operation: Any, qubits: tuple[int, ...], features: Features) -> Iterator[NoisyOp]:
    alone = QuantumCircuit(len(qubits), operation.num_clbits)
    alone.append(operation, alone.qubits, alone.clbits)
    for op in lower(alone, features):
        where = tuple(qubits[q] for q in op.qubits)
        if isinstance(op, Rotation):
            yield Rotation(where, op.pauli, op.angle)
        else:
            yield channel_of_unitary(where, op.matrix)


def _superoperator(error: Any) -> NDArray[np.complex128]:
    """Superoperator of a `QuantumError`, circuit or instruction on k qubits, (4^k, 4^k)."""
    return np.asarray(SuperOp(error).data, dtype=np.complex128)
