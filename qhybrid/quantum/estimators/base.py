"""What both simulating estimators are told alike: noise or a device, shots and a seed."""

from __future__ import annotations

import copy
import math
from typing import Any

from qiskit.primitives.base import BaseEstimatorV2
from qiskit.providers import BackendV2

from qhybrid.errors import CircuitError


class SimulatingEstimator(BaseEstimatorV2):  # type: ignore[misc]  # qiskit is untyped
    """An estimator of Qiskit's interface that simulates circuits, without noise or with that of a model or a device.

    Attributes:
        shots: Number of samples of each expectation value; `None` for exact ones.
        seed: Seed of the sampling; `None` draws anew.
    """

    def __init__(self, noise_model: Any, device: BackendV2 | None, shots: int | None, seed: int | None) -> None:
        """Take the settings.

        Args:
            noise_model: An Aer `NoiseModel`, or `None`.
            device: A (cropped) device in place of a noise model; brings its own noise.
            shots: Number of samples, at least 1, or `None` for exact expectation values.
            seed: Seed of the sampling; `None` draws anew.

        Raises:
            CircuitError: Both a noise model and a device, or shots below 1.
        """
        if noise_model is not None and device is not None:
            raise CircuitError(
                f"{type(self).__name__} takes a noise model or a device, not both: the device brings its own noise"
            )
        if shots is not None and shots < 1:
            raise CircuitError(f"{shots} shots: at least 1 is needed, or None for exact expectation values")
        if device is not None:
            from qhybrid.quantum.devices.snapshots import noise_model as noise_of

            noise_model = noise_of(device)
        # A copy, or a change of the caller's model would reach some circuits and not those compiled before.
        self._noise_model = copy.deepcopy(noise_model)
        self._device = device
        self.shots = shots
        self.seed = seed

    @property
    def noise_model(self) -> Any:
        """The Aer `NoiseModel` as it was when the estimator was made; `None` without noise."""
        return self._noise_model

    @property
    def device(self) -> BackendV2 | None:
        """The device that circuits are transpiled for, if any."""
        return self._device

    @property
    def default_precision(self) -> float:
        """Standard error of a pub without a precision: 0 for exact values, 1/sqrt(shots) for sampled ones."""
        return 0.0 if self.shots is None else 1 / math.sqrt(self.shots)
