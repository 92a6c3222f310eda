"""How much of an expectation value is left on a device.

Over random angles the noisy value of an observable is close to a straight line in the exact one, slope * exact +
offset. The slope, 0 to 1, is what noise and readout error leave of the signal: a layer that trains on exact values
sees its outputs smaller by that factor on the device, and needs 1 / slope^2 as many shots for the same relative
precision.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.providers import BackendV2

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.estimators.pubs import evaluate_pub
from qhybrid.seeds import plain_generator

_CONSTANT = 1e-6


@dataclass(frozen=True)
class Shrinkage:
    """Noisy against exact expectation values, one entry per observable.

    Attributes:
        slope: Factor that is left of the signal; `None` for an observable whose exact value does not vary.
        offset: Noisy value where the exact one is 0; with `slope` `None`, the mean noisy value.
        residual: Root mean square of what the line does not explain.
        draws: Number of random points, all angles uniform in [-pi, pi].
        seed: Seed of the random points.
    """

    slope: tuple[float | None, ...]
    offset: tuple[float, ...]
    residual: tuple[float, ...]
    draws: int
    seed: int


@dataclass(frozen=True)
class DeviceShrinkage:
    """Shrinkage on the best place of a device.

    Attributes:
        device: Name of the whole device.
        qubits: Device qubit of each circuit qubit.
        gates: Shrinkage by gate errors, relaxation and decoherence alone.
        total: Shrinkage by all errors, those of readout included.
    """

    device: str
    qubits: tuple[int, ...]
    gates: Shrinkage
    total: Shrinkage

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content."""
        return asdict(self)


def measure_shrinkage(spec: CircuitSpec, noisy: BaseEstimatorV2, draws: int = 32, seed: int = 0) -> Shrinkage:
    """Fit a noisy estimator's expectation values against the exact ones.

    Args:
        spec: Circuit and observables to be evaluated.
        noisy: Estimator of any kind; one that is exact under noise gives the cleanest fit, shots add to `residual`.
        draws: Number of random points, at least 3.
        seed: Seed of the random points.

    Raises:
        CircuitError: Fewer than 3 draws, or the circuit cannot be evaluated.
    """
    if draws < 3:
        raise CircuitError(f"a line through {draws} points tells nothing: give at least 3 draws")
    points = plain_generator(seed).uniform(-np.pi, np.pi, (draws, len(spec.inputs) + len(spec.weights)))
    exact, found = _values(spec, CompiledEstimator(), points), _values(spec, noisy, points)
    slopes: list[float | None] = []
    offsets, residuals = [], []
    for x, y in zip(exact.T, found.T, strict=True):
        slope, offset = np.polyfit(x, y, 1) if x.std() > _CONSTANT else (None, y.mean())
        slopes.append(None if slope is None else float(slope))
        offsets.append(float(offset))
        residuals.append(float(np.sqrt(np.mean((y - (slope or 0.0) * x - offset) ** 2))))
    return Shrinkage(tuple(slopes), tuple(offsets), tuple(residuals), draws, seed)


def device_shrinkage(spec: CircuitSpec, device: BackendV2 | str, draws: int = 32, seed: int = 0) -> DeviceShrinkage:
    """Expected shrinkage of each observable on a device, at the place that training and hardware runs take.

    Args:
        spec: Circuit and observables to be evaluated.
        device: A backend with calibration data, or the name of a snapshot such as `fake_torino`.
        draws: Number of random points, at least 3.
        seed: Seed of the random points.

    Raises:
        CircuitError: Unknown device, a circuit that does not fit it without routing, or too many qubits for an exact
            density matrix.
    """
    from qhybrid.quantum.devices.embedding import best_embedding
    from qhybrid.quantum.devices.snapshots import crop, snapshot
    from qhybrid.quantum.estimators.aer import AerEstimator

    backend = snapshot(device) if isinstance(device, str) else device
    part = crop(backend, best_embedding(spec.circuit, backend))
    return DeviceShrinkage(
        device=part.device_name,
        qubits=part.physical_qubits,
        gates=measure_shrinkage(spec, AerEstimator(device=part, readout_error=False), draws, seed),
        total=measure_shrinkage(spec, AerEstimator(device=part), draws, seed),
    )


def _values(spec: CircuitSpec, estimator: BaseEstimatorV2, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expectation values (draws, M)."""
    names = {parameter: column for column, parameter in enumerate([*spec.inputs, *spec.weights])}
    columns = [names[parameter] for parameter in spec.circuit.parameters]
    return evaluate_pub(estimator, spec.circuit, spec.observables, points[:, columns], None)
