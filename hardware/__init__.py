"""A trained circuit on an IBM device: transpile, plan, submit, fetch, infer; and noise drawn from one.

Takes a checkpoint of `qhybrid` and gives back tensors and files in the run directory; `qhybrid` knows nothing of it.
The names below are imported when first used, so that `import hardware` costs nothing.

    service      backends by name, the account, what the client's errors mean; the only builder of a service object
    placement    spec -> ISA circuit: layout, copies side by side; the part of a device that is simulated locally
    primitives   options, what a job will execute, sending it, judging its result; the only door to Runtime's primitives
    jobs         each job's line in jobs.jsonl, its tags, its stored result; jobs found again, sent and paid for once
    planning     executions, jobs and seconds before anything is sent; the budget; which denoising steps use the device
    estimation   expectation values of any circuit on a device through Qiskit's estimator interface
    inference    reverse diffusion whose bottleneck a device evaluates, and that can stop before any step and go on
    comparison   exact simulation, noisy simulation and device on the angles of a run, and their images
    tuning       the trained model fitted to the device: its last linear map, its circuit's weights
    runs         a run directory's way from plan to images: plan, submit, fetch, infer, replay, variants, status;
                 and what it has at the service: jobs listed, cancelled, waited for, sessions closed; export
    noise        quantum noise drawn from a device into a bank
    commands     the command line

Each may import only those above it (`noise` those up to `inference`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardware.estimation.estimator import device_estimator
    from hardware.estimation.evaluation import evaluate
    from hardware.noise.bank import draw_noise
    from hardware.placement.transpilation import transpile
    from hardware.runs.at_service import cancel, close, list_jobs, wait
    from hardware.runs.export import export
    from hardware.runs.stages import fetch, infer, plan, submit
    from hardware.service.backends import open_backend
    from hardware.tuning.tuned_model import tune

# No module carries a function's name: importing `hardware.plan` as a module would replace the function on the package.
_HOMES = {
    "cancel": "runs.at_service",
    "close": "runs.at_service",
    "device_estimator": "estimation.estimator",
    "draw_noise": "noise.bank",
    "evaluate": "estimation.evaluation",
    "export": "runs.export",
    "fetch": "runs.stages",
    "infer": "runs.stages",
    "list_jobs": "runs.at_service",
    "open_backend": "service.backends",
    "plan": "runs.stages",
    "submit": "runs.stages",
    "transpile": "placement.transpilation",
    "tune": "tuning.tuned_model",
    "wait": "runs.at_service",
}

__all__ = [
    "cancel",
    "close",
    "device_estimator",
    "draw_noise",
    "evaluate",
    "export",
    "fetch",
    "infer",
    "list_jobs",
    "open_backend",
    "plan",
    "submit",
    "transpile",
    "tune",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
