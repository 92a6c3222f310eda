"""Backends by name: an ideal simulator, local copies of IBM devices, IBM devices."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from qiskit.providers import BackendV2

from hardware.errors import BackendError
from hardware.service.absent_device import AbsentDevice, AbsentService
from hardware.service.account import account_plan, is_local, known_seconds_left, open_service, refusal
from hardware.service.client_faults import client_errors, told
from hardware.service.runtime_internals import record_errors
from qhybrid.config import HardwareConfig, NoiseBankConfig
from qhybrid.errors import CircuitError
from qhybrid.quantum.devices.calibration import SavedBackend
from qhybrid.quantum.devices.snapshots import snapshot, snapshot_names

IDEAL = "aer"
LEAST_BUSY = "least_busy"
_SNAPSHOT_PREFIX = "fake_"
_DEFAULT_REP_DELAY = 250e-6
ConfigT = TypeVar("ConfigT", HardwareConfig, NoiseBankConfig)


def open_backend(name: str, *, fractional_gates: bool = False, qubits: int = 1) -> BackendV2:
    """A backend by name.

    Args:
        name: `aer` (ideal simulator), a local copy of a device (`fake_torino`, `fake_manila`, ...), the calibration
            file of a run (`.../hardware/calibration.json`), or an IBM device (`ibm_torino`, ...) that the saved account
            or the environment's gives access to. `least_busy` opens that device of the account, among those that are
            online and large enough, at which the fewest jobs wait.
        fractional_gates: Offer rotations RX and RZZ as native gates: shorter circuits, but less mitigation.
        qubits: Smallest number of qubits that `least_busy` may have.

    Raises:
        BackendError: There is no such backend, no account for an IBM device, or no fractional gates on it.
    """
    backend = _open(name, fractional_gates, qubits)
    if fractional_gates and not {"rx", "rzz"} <= set(backend.target.operation_names):
        raise BackendError(
            f"backend `{name}` has no fractional gates (rx, rzz): set fractional_gates to false, or choose another"
        )
    return backend


def _open(name: str, fractional_gates: bool, qubits: int) -> BackendV2:
    if name == IDEAL:
        from qiskit_aer import AerSimulator

        return AerSimulator()
    if name == "replay":
        raise BackendError("backend `replay` is for `infer` on a run that is finished: plan and submit need a device")
    if name.startswith(_SNAPSHOT_PREFIX) or name.endswith(".json"):
        try:
            return snapshot(name)
        except CircuitError as error:
            raise BackendError(f"unknown backend `{name}`: {error}") from None
    return _device_of(open_service(f"backend `{name}`"), name, fractional_gates, qubits)


def with_chosen_device(config: ConfigT, name: str) -> ConfigT:
    """Options that name the device itself where they said `least_busy`, so that what is resumed keeps it.

    Args:
        config: Options with a `backend`.
        name: Name of the device that was chosen: of the backend that these options opened, or of the stored plan.
    """
    return config.model_copy(update={"backend": name}) if config.backend == LEAST_BUSY else config


def jobs_at(name: str) -> AbsentDevice:
    """The account's way to jobs that were sent to a device, whether the device is still there or not.

    Args:
        name: Name of an IBM device.

    Raises:
        BackendError: There is no account, or it cannot be used.
    """
    return AbsentDevice(name, open_service(f"jobs on `{name}`"), f"`{name}` was opened for the jobs that it has")


def is_local_name(name: str) -> bool:
    """Whether a backend of this name is simulated here."""
    return name == IDEAL or name.startswith(_SNAPSHOT_PREFIX) or name.endswith(".json")


def known_device(name: str, kept: SavedBackend | None, *, fractional_gates: bool = False) -> BackendV2:
    """The backend of a run that was planned, or what the run knows of it if it cannot be opened any more.

    Args:
        name: Name that `open_backend` takes.
        kept: The device as it was when the run was planned; `None` if that is not known.
        fractional_gates: Whether rotations RX and RZZ are offered as native gates.

    Raises:
        BackendError: As for `open_backend`, where nothing was kept.
    """
    if kept is None or is_local_name(name):
        return open_backend(name, fractional_gates=fractional_gates)
    try:
        service = open_service(f"backend `{name}`")
    except BackendError as error:
        return AbsentDevice(name, AbsentService(error), str(error), kept)
    try:
        return _device_of(service, name, fractional_gates, 1)
    except BackendError as error:
        return AbsentDevice(name, service, str(error), kept)


def without_device(backend: BackendV2, kept: SavedBackend, reason: str) -> AbsentDevice:
    """What a run knows of a device that has changed so much that it does not execute the run's circuit any more.

    Args:
        backend: The device as it is.
        kept: The device as it was when the run was planned.
        reason: What has changed, one line.
    """
    return AbsentDevice(str(backend.name), backend.service, reason, kept)


def require_open(backend: BackendV2) -> str | None:
    """Refuse to send jobs to a device that takes none.

    Args:
        backend: An IBM device, or what a run knows of one.

    Returns:
        A line about a device that takes jobs and does not run them at present, if it is one.

    Raises:
        BackendError: It is not at hand, or it takes no jobs at present.
    """
    if isinstance(backend, AbsentDevice):
        raise BackendError(f"{backend.reason}; nothing was sent, and jobs that were sent can be fetched")
    state = backend.status()
    if not state.operational:
        raise BackendError(
            f"`{backend.name}` takes no jobs at present (its state is `{state.status_msg}`): nothing was sent; go on "
            "later with --resume, or choose another"
        )
    if state.status_msg == "active":
        return None
    return f"the state of `{backend.name}` is `{state.status_msg}`: jobs wait in its queue until it is active"


def device_name(backend: BackendV2) -> str:
    """The real device that a backend stands for: `ibm_torino` for `fake_torino`."""
    name = str(backend.name)
    return f"ibm_{name.removeprefix(_SNAPSHOT_PREFIX)}" if name.startswith(_SNAPSHOT_PREFIX) else name


def rep_delay(backend: BackendV2) -> float:
    """Seconds between two executions: the device's own default, or 250 us where it states none."""
    return float(getattr(backend, "default_rep_delay", None) or _DEFAULT_REP_DELAY)


def calibration_date(backend: BackendV2, *, refresh: bool = False) -> str | None:
    """When the device was calibrated, ISO 8601; `None` for a simulator.

    Args:
        backend: Device, local copy of one, or simulator.
        refresh: Ask the service instead of what was read when the backend was opened.
    """
    if isinstance(backend, SavedBackend | AbsentDevice):
        return backend.calibrated
    properties = getattr(backend, "properties", None)
    if properties is None:
        return None
    known = properties(refresh=True) if refresh else properties()
    date = getattr(known, "last_update_date", None)
    return date.isoformat() if isinstance(date, datetime) else None


@dataclass(frozen=True)
class BackendRow:
    """A line of `qhybrid hardware backends`.

    Attributes:
        name: Name that `open_backend` takes.
        qubits: Number of qubits of the device.
        basis: Names of the native gates.
        two_qubit_error: Median over the couplings; `None` where unknown.
        readout_error: Median over the qubits; `None` where unknown.
        calibrated: Date of the calibration, ISO 8601; `None` where unknown.
        queue: Number of pending jobs; `None` for a local backend, or if the service does not say.
        plan: The account's plan for it, `open` or another; `None` for a local backend.
        seconds_left: Device time in seconds that the plan has left; `None` where there is no limit, and for a local
            backend.
        status: `active`, or what keeps an IBM device from running jobs; `None` for a local backend.
    """

    name: str
    qubits: int
    basis: tuple[str, ...]
    two_qubit_error: float | None
    readout_error: float | None
    calibrated: str | None
    queue: int | None
    plan: str | None = None
    seconds_left: float | None = None
    status: str | None = None


def describe_backend(name: str, backend: BackendV2) -> BackendRow:
    """Size, basis, median errors and queue of a backend that `open_backend(name)` gave."""
    target = backend.target
    queue, status = _queue(backend)
    gates = [gate for gate in sorted(target.operation_names) if gate in _GATES]
    pairs = [gate for gate in gates if gate in _TWO_QUBIT_GATES]
    return BackendRow(
        name=name,
        qubits=int(backend.num_qubits),
        basis=tuple(gates),
        two_qubit_error=_median_error(target, pairs),
        readout_error=_median_error(target, ["measure"]),
        calibrated=calibration_date(backend),
        queue=queue,
        plan=account_plan(backend),
        seconds_left=known_seconds_left(backend),
        status=status,
    )


def _queue(backend: BackendV2) -> tuple[int | None, str | None]:
    """Pending jobs, and `active` or what keeps the device from running them."""
    if is_local(backend):
        return None, None
    try:
        state = backend.status()
    except client_errors() as error:
        return None, told(error)
    return int(state.pending_jobs), str(state.status_msg) if state.operational else f"offline ({state.status_msg})"


def local_names() -> list[str]:
    """Backends that need no account."""
    return [IDEAL, *snapshot_names()]


def ibm_backends() -> list[BackendV2]:
    """Devices that the account offers.

    Raises:
        BackendError: There is no account, or the service cannot be reached.
    """
    service = open_service("IBM devices")
    failures = record_errors(service)
    try:
        found: list[BackendV2] = service.backends()
    except client_errors() as error:
        failures.append(error)
    if failures:
        raise refusal("the account's devices cannot be listed", failures[-1])
    return found


def account_rows() -> tuple[list[BackendRow], str | None]:
    """A line for each device that the account offers, and in one line what the service has not told, if anything."""
    rows: list[BackendRow] = []
    notes: list[str] = []
    try:
        for backend in ibm_backends():
            try:
                rows.append(describe_backend(str(backend.name), backend))
            except client_errors() as error:
                notes.append(str(refusal(f"backend `{backend.name}` cannot be described", error)))
    except BackendError as error:
        notes.append(str(error))
    return rows, "; ".join(notes) or None


_TWO_QUBIT_GATES = frozenset({"cx", "cz", "ecr", "rzz"})
_GATES = _TWO_QUBIT_GATES | {"id", "rx", "rz", "sx", "u1", "u2", "u3", "x"}


def _median_error(target: Any, names: list[str]) -> float | None:
    errors = [
        properties.error
        for name in names
        for properties in (target.get(name, None) or {}).values()
        if properties is not None and properties.error is not None
    ]
    return statistics.median(errors) if errors else None


def _device_of(service: Any, name: str, fractional_gates: bool, qubits: int) -> BackendV2:
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    failures = record_errors(service)
    try:
        backend: BackendV2
        if name == LEAST_BUSY:
            backend = service.least_busy(min_num_qubits=qubits, use_fractional_gates=fractional_gates)
        else:
            backend = service.backend(name, use_fractional_gates=fractional_gates)
        # Calibration data are read with it: every other request for them is answered from what is known then.
        _ = backend.target
        return backend
    except QiskitBackendNotFoundError:
        if failures:
            raise refusal(f"backend `{name}` cannot be opened", failures[-1]) from None
        if name == LEAST_BUSY:
            raise BackendError(
                f"`{LEAST_BUSY}`: no device of the account is online and has at least {qubits} qubits: see `qhybrid "
                "hardware backends`"
            ) from None
        raise BackendError(
            f"unknown backend `{name}`: the account does not offer it (see `qhybrid hardware backends`); "
            f"local copies are called `{_SNAPSHOT_PREFIX}...`"
        ) from None
    except client_errors() as error:
        raise refusal(f"backend `{name}` cannot be opened", error) from None
