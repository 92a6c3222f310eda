"""Circuits, exact and noisy simulation, and the differentiable layer.

The names below are imported when first used, so that `import qhybrid.quantum` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qhybrid.quantum.aer import AerEstimator
    from qhybrid.quantum.ansatz import build_spec, published_spec, spec_from_config
    from qhybrid.quantum.capability import measure_capability
    from qhybrid.quantum.diagnosis import Diagnosis, diagnose
    from qhybrid.quantum.estimator import CompiledEstimator
    from qhybrid.quantum.factory import build_estimator
    from qhybrid.quantum.feasibility import require_feasible
    from qhybrid.quantum.layer import QuantumLayer, build_qnn
    from qhybrid.quantum.noise_files import load_noise_model, save_noise_model
    from qhybrid.quantum.shrinkage import device_shrinkage
    from qhybrid.quantum.spec import CircuitSpec
    from qhybrid.quantum.trainability import gradient_scaling

_HOMES = {
    "AerEstimator": "aer",
    "CircuitSpec": "spec",
    "CompiledEstimator": "estimator",
    "Diagnosis": "diagnosis",
    "QuantumLayer": "layer",
    "build_estimator": "factory",
    "build_qnn": "layer",
    "build_spec": "ansatz",
    "device_shrinkage": "shrinkage",
    "diagnose": "diagnosis",
    "gradient_scaling": "trainability",
    "load_noise_model": "noise_files",
    "measure_capability": "capability",
    "published_spec": "ansatz",
    "require_feasible": "feasibility",
    "save_noise_model": "noise_files",
    "spec_from_config": "ansatz",
}

__all__ = [
    "AerEstimator",
    "CircuitSpec",
    "CompiledEstimator",
    "Diagnosis",
    "QuantumLayer",
    "build_estimator",
    "build_qnn",
    "build_spec",
    "device_shrinkage",
    "diagnose",
    "gradient_scaling",
    "load_noise_model",
    "measure_capability",
    "published_spec",
    "require_feasible",
    "save_noise_model",
    "spec_from_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
