"""A device's calibration as a JSON file, and the device that it describes: what was true on one day, kept.

The file holds couplings, gate and readout errors, durations, T1 and T2; a backend read from it stands in for the device
wherever a local copy does: in transpilation, in noise models, in training under noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qiskit.circuit import Delay, Measure, Parameter, Reset
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.providers import BackendV2
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

from qhybrid.errors import CircuitError, RunDirectoryError
from qhybrid.files import DamagedFileError, read_json, write_json
from qhybrid.quantum.devices.local_device import LocalDevice
from qhybrid.stored import from_json

_FORMAT = "qhybrid calibration 1"
_MOST_QUBITS = 100_000


class SavedBackend(LocalDevice):
    """A device as its calibration file describes it.

    Args:
        name: Name of the device.
        target: Gates, couplings, errors and durations of the device.
        calibrated: Date of the calibration, ISO 8601; `None` where unknown.

    Attributes:
        calibrated: Date of the calibration, ISO 8601.
    """

    def __init__(self, name: str, target: Target, calibrated: str | None) -> None:
        description = f"`{name}` as calibrated {calibrated or 'at an unknown time'}"
        super().__init__(target, name=name, description=description)
        self.calibrated = calibrated


def save_calibration(backend: BackendV2, path: Path, calibrated: str | None = None) -> None:
    """Write a backend's calibration, atomically.

    Args:
        backend: Any backend with a target; control flow and gates of unknown name are left out.
        path: JSON file to be written.
        calibrated: Date of the calibration, ISO 8601.
    """
    target = backend.target
    known = _operations()
    instructions: dict[str, list[list[Any]]] = {}
    for name in sorted(target.operation_names):
        entries = target[name]
        if name in known and entries is not None and None not in entries:
            instructions[name] = [
                [list(where), what.duration if what else None, what.error if what else None]
                for where, what in sorted(entries.items())
            ]
    qubits = target.qubit_properties
    write_json(
        path,
        {
            "format": _FORMAT,
            "name": str(backend.name),
            "calibrated": calibrated,
            "num_qubits": int(target.num_qubits),
            "dt": target.dt,
            "qubits": [[item.t1, item.t2, item.frequency] for item in qubits] if qubits else None,
            "instructions": instructions,
        },
    )


def read_calibration(path: Path) -> SavedBackend:
    """The device that a calibration file describes.

    Raises:
        CircuitError: Missing, damaged, or no such file.
    """
    try:
        stored = read_json(path)
    except RunDirectoryError as error:
        raise CircuitError(f"calibration file: {error}") from None
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        raise CircuitError(f"`{path}` is no calibration file: `qhybrid hardware plan` writes hardware/calibration.json")
    try:
        content = from_json(_Stored, {key: value for key, value in stored.items() if key != "format"})
        return SavedBackend(content.name, _target(content), content.calibrated)
    except DamagedFileError as error:
        raise CircuitError(f"calibration file `{path}` is damaged: {error}") from None


@dataclass(frozen=True)
class _Stored:
    """What the file holds besides its format; times in seconds, frequencies in Hz.

    Attributes:
        name: Of the device.
        calibrated: Date of the calibration.
        num_qubits: All qubits of the device.
        dt: Length of a time step.
        qubits: T1, T2 and frequency of each.
        instructions: For each name the places: qubits, duration and error.
    """

    name: str
    calibrated: str | None
    num_qubits: int
    dt: float | None
    qubits: tuple[tuple[float | None, float | None, float | None], ...] | None
    instructions: dict[str, tuple[tuple[tuple[int, ...], float | None, float | None], ...]]


def _target(content: _Stored) -> Target:
    """What the device offers.

    Raises:
        DamagedFileError: A number is out of range, an instruction is unknown or stands on other qubits than it has.
    """
    qubits = content.qubits
    if not 1 <= content.num_qubits <= _MOST_QUBITS or (qubits and len(qubits) != content.num_qubits):
        raise DamagedFileError(f"{content.num_qubits} qubits, and properties of {len(qubits or ())}")
    times = [content.dt, *(value for qubit in qubits or () for value in qubit)]
    if any(value is not None and value < 0 for value in times):
        raise DamagedFileError("a time or frequency is negative")
    target = Target(
        num_qubits=content.num_qubits,
        dt=content.dt,
        qubit_properties=[QubitProperties(t1=t1, t2=t2, frequency=f) for t1, t2, f in qubits] if qubits else None,
    )
    known = _operations()
    for name, entries in content.instructions.items():
        if name not in known:
            raise DamagedFileError(f"unknown instruction `{name[:40]}`")
        places = {}
        for where, duration, error in entries:
            sound = len(where) == known[name].num_qubits and len(set(where)) == len(where)
            sound = sound and all(0 <= qubit < content.num_qubits for qubit in where)
            if not sound or not (duration is None or duration >= 0) or not (error is None or 0 <= error <= 1):
                raise DamagedFileError(f"`{name}` on qubits {list(where)[:9]} with duration {duration}, error {error}")
            places[where] = InstructionProperties(duration=duration, error=error)
        target.add_instruction(known[name], places, name=name)
    return target


def _operations() -> dict[str, Any]:
    return {
        **get_standard_gate_name_mapping(),
        "measure": Measure(),
        "reset": Reset(),
        "delay": Delay(Parameter("t")),
    }
