"""Exact simulation, noisy simulation and device, on the very angles of a run.

Three sets of expectation values of the same circuit: without noise; with the noise model of the device's calibration,
evolved exactly as a density matrix (readout errors included), so without shots; and from the device. Where the noise
model is the whole truth, (device - noisy) / standard error is standard normal; (device - exact) shows what noise costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.arrays import read_arrays
from hardware.comparison.figures import draw_comparison
from hardware.comparison.image_metrics import Images, class_accuracies, compare_images, run_classifier
from hardware.inference.references import rescaled_results
from hardware.inference.results import read_results
from hardware.inference.reverse_process import circuit_weights
from hardware.inference.workload import Workload
from hardware.placement.sharing import copy_of_each
from hardware.placement.transpilation import Program
from qhybrid.data.images import to_uint8
from qhybrid.evaluation.features import FeatureExtractor
from qhybrid.files import write_json
from qhybrid.quantum.devices.snapshots import crop, noise_model
from qhybrid.quantum.noise.files import noise_model_to_json
from qhybrid.stored import read_stored

Array = NDArray[np.float64]

# Density matrix entries times parameter sets that the noisy simulation takes on (a few seconds), and its largest size.
_NOISY_WORK = 4**12
_NOISY_QUBITS = 12


def compare(workload: Workload) -> dict[str, Any]:
    """Compare, and write comparison.json and comparison.png.

    Returns:
        Content of comparison.json: `standard_error` (RMS; `None` if none is known); for each pair of sources `n`,
        `rms`, `bias` (mean difference) and, where the device is one of them, `z` (mean, RMS, share beyond 2, largest);
        `images` as of `compare_images`; `class_accuracy` as of `class_accuracies`, of exact simulation, of the noise
        model without shots and of the device; `rescaling`, what was learned (`Rescaling.record`) and the measured
        values against exact ones, while `device_against_exact` is of the rescaled ones; `variants` if the run was
        compared at several levels before.

    Raises:
        HardwareError: There is no result yet.
        RunDirectoryError: `comparison.json`, `evaluation.json` or `noise_model.json` is damaged.
    """
    path = workload.run.hardware / "comparison.json"
    again = "remove it, and `qhybrid hardware compare` writes it anew"
    earlier = read_stored(path, _Earlier, again) if path.exists() else {}
    plan, process = workload.plan, workload.process
    results, given, learned = rescaled_results(read_results(workload.run.hardware, plan), plan, process)
    exact = process.exact.values(results.angles)
    classifier = classifier_of(workload)
    chosen = _noisy_rows(len(results.angles), workload)
    simulation = NoisySimulation(workload)
    noisy = simulation.values(results.angles[chosen], results.patches[chosen])
    known = np.isfinite(results.errors)
    stated = given.errors if learned is not None and learned.held else results.errors
    values, errors = given.values, given.errors
    # What the noise model foretells is what was measured.
    measured = results.measured(plan.shots)
    rescaling = None
    if learned is not None:
        before = difference(measured.values, exact, measured.errors)
        rescaling = {**learned.record, "measured_against_exact": before}
    comparison = {
        "plan": plan.key,
        "backend": plan.backend,
        "level": plan.level,
        "shots": plan.shots,
        "parameter_sets": len(results.angles),
        "outputs": exact.shape[1],
        "standard_error": _rms(stated[known]) if known.any() else None,
        "device_against_exact": difference(values, exact, errors),
        "noisy_against_exact": difference(noisy, exact[chosen]) if len(chosen) else None,
        "device_against_noisy": (
            difference(measured.values[chosen], noisy, measured.errors[chosen]) if len(chosen) else None
        ),
        "rescaling": rescaling,
        "by_step": [
            {"step": int(step), **difference(values[here], exact[here], errors[here])}
            for step in np.unique(results.steps)
            for here in [results.steps == step]
        ],
        "by_patch": [
            {
                "patch": int(patch),
                "layout": list(workload.transpiled.layouts[patch]),
                **difference(values[here], exact[here], errors[here]),
            }
            for patch in np.unique(results.patches)
            for here in [results.patches == patch]
        ],
        "by_output": [difference(values[:, [k]], exact[:, [k]], errors[:, [k]]) for k in range(exact.shape[1])],
        "images": None,
        "class_accuracy": None,
    }
    if workload.images_file.exists():
        stored = read_arrays(workload.images_file, ("images", "exact"))
        comparison["images"] = compare_images(stored["images"], stored["exact"], classifier)
        if workload.process.labels is not None and classifier is not None:
            noisy_images = simulation.images() if len(chosen) == len(results.angles) else None
            sources = {"exact": stored["exact"], "noisy": noisy_images, "device": stored["images"]}
            comparison["class_accuracy"] = class_accuracies(
                {name: images for name, images in sources.items() if images is not None},
                workload.process.labels,
                classifier,
            )
    if earlier.get("plan") == workload.plan.key and "variants" in earlier:
        comparison["variants"] = earlier["variants"]
    save_noise_model(workload)
    write_json(path, comparison)
    draw_comparison(exact, given.values, chosen, noisy, comparison, workload.run.hardware / "comparison.png")
    return comparison


def difference(a: Array, b: Array, errors: Array | None = None) -> dict[str, Any]:
    """How `a` differs from `b`, both `(R, n_out)`.

    Args:
        a: Values with the standard errors `errors`, if those are given.
        b: Values taken as free of error.
        errors: `(R, n_out)`, positive; NaN where unknown, which leaves the value out of `z`.
    """
    found: dict[str, Any] = {"n": int(a.size), "rms": _rms(a - b), "bias": float(np.mean(a - b))}
    if errors is not None:
        known = np.isfinite(errors)
        z = (a - b)[known] / errors[known]
    if errors is not None and z.size:
        found["z"] = {
            "mean": float(z.mean()),
            "rms": _rms(z),
            "beyond_2": float(np.mean(np.abs(z) > 2)),
            "largest": float(np.abs(z).max()),
        }
    return found


def classifier_of(workload: Workload) -> FeatureExtractor | None:
    """The classifier by which the run's images are evaluated, if it has one."""
    return run_classifier(workload.run, workload.checkpoint.image_shape)


@dataclass(frozen=True)
class _Earlier:
    """What is kept of an earlier comparison."""

    plan: str = ""
    variants: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class _Origin:
    """What `noise_model.json` says of the device that it belongs to, in its other keys."""


class NoisySimulation:
    """Expectation values under the noise model of a run's device, without shots; each copy of the circuit has its own.

    Args:
        workload: The planned run.
    """

    def __init__(self, workload: Workload) -> None:
        from qhybrid.quantum.estimators.aer import AerEstimator

        self._workload = workload
        self._parts: list[tuple[Program, AerEstimator]] = []
        backend = workload.device.backend
        if backend.coupling_map is not None:
            core = workload.process.core
            program = workload.transpiled.local_program(core.spec, circuit_weights(core), backend)
            self._parts = [
                (part, AerEstimator(noise_model=noise_model(part.backend))) for part in program.parts or (program,)
            ]

    def values(self, angles: Array, patches: NDArray[np.int64]) -> Array:
        """Expectation values `(R, n_out)`.

        Args:
            angles: Input angles, `(R, n_in)`, in radians.
            patches: Copy of the circuit that each row runs on, `(R,)`.
        """
        if not self._parts:  # a simulator without noise
            return self._workload.process.exact.values(angles)
        values = np.empty((len(angles), self._parts[0][0].num_outputs))
        for number, (part, estimator) in enumerate(self._parts):
            here = patches == number
            if here.any():
                distinct, each = np.unique(angles[here], axis=0, return_inverse=True)
                result = estimator.run([part.pub(distinct)]).result()
                values[here] = np.asarray(result[0].data.evs, dtype=np.float64).T[each]
        return values

    def images(self) -> Images:
        """The run's images, uint8 `(N, H, W)` or `(N, H, W, 3)`, in the order of the device's images."""
        process, plan = self._workload.process, self._workload.plan
        state = process.run(
            process.start(),
            lambda asked: self.values(asked.angles, copy_of_each(len(asked.angles), plan.pack)),
            plan.qpu_steps,
        )
        return to_uint8(torch.from_numpy(state.images))


def save_noise_model(workload: Workload) -> None:
    """Write noise_model.json: Aer's noise model of the qubits in use, as the calibration of the day has it.

    Its qubit i is the device's `qubits[i]`; `qhybrid.quantum.load_noise_model` reads it.
    """
    backend = workload.device.backend
    path = workload.run.hardware / "noise_model.json"
    if backend.coupling_map is None:
        # An earlier plan's device has left one, perhaps, which is not this simulator's.
        path.unlink(missing_ok=True)
        return
    qubits = workload.transpiled.used_qubits()
    origin = {"backend": workload.plan.backend, "calibrated": workload.plan.calibrated, "qubits": qubits}
    if path.exists():
        known = read_stored(path, _Origin, "remove it, and it is written anew")
        if {key: known.get(key) for key in origin} == origin:
            return
    write_json(path, {**origin, **noise_model_to_json(noise_model(crop(backend, qubits)))})


def _noisy_rows(rows: int, workload: Workload) -> NDArray[np.intp]:
    """Rows that the noisy simulation covers: all of a small circuit, evenly spread ones of a large one."""
    qubits = max(len(copy.touched_qubits()) for copy in (workload.transpiled, *workload.transpiled.copies))
    if qubits > _NOISY_QUBITS:
        return np.empty(0, dtype=np.intp)
    count = min(rows, max(1, _NOISY_WORK // 4**qubits))
    return np.unique(np.linspace(0, rows - 1, count).round().astype(np.intp))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
