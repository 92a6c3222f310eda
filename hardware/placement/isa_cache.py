"""ISA circuits kept from run to run: same circuit, same backend, same calibration, same circuit on the device."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import qiskit
from qiskit.providers import BackendV2
from qiskit.transpiler import Target

from hardware.errors import HardwareError
from hardware.placement.transpilation import EMBEDDINGS_TRIED, PRESET_SEEDS, Transpiled, transpile
from hardware.service.backends import calibration_date
from qhybrid.errors import RunDirectoryError
from qhybrid.files import cache_folder
from qhybrid.quantum.circuits.spec import CircuitSpec


def cached_transpile(spec: CircuitSpec, backend: BackendV2) -> Transpiled:
    """`transpile`, or what it gave for this circuit and this backend since its last calibration.

    A cache that cannot be written to, or a damaged file in it, costs time and nothing else.

    Raises:
        HardwareError: As for `transpile`.
    """
    folder = cache_folder("isa") / cache_key(spec, backend)
    if (folder / "transpiled.json").exists():
        try:
            return Transpiled.load(folder)
        except (HardwareError, RunDirectoryError):
            pass
    made = transpile(spec, backend)
    with contextlib.suppress(RunDirectoryError, OSError):
        made.save(folder)
    return made


def cache_key(spec: CircuitSpec, backend: BackendV2) -> str:
    """Hash of what decides the ISA circuit: spec, backend, calibration, what its target offers, this code's version.

    Args:
        spec: The circuit; its name is part of what is stored, and so of the key.
        backend: The device. Its name and date alone do not say what it is: a local copy may have been changed.
    """
    content = [
        spec.name,
        spec.content_hash(),
        str(backend.name),
        calibration_date(backend),
        _target_content(backend.target),
        qiskit.__version__,
        EMBEDDINGS_TRIED,
        PRESET_SEEDS,
        _SCORE_VERSION,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def _target_content(target: Target) -> list[Any]:
    """Gates with their couplings, errors and durations, and qubits with their lifetimes, as JSON-able lists."""
    gates = []
    for name in sorted(target.operation_names):
        entries = target[name] or {}
        places: list[tuple[Any, ...]] = [
            (where or (), getattr(item, "error", None), getattr(item, "duration", None))
            for where, item in entries.items()
        ]
        gates.append([name, sorted(places, key=lambda place: tuple(place[0]))])
    qubits = [[getattr(item, "t1", None), getattr(item, "t2", None)] for item in target.qubit_properties or ()]
    return [target.num_qubits, target.dt, gates, qubits]


# Raise it when candidates or their score change.
_SCORE_VERSION = 1
