"""Circuits, exact and noisy simulation, and the differentiable layer.

The names below are imported when first used, so that `import qhybrid.quantum` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qhybrid.quantum.analysis.diagnosis import Diagnosis, diagnose
    from qhybrid.quantum.analysis.expressibility import measure_capability
    from qhybrid.quantum.analysis.gradient_scaling import gradient_scaling
    from qhybrid.quantum.analysis.signal_loss import device_shrinkage
    from qhybrid.quantum.circuits.ansatz import build_spec, published_spec, spec_from_config
    from qhybrid.quantum.circuits.feasibility import require_feasible
    from qhybrid.quantum.circuits.spec import CircuitSpec
    from qhybrid.quantum.estimators.aer import AerEstimator
    from qhybrid.quantum.estimators.compiled import CompiledEstimator
    from qhybrid.quantum.estimators.from_config import build_estimator
    from qhybrid.quantum.layer.layer import QuantumLayer
    from qhybrid.quantum.layer.networks import build_qnn
    from qhybrid.quantum.noise.files import load_noise_model, save_noise_model

_HOMES = {
    "AerEstimator": "estimators.aer",
    "CircuitSpec": "circuits.spec",
    "CompiledEstimator": "estimators.compiled",
    "Diagnosis": "analysis.diagnosis",
    "QuantumLayer": "layer.layer",
    "build_estimator": "estimators.from_config",
    "build_qnn": "layer.networks",
    "build_spec": "circuits.ansatz",
    "device_shrinkage": "analysis.signal_loss",
    "diagnose": "analysis.diagnosis",
    "gradient_scaling": "analysis.gradient_scaling",
    "load_noise_model": "noise.files",
    "measure_capability": "analysis.expressibility",
    "published_spec": "circuits.ansatz",
    "require_feasible": "circuits.feasibility",
    "save_noise_model": "noise.files",
    "spec_from_config": "circuits.ansatz",
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
