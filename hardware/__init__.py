"""A trained circuit on an IBM device: transpile, plan, submit, fetch, infer; and noise drawn from one.

Takes a checkpoint of `qhybrid` and gives back tensors and files in the run directory; `qhybrid` knows nothing of it.
The names below are imported when first used, so that `import hardware` costs nothing.

    backends       backends by name; the only builder of a `QiskitRuntimeService`
    transpilation  spec -> ISA circuit, layout and report; the part of a device that is simulated locally
    costs          executions, jobs and seconds of a denoising step, before anything is sent
    planning       the bill of a run; the budget; which steps use the device
    execution      the only door to Runtime's primitives
    jobs           each job's line in jobs.jsonl, its tags, its stored result
    records        results in the client's own JSON, beside the checked ones
    runner         jobs from work to checked, stored results: found again, sent, waited for, paid for once
    evaluator      expectation values of one denoising step
    reverse        reverse diffusion that can stop before any step and go on
    sensitivity    which denoising steps depend on the bottleneck
    inference      a run directory's way from plan to images
    noise_bank     quantum noise drawn from a device into a bank (noise_circuits, noise_plan, noise_results: its parts)
    run_status     where a run stands
    image_metrics  images of a device beside their exact twins
    compare        exact, noisy simulation and device on the angles of a run
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardware.noise.bank import draw_noise
    from hardware.placement.transpilation import transpile
    from hardware.runs.stages import fetch, infer, plan, submit
    from hardware.service.backends import open_backend

# No module carries a function's name: importing `hardware.plan` as a module would replace the function on the package.
_HOMES = {
    "draw_noise": "noise.bank",
    "fetch": "runs.stages",
    "infer": "runs.stages",
    "open_backend": "service.backends",
    "plan": "runs.stages",
    "submit": "runs.stages",
    "transpile": "placement.transpilation",
}

__all__ = ["draw_noise", "fetch", "infer", "open_backend", "plan", "submit", "transpile"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
