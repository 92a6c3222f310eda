"""Circuits of the user's own, from QPY and OpenQASM 3 files."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, Delay, Measure, Parameter, Reset, Store

from qhybrid.config import CircuitFileConfig
from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.observables import Observables, named_observables, read_observables, z_observables
from qhybrid.quantum.circuits.qpy_files import load_qpy
from qhybrid.quantum.circuits.spec import CircuitSpec

_SHOWN = 8


def read_circuit_file(options: CircuitFileConfig) -> CircuitSpec:
    """The circuit of a file with the roles that the options give its parameters.

    Inputs stand in the order of the list, or in natural order (`x[2]` before `x[10]`) if they are named by a prefix;
    so do the weights, which are all other parameters.

    Args:
        options: The file, the names of its inputs, its observables (by default <Z> of each qubit).

    Raises:
        CircuitError: The file cannot be read or holds no circuit; the circuit measures, resets or depends on classical
            values, or delays in a unit that is lost when it is stored; the inputs are none, or not the circuit's; an
            observable is over another number of qubits.
    """
    path = Path(options.file)
    qasm = path.suffix.lower() in (".qasm", ".qasm3")
    circuit = _read_qasm(path) if qasm else load_qpy(path)
    if not circuit.num_qubits:
        raise CircuitError(f"circuit `{path}` has no qubits")
    refuse_classical(circuit, f"circuit `{path}`")
    _refuse_delays(circuit, path, units_are_known=qasm)
    inputs, weights = _roles(circuit, options.inputs, path)
    return CircuitSpec(path.stem, circuit, inputs, weights, _observables(options, circuit.num_qubits))


def refuse_classical(circuit: QuantumCircuit, what: str) -> None:
    """Refuse a circuit whose expectation values are not those of one unitary.

    Args:
        circuit: The circuit; instructions that are made of others are looked into.
        what: What a message calls it.

    Raises:
        CircuitError: It measures, resets, branches, or holds classical variables.
    """
    if circuit.num_identifiers:
        names = ", ".join(variable.name for variable in [*circuit.iter_vars(), *circuit.iter_captured_vars()])
        raise CircuitError(f"{what} holds classical variables ({names}): only gates with parameters can be trained")
    for instruction in circuit.data:
        operation = instruction.operation
        found = _classical_part(operation, bool(instruction.clbits))
        if found is not None:
            qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
            raise CircuitError(
                f"{what} holds {found} (`{operation.name}` on qubits {qubits}): take it out, since "
                "expectation values are those of a circuit of gates alone"
            )


def _refuse_delays(circuit: QuantumCircuit, path: Path, *, units_are_known: bool) -> None:
    """Refuse a delay whose length would be another after it was stored: QPY, as Qiskit 2.6 writes it, drops its unit.

    100 us are read back as 100 dt, some 20 ns, and a device's noise with them. Checkpoints hold QPY as well.

    Raises:
        CircuitError: It holds a delay in another unit than dt, or one from a QPY file, where any unit reads dt.
    """
    for instruction in circuit.data:
        operation = instruction.operation
        if isinstance(operation, Delay) and not (units_are_known and operation.unit == "dt"):
            raise CircuitError(
                f"circuit `{path}` holds a delay of {operation.duration} "
                + (
                    f"{operation.unit}: give it in dt, the device's time step, since checkpoints keep no other unit"
                    if units_are_known
                    else "of unknown unit, since QPY files of Qiskit 2.6 do not keep it: take it out, or write the "
                    "circuit as OpenQASM 3 with `delay[...dt]`"
                )
            )
        definition = getattr(operation, "definition", None)
        if definition is not None:
            _refuse_delays(definition, path, units_are_known=units_are_known)


def _classical_part(operation: Any, has_clbits: bool) -> str | None:
    """What makes an operation more than a gate; `None` for a gate, a barrier or a delay."""
    if isinstance(operation, Measure):
        return "a measurement"
    if isinstance(operation, Reset):
        return "a reset"
    if getattr(operation, "condition", None) is not None or getattr(operation, "_condition", None) is not None:
        return "a classical condition"
    if isinstance(operation, ControlFlowOp | Store):
        return "control flow"
    definition = getattr(operation, "definition", None)
    for inner in definition.data if definition is not None else ():
        found = _classical_part(inner.operation, bool(inner.clbits))
        if found is not None:
            return f"{found} inside an instruction"
    return "an instruction on classical bits" if has_clbits else None


def _read_qasm(path: Path) -> QuantumCircuit:
    from qiskit import qasm3

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CircuitError(f"circuit file `{path}` cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CircuitError(f"`{path}` is not OpenQASM 3: it is not UTF-8 text") from None
    said = io.StringIO()
    try:
        # The parser prints where it fails, and its exception says nothing.
        with redirect_stderr(said):
            return qasm3.loads(text)
    except Exception as error:  # noqa: BLE001 - the parser and the converter raise many kinds on foreign texts
        reason = " ".join(f"{getattr(error, 'message', error)} {said.getvalue()}".split()) or type(error).__name__
        raise CircuitError(f"`{path}` is not OpenQASM 3 that Qiskit can read: {reason}") from None


def _roles(
    circuit: QuantumCircuit, inputs: str | list[str], path: Path
) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    """Inputs and weights of a circuit."""
    known = {parameter.name: parameter for parameter in sorted(circuit.parameters, key=_natural)}
    shown = ", ".join(list(known)[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    has = f"its parameters are {shown}" if known else "it has no parameters"
    if isinstance(inputs, str):
        chosen = [name for name in known if name.startswith(inputs)]
        if not chosen:
            raise CircuitError(f"circuit `{path}` has no inputs: no parameter begins with `{inputs}`; {has}")
    else:
        chosen = list(inputs)
        lacking = [name for name in chosen if name not in known]
        if lacking:
            raise CircuitError(f"circuit `{path}` lacks the inputs {', '.join(lacking)}; {has}")
        twice = [name for name in chosen if chosen.count(name) > 1]
        if twice:
            raise CircuitError(f"circuit `{path}`: input `{twice[0]}` is named twice")
    weights = [parameter for name, parameter in known.items() if name not in chosen]
    return tuple(known[name] for name in chosen), tuple(weights)


def _natural(parameter: Parameter) -> list[tuple[int, int | str]]:
    """A key that sorts numbers in names by value: `x[2]` before `x[10]`."""
    parts = re.split(r"(\d+)", parameter.name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _observables(options: CircuitFileConfig, num_qubits: int) -> Observables:
    if options.observables is None:
        return z_observables(num_qubits)
    if isinstance(options.observables, str):
        return read_observables(options.observables, num_qubits)
    if not options.observables:
        raise CircuitError("`quantum.ansatz.observables` is an empty list: give at least one Pauli label")
    return named_observables(options.observables, num_qubits)
