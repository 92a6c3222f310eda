"""An IBM device as a run knows it, without the device: what was sent to it can be asked for, fetched and cancelled.

A device may be retired, renamed or changed while its finished jobs stay at the service. They are asked for by their
ids, which needs the account alone, and judged by the calibration that the run has stored.
"""

from __future__ import annotations

from typing import Any

from qiskit.transpiler import Target

from hardware.errors import BackendError
from qhybrid.quantum.devices.calibration import SavedBackend
from qhybrid.quantum.devices.local_device import TargetDevice


class AbsentService:
    """The account's service object where the account cannot be used: whatever is asked of it is refused.

    Args:
        error: Why it cannot be used; raised by every use.
    """

    def __init__(self, error: BackendError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        """Refuse to be used.

        Args:
            name: Name of what is asked for.

        Raises:
            BackendError: Always; it says why.
        """
        raise self._error


class AbsentDevice(TargetDevice):
    """A device to which nothing can be sent.

    Args:
        name: Name of the IBM device.
        service: The account's `QiskitRuntimeService`, or what stands for it.
        reason: Why the device itself is not at hand, one line.
        kept: The device as it was when the run was planned, if that is known.

    Attributes:
        service: The account's `QiskitRuntimeService`.
        reason: Why the device itself is not at hand, one line.
        calibrated: Date of the kept calibration, ISO 8601.
    """

    def __init__(self, name: str, service: Any, reason: str, kept: SavedBackend | None = None) -> None:
        super().__init__(Target() if kept is None else kept.target, name=name)
        self.service = service
        self.reason = reason
        self.calibrated = None if kept is None else kept.calibrated
        self._instance = None if isinstance(service, AbsentService) else service.active_instance()

    def run(self, run_input: Any, **options: Any) -> Any:
        """Refuse to run anything.

        Args:
            run_input: Circuits, which are not looked at.
            options: Options of the run, which are not looked at.

        Raises:
            BackendError: Always; it says why the device is not at hand.
        """
        raise BackendError(self.reason)
