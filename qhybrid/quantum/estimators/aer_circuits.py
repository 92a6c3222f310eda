"""Circuits as Aer runs them: in gates that it simulates, in places where the noise model finds its errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ControlledGate, Gate, Parameter
from qiskit.circuit.library import UnitaryGate
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator
from qiskit.transpiler import Target
from qiskit.transpiler.exceptions import TranspilerError

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.compiler.angle_expansion import STANDARD_GATES
from qhybrid.quantum.engine.compiler.lowering import is_free
from qhybrid.quantum.noise.gate_noise import (
    NOT_GATES,
    error_name,
    flat_instructions,
    named_instructions,
    warn_of_noiseless,
)

_STANDARD = frozenset(STANDARD_GATES) - NOT_GATES
_KEPT = "kept_"
_MAX_MATRIX_QUBITS = 6

Placed = tuple[Any, tuple[int, ...]]
"""An instruction and the numbers of its qubits."""


class AerGates:
    """The gates that a simulation knows, and circuits written in them.

    Attributes:
        basis: Standard gates of the noise model; empty without noise.
    """

    def __init__(self, noise_model: Any, runnable: Iterable[str], *, labels: bool) -> None:
        """Tell what a simulator with a noise model runs.

        Args:
            noise_model: An Aer `NoiseModel`, or `None`.
            runnable: Names of the instructions that the simulator runs.
            labels: Whether the model may name instructions by their labels.
        """
        ideal = noise_model is None
        self._named = frozenset() if ideal else named_instructions(noise_model)
        self._labels = self._named if labels else frozenset()
        self.basis = frozenset() if ideal else frozenset(noise_model.basis_gates) & _STANDARD
        # A matrix runs as it is, and its label can carry an error.
        self._simulable = frozenset(runnable) & (_STANDARD | {"unitary"})

    def native(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """The circuit in gates that Aer runs and, where it can be written in them, that the noise model names.

        Instructions that the model names, by name or label, stay what they are, so that their errors find them.

        Measurements and branches are left to who refuses them.

        Raises:
            CircuitError: An instruction has errors in the model, but Aer cannot run it.
        """
        for instruction in circuit.data:
            operation = instruction.operation
            if instruction.clbits or operation.name in ("initialize", "reset") or hasattr(operation, "blocks"):
                return circuit
        steps = [self._runnable(*step) for step in flat_instructions(circuit, range(circuit.num_qubits), self._names)]
        kept = {index for index, (operation, _) in enumerate(steps) if self._is_kept(operation)}
        present = {operation.name for index, (operation, _) in enumerate(steps) if index not in kept}
        wanted = self._named & self._simulable or self._simulable
        if present <= wanted | NOT_GATES:
            return _assembled(circuit, steps)
        return self._translated(circuit, steps, kept, wanted & _STANDARD)

    def bindable(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """The same gates in the form in which Aer reads their parameters and their errors.

        Aer 0.18 asks a controlled gate's base for parameters, finds none and runs it with whatever number it meets
        (https://github.com/Qiskit/qiskit-aer/issues/2403), so these become plain gates of the same name. And it looks
        for errors under a gate's label even if the noise model does not know it, so such labels go.
        """
        plain = circuit.copy_empty_like()
        for instruction in circuit.data:
            operation = instruction.operation
            label = getattr(operation, "label", None)
            if label is not None and label not in self._labels:
                operation = operation.to_mutable()
                operation.label = None
            if isinstance(operation, ControlledGate) and any(isinstance(p, Parameter) for p in operation.params):
                operation = Gate(operation.name, operation.num_qubits, operation.params, label=operation.label)
            plain.append(operation, instruction.qubits, instruction.clbits, copy=False)
        return plain

    def _names(self, operation: Any) -> bool:
        return error_name(operation, self._labels) in self._named

    def _is_kept(self, operation: Any) -> bool:
        """Whether translating the instruction would lose its error."""
        return operation.name not in NOT_GATES and error_name(operation, self._labels) in self._named

    def _runnable(self, operation: Any, qubits: tuple[int, ...]) -> Placed:
        """An instruction that the model names in a form that Aer runs: a matrix under the name of its errors."""
        unknown = operation.name not in self._simulable | NOT_GATES
        if not self._named or not unknown or not self._names(operation):
            return operation, qubits
        name = error_name(operation, self._labels)
        if is_free(operation) or operation.num_clbits or len(qubits) > _MAX_MATRIX_QUBITS:
            raise self._refusal(name)
        try:
            matrix = np.asarray(Operator(operation).data, dtype=np.complex128)
        except QiskitError:
            raise self._refusal(name) from None
        return UnitaryGate(matrix, label=name), qubits

    def _refusal(self, name: str) -> CircuitError:
        return CircuitError(
            f"gate `{name}` has errors in the noise model, and Aer's density matrix cannot run it: use "
            "CompiledEstimator, or write the circuit in other gates"
        )

    def _translated(
        self, circuit: QuantumCircuit, steps: list[Placed], kept: set[int], basis: frozenset[str]
    ) -> QuantumCircuit:
        """Transpiled around the instructions that stay; as written, with a warning, if the basis does not suffice."""
        # Opaque gates of names of their own pass through the transpiler untouched.
        stand_ins: dict[str, Gate] = {}
        originals: dict[str, Any] = {}
        for index in sorted(kept):
            operation, qubits = steps[index]
            if error_name(operation, self._labels) != operation.name or operation.name not in _STANDARD:
                name = f"{_KEPT}{len(originals)}"
                originals[name] = operation
                stand_ins[name] = Gate(name, len(qubits), [])
                steps[index] = (stand_ins[name], qubits)
        written = _assembled(circuit, steps)
        try:
            made = _transpiled(written, basis, stand_ins)
        except TranspilerError:
            outside = {operation.name for operation, _ in steps} - self._simulable - NOT_GATES - stand_ins.keys()
            made = _transpiled(written, self._simulable & _STANDARD, stand_ins) if outside else written
            noiseless = {step.operation.name for step in made.data} - self._named - NOT_GATES - stand_ins.keys()
            if noiseless:
                warn_of_noiseless(noiseless, self.basis)
        if not stand_ins:
            return made
        numbers = {bit: index for index, bit in enumerate(made.qubits)}
        return _assembled(
            made,
            [
                (originals.get(step.operation.name, step.operation), tuple(numbers[bit] for bit in step.qubits))
                for step in made.data
            ],
        )


def _transpiled(circuit: QuantumCircuit, basis: frozenset[str], others: dict[str, Gate]) -> QuantumCircuit:
    """The circuit in standard gates of a basis, in which opaque gates by other names stay what they are.

    Raises:
        TranspilerError: The basis does not suffice.
    """
    options = {"optimization_level": 1, "seed_transpiler": 0}
    if not others:
        return transpile(circuit, basis_gates=sorted(basis), **options)
    names = [*sorted(basis), *others]
    target = Target.from_configuration(names, num_qubits=circuit.num_qubits, custom_name_mapping=others)
    return transpile(circuit, target=target, **options)


def _assembled(like: QuantumCircuit, steps: Iterable[Placed]) -> QuantumCircuit:
    """A circuit of as many qubits as another one."""
    circuit = QuantumCircuit(like.num_qubits)
    for operation, qubits in steps:
        circuit.append(operation, qubits, copy=False)
    return circuit
