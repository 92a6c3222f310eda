"""ISA circuits kept from run to run: same circuit, same backend, same calibration, same circuit on the device."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import qiskit
from qiskit.providers import BackendV2

from hardware.errors import HardwareError
from hardware.placement.transpilation import EMBEDDINGS_TRIED, PRESET_SEEDS, Transpiled, transpile
from hardware.service.backends import calibration_date
from qhybrid.errors import RunDirectoryError
from qhybrid.quantum.circuits.spec import CircuitSpec

CACHE_VARIABLE = "QHYBRID_CACHE"


def cache_folder() -> Path:
    """The environment's `QHYBRID_CACHE`, else the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser() / "isa"
    import pooch

    return Path(pooch.os_cache("qhybrid")) / "isa"


def cached_transpile(spec: CircuitSpec, backend: BackendV2) -> Transpiled:
    """`transpile`, or what it gave for this circuit and this backend since its last calibration.

    A cache that cannot be written to, or a damaged file in it, costs time and nothing else.

    Raises:
        HardwareError: As for `transpile`.
    """
    folder = cache_folder() / cache_key(spec, backend)
    if (folder / "transpiled.json").exists():
        try:
            return Transpiled.load(folder)
        except (HardwareError, RunDirectoryError, KeyError):
            pass
    made = transpile(spec, backend)
    with contextlib.suppress(RunDirectoryError, OSError):
        made.save(folder)
    return made


def cache_key(spec: CircuitSpec, backend: BackendV2) -> str:
    """Hash of what decides the ISA circuit: spec, backend, calibration date, gates on offer, this code's version."""
    content = [
        spec.content_hash(),
        str(backend.name),
        calibration_date(backend),
        sorted(backend.target.operation_names),
        qiskit.__version__,
        EMBEDDINGS_TRIED,
        PRESET_SEEDS,
        _SCORE_VERSION,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


# Raise it when candidates or their score change.
_SCORE_VERSION = 1
