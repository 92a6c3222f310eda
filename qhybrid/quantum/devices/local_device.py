"""Devices that are known by their target alone: what every such backend answers alike, and those simulated here."""

from __future__ import annotations

import functools
from typing import Any

from qiskit.providers import BackendV2, Options
from qiskit.transpiler import Target


class TargetDevice(BackendV2):  # type: ignore[misc]  # qiskit is untyped
    """A backend of which its target is all that is known; how it runs circuits, a kind of it says."""

    def __init__(self, target: Target, **described: Any) -> None:
        """Take what the device can do.

        Args:
            target: Instructions with errors and durations, couplings, qubits.
            described: Name, description and version; see `BackendV2`.
        """
        super().__init__(**described)
        self._target = target

    @property
    def target(self) -> Target:
        """What the qubits can do, with errors and durations."""
        return self._target

    @property
    def max_circuits(self) -> None:
        """No limit."""
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()


class LocalDevice(TargetDevice):
    """A backend whose jobs Aer simulates with the errors that its target states."""

    @functools.cached_property
    def simulator(self) -> Any:
        """Aer's simulator with this backend's noise."""
        from qiskit_aer import AerSimulator

        return AerSimulator.from_backend(self)

    def run(self, run_input: Any, **options: Any) -> Any:
        """Simulate circuits with this backend's noise; see `AerSimulator.run` for the options."""
        return self.simulator.run(run_input, **options)
