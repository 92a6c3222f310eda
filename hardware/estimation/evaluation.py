"""Expectation values of one's own circuit on a device: `hardware.evaluate`, and what `hardware evaluate` writes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit.providers import BackendV2

from hardware.errors import HardwareError
from hardware.estimation.estimator import DeviceEstimator, EstimatorBill, Price, device_estimator
from hardware.jobs.execution_mode import Echo, silent
from hardware.service.account import is_local
from qhybrid.files import atomic_path, write_json
from qhybrid.interruption import interruptible
from qhybrid.quantum.circuits.spec import CircuitSpec

_SHOWN = 8
_STOPPED = "what arrived is kept and jobs that were sent go on; go on with --resume"


@dataclass(frozen=True)
class Evaluated:
    """Expectation values with their standard errors.

    Attributes:
        values: Expectation values `(N, M)`: a row for each parameter set, a column for each observable.
        errors: Standard errors `(N, M)`; NaN where the device's extrapolation states none.
        parameters: Parameter values in radians, `(N, P)`.
        bill: What the folder of the evaluation has taken so far.
        record: Backend, calibration, shots, layout, job ids, names of the parameters and observables, JSON-able.
    """

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    parameters: NDArray[np.float64]
    bill: EstimatorBill
    record: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write `path` (npz: `values`, `errors`, `parameters`) and, beside it, the record as JSON."""
        write_json(path.with_suffix(".json"), {**self.record, "bill": asdict(self.bill)})
        with atomic_path(path) as temporary:
            np.savez(temporary, values=self.values, errors=self.errors, parameters=self.parameters)


def evaluate(
    spec: CircuitSpec,
    values: ArrayLike | None,
    backend: str | BackendV2,
    *,
    folder: str | Path,
    budget: float | None = None,
    wait_seconds: float | None = None,
    echo: Echo = silent,
    **options: Any,
) -> Evaluated:
    """Expectation values of a circuit's observables on a device, at given parameter values.

    Args:
        spec: Circuit, its parameters and its observables.
        values: Parameter values in radians, `(N, P)`, or `(P,)` for one set; columns are the inputs, then the weights.
            `None` for a circuit without parameters. Sets that are equal are measured once.
        backend: Device, local copy of one, or simulator, by name or itself.
        folder: Folder of the jobs and results; a call with the same folder goes on, and pays for nothing twice.
        budget: Most seconds of device time that the folder may take in all; a real device needs one.
        wait_seconds: Longest time to wait for one job, in seconds; `None` waits for ever.
        echo: Called with a line about what went wrong and was mended.
        options: Keys that `device_estimator` takes as well: `shots`, `level` and the options of mitigation.

    Raises:
        HardwareError: As for `device_estimator`; or the values are not those of the circuit's parameters, or a job
            failed, or has not ended in time.
        ConfigError: An option that there is not, or its value.
    """
    points = parameter_values(spec, values)
    estimator = device_estimator(
        spec, backend, folder=folder, budget=budget, wait_seconds=wait_seconds, echo=echo, **options
    )
    return carry_out(estimator, spec, points)


def price_of(estimator: DeviceEstimator, spec: CircuitSpec, points: NDArray[np.float64]) -> Price:
    """What an evaluation takes, before anything is sent.

    Args:
        estimator: Estimator over the device.
        spec: Circuit and its observables.
        points: Parameter values in radians, `(N, P)`, inputs first.
    """
    return estimator.price([_pub(spec, points)])


def carry_out(estimator: DeviceEstimator, spec: CircuitSpec, points: NDArray[np.float64]) -> Evaluated:
    """Send the jobs of an evaluation and wait for them; see `evaluate`.

    Args:
        estimator: Estimator over the device.
        spec: Circuit and its observables.
        points: Parameter values in radians, `(N, P)`, inputs first.
    """
    with interruptible(_STOPPED):
        result = estimator.run([_pub(spec, points)]).result()[0]
    found, errors = (np.asarray(table, dtype=np.float64).reshape(spec.num_outputs, -1).T for table in
                     (result.data.evs, result.data.stds))  # fmt: skip
    number = result.metadata["evaluation"]
    rows = [row for row in estimator.state.log.rows() if row["event"] == "done" and row["step"] == number]
    placed = estimator.state.place(spec.circuit, spec.name, estimator.backend)[1]
    record = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "circuit": spec.name,
        "backend": result.metadata["backend"],
        "local": is_local(estimator.backend),
        "calibrated": placed.report["calibrated"],
        "layout": list(placed.layout),
        "shots": result.metadata["shots"],
        "options": estimator.options,
        "jobs": [row["job"] for row in rows],
        "parameters": [parameter.name for parameter in (*spec.inputs, *spec.weights)],
        "observables": [
            [[label, float(np.real(value))] for label, value in item.to_list()] for item in spec.observables
        ],
    }
    return Evaluated(found, errors, points, estimator.bill(), record)


def parameter_values(spec: CircuitSpec, values: ArrayLike | None) -> NDArray[np.float64]:
    """Parameter sets of a circuit, checked.

    Args:
        spec: The circuit and its parameters.
        values: Parameter values in radians, `(N, P)` or `(P,)`; `None` for a circuit without parameters.

    Returns:
        Parameter values in radians, float64 `(N, P)`, one row for each set.

    Raises:
        HardwareError: Another number of columns, no row, or a value that is not a finite number.
    """
    names = [parameter.name for parameter in (*spec.inputs, *spec.weights)]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    has = f"circuit `{spec.name}` has {len(names)} parameters" + (f" ({shown})" if names else "")
    if values is None:
        if names:
            raise HardwareError(f"{has}: give their values")
        return np.zeros((1, 0))
    try:
        points = np.atleast_2d(np.asarray(values, dtype=np.float64))
    except (ValueError, TypeError):
        raise HardwareError("parameter values: expected an array (N, P) of numbers") from None
    if points.ndim != 2 or points.shape[1] != len(names):
        raise HardwareError(f"parameter values of shape {np.shape(values)}: {has}, one column each")
    if not len(points):
        raise HardwareError("parameter values: there is no row")
    if not np.isfinite(points).all():
        raise HardwareError(f"parameter values: {np.count_nonzero(~np.isfinite(points))} are not finite")
    return points


def _pub(spec: CircuitSpec, points: NDArray[np.float64]) -> tuple[Any, ...]:
    observables = [[item] for item in spec.observables]
    if not points.shape[1]:
        return spec.circuit, observables
    return spec.circuit, observables, {tuple(item.name for item in (*spec.inputs, *spec.weights)): points}
