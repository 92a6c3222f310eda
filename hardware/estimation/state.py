"""What an estimator over a device keeps in its folder, so that a killed process is gone on from and nothing paid twice.

hardware/budget.json                   seconds that all of it may take, see `hardware.jobs.budget`
hardware/estimator/estimator.json      the circuit, the device and what tells this estimator from others
hardware/estimator/calibration.json    the device as it was
hardware/estimator/placed/             each circuit as it was placed on the device
hardware/estimator/evaluations.jsonl   what was asked for: parameter sets, observables, shots, executions, seconds
hardware/estimator/jobs.jsonl          each job, see `hardware.jobs.job_log`
hardware/estimator/results/            what the jobs gave
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import FiniteFloat
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2

from hardware.errors import HardwareError
from hardware.jobs.budget import RunBudget
from hardware.jobs.job_log import JobLog, ResultStore
from hardware.placement.isa_cache import cached_transpile
from hardware.placement.transpilation import Transpiled
from hardware.service.account import is_local
from hardware.service.backends import calibration_date
from qhybrid.errors import CircuitError
from qhybrid.files import append_line, write_json
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint
from qhybrid.quantum.circuits.observables import z_observables
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.calibration import SavedBackend, read_calibration, save_calibration
from qhybrid.rundir import RunDirectory
from qhybrid.stored import read_stored, read_stored_lines

T = TypeVar("T")
_OTHER = "name another folder"


@dataclass(frozen=True)
class Identity:
    """What `estimator.json` holds.

    Attributes:
        circuit: Content hash of the circuit that the estimator was made for.
        backend: Name of the backend.
        calibrated: Date of the calibration that circuits are placed by; `None` for a simulator.
        draw: Text that tells this estimator from others: random for a real device, `local` for a simulation.
    """

    circuit: str
    backend: str
    calibrated: str | None
    draw: str

    @property
    def key(self) -> str:
        """Sixteen hex digits that name the estimator."""
        content = json.dumps([self.circuit, self.backend, self.calibrated, self.draw])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Evaluation:
    """A line of `evaluations.jsonl`: what was asked for at once.

    Attributes:
        number: Number of the evaluation, from 0.
        content: Content of its first job, which names it.
        sets: Number of distinct parameter sets.
        observables: Number of distinct observables.
        shots: Shots per parameter set.
        jobs: Number of jobs.
        executions: Circuit executions of all of them.
        seconds: Estimated device time in seconds.
    """

    number: int
    content: str
    sets: int
    observables: int
    shots: int
    jobs: int
    executions: int
    seconds: FiniteFloat


class EstimatorState:
    """The folder of an estimator.

    Args:
        folder: Folder that holds the estimator's budget; its own files go below it.
        payer: Run directory whose budget holds in place of the folder's own.

    Attributes:
        path: Folder of the estimator's own files.
        budget: Budget of the folder, or of the run that pays for it.
        log: Job log of the estimator.
        store: Results of the jobs.
    """

    def __init__(self, folder: str | Path, payer: RunDirectory | None = None) -> None:
        run = RunDirectory(folder)
        self.path = run.hardware / "estimator"
        self.budget = RunBudget(payer or run)
        self.log = JobLog(self.path / "jobs.jsonl")
        self.store = ResultStore(self.path / "results")
        self._file = self.path / "estimator.json"

    @property
    def begun(self) -> bool:
        """Whether the folder holds an estimator."""
        return self._file.exists()

    def chosen_device(self) -> str:
        """Name of the device that the folder's estimator has, which `least_busy` would look for anew."""
        return self._identity().backend

    def kept_device(self) -> SavedBackend | None:
        """The device as it was when the estimator was made; `None` if it was not, or is a simulator."""
        with suppress(CircuitError):
            return read_calibration(self.path / "calibration.json")
        return None

    def open(self, spec: CircuitSpec, backend: BackendV2) -> Identity:
        """Begin an estimator, or go on with the one that the folder holds.

        Args:
            spec: Circuit that the estimator is for.
            backend: Device, or local copy of one, that circuits are placed on.

        Raises:
            HardwareError: The folder holds an estimator of another circuit or another device.
            RunDirectoryError: A file is damaged.
        """
        circuit, name = spec.content_hash(), str(backend.name)
        if self.begun and not self.evaluations():
            # Nothing was asked for, so nothing stands in the way of another circuit or device.
            shutil.rmtree(self.path / "placed", ignore_errors=True)
            self._file.unlink()
        if self.begun:
            known = self._identity()
            if (known.circuit, known.backend) != (circuit, name):
                what = "circuit" if known.backend == name else f"device (`{known.backend}`)"
                raise HardwareError(f"`{self.path}` holds the evaluations of another {what}: {_OTHER}")
            return known
        draw = "local" if is_local(backend) else secrets.token_hex(8)
        made = Identity(circuit, name, calibration_date(backend), draw)
        if backend.coupling_map is not None:
            save_calibration(backend, self.path / "calibration.json", made.calibrated)
        write_json(self._file, asdict(made))
        return made

    def place(self, circuit: QuantumCircuit, name: str, backend: BackendV2) -> tuple[CircuitSpec, Transpiled]:
        """A circuit on the device: as it was placed first, also after the device was calibrated anew.

        Args:
            circuit: The circuit, not placed.
            name: Name of the circuit in messages.
            backend: Device, or local copy of one, that the circuit is placed on.

        Returns:
            The circuit with all its parameters as inputs, in the order of `circuit.parameters`, and its place.

        Raises:
            HardwareError: It does not fit.
        """
        spec = CircuitSpec(name, circuit, tuple(circuit.parameters), (), z_observables(circuit.num_qubits))
        folder = self.path / "placed" / hashlib.sha256(circuit_fingerprint(circuit).encode()).hexdigest()[:16]
        if (folder / "transpiled.json").exists():
            return spec, Transpiled.load(folder)
        placed = cached_transpile(spec, backend)
        placed.save(folder)
        return spec, placed

    def evaluations(self) -> list[Evaluation]:
        """All that was asked for so far.

        Raises:
            RunDirectoryError: `evaluations.jsonl` is damaged.
        """
        rows = read_stored_lines(self.path / "evaluations.jsonl", Evaluation)
        return [_built(Evaluation, row) for row in rows]

    def note(self, evaluation: Evaluation) -> None:
        """Write down what is asked for, before anything is sent for it."""
        append_line(self.path / "evaluations.jsonl", json.dumps(asdict(evaluation)), durable=True)

    def _identity(self) -> Identity:
        return _built(Identity, read_stored(self._file, Identity, _OTHER))


def _built(kind: type[T], values: dict[str, Any]) -> T:
    """A dataclass from its fields among others that a later version may have written."""
    return kind(**{item.name: values[item.name] for item in fields(kind)})  # type: ignore[arg-type]
