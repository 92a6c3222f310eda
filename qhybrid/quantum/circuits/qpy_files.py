"""Reading QPY files of unknown origin."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from qiskit import QuantumCircuit, qpy

from qhybrid.errors import CircuitError

# Header of a QPY file: magic word, format version, three bytes of Qiskit's version, eight of the number of programs,
# then (from format 10 on) one letter for how parameter expressions are written.
_VERSION, _ENCODING = 6, 18
_SYMENGINE_VERSIONS = range(10, 13)


def load_qpy(path: str | Path) -> QuantumCircuit:
    """The one circuit of a QPY file; nothing in the file is unpickled.

    Args:
        path: QPY file to be read.

    Raises:
        CircuitError: The file cannot be read, is damaged, or does not hold exactly one circuit.
    """
    programs = load_circuits(path)
    if len(programs) != 1:
        raise CircuitError(f"`{path}` holds {len(programs)} programs: exactly one circuit is needed")
    return programs[0]


def load_circuits(path: str | Path) -> list[QuantumCircuit]:
    """All circuits of a QPY file; nothing in the file is unpickled.

    Args:
        path: QPY file to be read.

    Raises:
        CircuitError: The file cannot be read, is damaged, or holds something else.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CircuitError(f"circuit file `{path}` cannot be read: {error.strerror}") from None
    if len(content) > _ENCODING and content[_VERSION] in _SYMENGINE_VERSIONS and content[_ENCODING] == ord("e"):
        # Qiskit hands these expressions to symengine's loader, which unpickles. Everything else in a QPY file is read
        # by Qiskit itself: numbers, names, npy arrays without objects, and expressions by a parser of its own.
        raise CircuitError(
            f"circuit file `{path}` holds expressions of symengine, which are read by unpickling: load it in a Qiskit "
            "that you trust it with and write it again by `qpy.dump`"
        )
    try:
        with warnings.catch_warnings():
            # Written by a newer Qiskit: either it loads, or the error below tells.
            warnings.simplefilter("ignore", UserWarning)
            programs: list[QuantumCircuit] = qpy.load(io.BytesIO(content))
            for program in programs:
                _build(program)
    # qpy raises struct.error, QpyError, UnicodeDecodeError, MemoryError and more on damaged files, and its Rust part
    # panics, which is no Exception.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        reason = " ".join(f"{error}".split()) or type(error).__name__
        raise CircuitError(f"`{path}` is not a readable QPY file: {reason}") from None
    if not all(isinstance(program, QuantumCircuit) for program in programs):
        raise CircuitError(f"`{path}` holds something else than circuits")
    return programs


def _build(circuit: QuantumCircuit) -> None:
    """Make every operation, which Qiskit puts off until it is asked for, with the errors of those that are none."""
    for instruction in circuit.data:
        definition = getattr(instruction.operation, "definition", None)
        if definition is not None:
            _build(definition)
