"""What an instruction is made of, also where Qiskit gives it no definition.

Annotated operations (`gate.control(annotated=True)`), `Clifford` objects and permutations are circuits only after
synthesis. Qiskit's own high-level synthesis does that here, so whatever Qiskit can compile has a definition.
"""

from __future__ import annotations

from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Barrier, Delay
from qiskit.exceptions import QiskitError

from qhybrid.errors import CircuitError


def standard_name(operation: Any) -> str | None:
    """Name of a standard gate, a barrier or a delay; `None` for anything else.

    A gate made by the user may bear the name of a standard one, so the name alone does not tell what a gate does.
    """
    known = getattr(operation, "_standard_gate", None) is not None or isinstance(operation, Barrier | Delay)
    return str(operation.name) if known else None


def stated_definition(operation: Any) -> QuantumCircuit | None:
    """The circuit that an instruction itself says it stands for; `None` if it says nothing.

    Raises:
        CircuitError: It says so only once its parameters have values, as an `initialize` by free amplitudes does.
    """
    try:
        definition: QuantumCircuit | None = getattr(operation, "definition", None)
    except QiskitError as error:
        raise CircuitError(
            f"instruction `{operation.name}` is no circuit before its parameters have values "
            f"({' '.join(str(error.message).split())}), so it can neither be compiled nor differentiated by parameter "
            "shifts: encode the data by rotations, or evaluate the circuit with an estimator that binds values first "
            '(qiskit.primitives.StatevectorEstimator), in a QuantumLayer with gradient="spsa"'
        ) from None
    return definition


def definition_of(operation: Any) -> QuantumCircuit | None:
    """The circuit that an instruction stands for, on as many qubits; `None` if there is none.

    Raises:
        CircuitError: As `stated_definition`.
    """
    definition = stated_definition(operation)
    if definition is not None:
        return definition
    from qiskit.transpiler.passes import HighLevelSynthesis

    circuit = QuantumCircuit(operation.num_qubits, operation.num_clbits)
    circuit.append(operation, circuit.qubits, circuit.clbits)
    try:
        result = HighLevelSynthesis()(circuit)
    except QiskitError:
        return None
    unchanged = any(instruction.operation == operation for instruction in result.data)
    return None if unchanged else result
