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


class AbsentDevice(TargetDevice):
    """A device to which nothing can be sent.

    Args:
        name: Name of the IBM device.
        service: The account's `QiskitRuntimeService`.
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
        self._instance = service.active_instance()

    def run(self, run_input: Any, **options: Any) -> Any:
        """Refuse to run anything.

        Args:
            run_input: Circuits, which are not looked at.
            options: Options of the run, which are not looked at.

        Raises:
            BackendError: Always; it says why the device is not at hand.
        """
        raise BackendError(self.reason)
