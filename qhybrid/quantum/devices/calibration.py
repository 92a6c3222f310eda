"""A device's calibration as a JSON file, and the device that it describes: what was true on one day, kept.

The file holds couplings, gate and readout errors, durations, T1 and T2; a backend read from it stands in for the device
wherever a local copy does: in transpilation, in noise models, in training under noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qiskit.circuit import Delay, Measure, Parameter, Reset
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.providers import BackendV2
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

from qhybrid.errors import CircuitError, RunDirectoryError
from qhybrid.files import read_json, write_json
from qhybrid.quantum.devices.local_device import LocalDevice

_FORMAT = "qhybrid calibration 1"


class SavedBackend(LocalDevice):
    """A device as its calibration file describes it.

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
        path: JSON file.
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
        CircuitError: Missing, or no such file.
    """
    try:
        stored = read_json(path)
    except RunDirectoryError as error:
        raise CircuitError(f"calibration file: {error}") from None
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        raise CircuitError(f"`{path}` is no calibration file: `qhybrid hardware plan` writes hardware/calibration.json")
    qubits = stored["qubits"]
    target = Target(
        num_qubits=stored["num_qubits"],
        dt=stored["dt"],
        qubit_properties=[QubitProperties(t1=t1, t2=t2, frequency=f) for t1, t2, f in qubits] if qubits else None,
    )
    known = _operations()
    for name, entries in stored["instructions"].items():
        places = {
            tuple(where): InstructionProperties(duration=duration, error=error) for where, duration, error in entries
        }
        target.add_instruction(known[name], places, name=name)
    return SavedBackend(stored["name"], target, stored["calibrated"])


def _operations() -> dict[str, Any]:
    return {
        **get_standard_gate_name_mapping(),
        "measure": Measure(),
        "reset": Reset(),
        "delay": Delay(Parameter("t")),
    }
