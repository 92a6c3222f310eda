"""What the report takes from the JSON files of `hardware/`: each number of its kind, whoever wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import FiniteFloat

from qhybrid.rundir import RunDirectory
from qhybrid.stored import Measure, read_stored

# Stands for a measure that an earlier version did not write; one that is written must be whole.
_ABSENT = Measure(0.0, (0.0, 0.0))


@dataclass(frozen=True)
class _Patch:
    patch: int
    layout: tuple[int, ...]
    estimated_success: FiniteFloat | None
    readout_errors: tuple[FiniteFloat | None, ...]


@dataclass(frozen=True)
class _Plan:
    """Fields of a plan; in a plan of an earlier version all but the first six may be missing."""

    backend: str
    mode: str
    jobs: int
    shots: int
    executions: int
    seconds: FiniteFloat
    budget_seconds: FiniteFloat | None
    device: str = ""
    images: int = 0
    steps: int = 0
    qpu_steps: tuple[int, ...] = ()
    primitive: str = ""
    level: int = 0
    open_plan_share: FiniteFloat = 0.0
    patches: tuple[_Patch, ...] = ()


@dataclass(frozen=True)
class _Placed:
    estimated_success: FiniteFloat | None
    depth: int
    two_qubit_depth: int
    two_qubit_gates: int
    method: str


@dataclass(frozen=True)
class _Transpiled:
    layout: tuple[int, ...]
    report: _Placed


@dataclass(frozen=True)
class _Scores:
    rms: FiniteFloat
    beyond_2: FiniteFloat


@dataclass(frozen=True)
class _Difference:
    n: int
    rms: FiniteFloat
    bias: FiniteFloat
    z: _Scores = _Scores(0.0, 0.0)


@dataclass(frozen=True)
class _Images:
    n: int
    rms: FiniteFloat
    ssim: FiniteFloat = 0.0
    same_class: FiniteFloat | None = None
    feature_distance: FiniteFloat | None = None


@dataclass(frozen=True)
class _Twins:
    n: int
    rms: FiniteFloat
    ssim: FiniteFloat
    same_class: FiniteFloat | None
    feature_distance: FiniteFloat | None


@dataclass(frozen=True)
class _Variant:
    name: str
    n: int
    rms: FiniteFloat
    bias: FiniteFloat
    z_rms: FiniteFloat | None
    beyond_2: FiniteFloat | None
    images: _Twins
    executions: int
    seconds: FiniteFloat


@dataclass(frozen=True)
class _Accuracy:
    n: int
    exact: Measure
    device: Measure
    noisy: Measure = _ABSENT


@dataclass(frozen=True)
class _OfPatch:
    patch: int
    rms: FiniteFloat


@dataclass(frozen=True)
class _Comparison:
    shots: int
    standard_error: FiniteFloat | None
    device_against_exact: _Difference | None = None
    noisy_against_exact: _Difference | None = None
    device_against_noisy: _Difference | None = None
    images: _Images | None = None
    class_accuracy: _Accuracy | None = None
    variants: tuple[_Variant, ...] = ()
    by_patch: tuple[_OfPatch, ...] = ()


_FILES = {
    "plan": (_Plan, "`qhybrid hardware plan` writes it anew"),
    "transpiled": (_Transpiled, "`qhybrid hardware plan` writes it anew"),
    "comparison": (_Comparison, "remove it, and `qhybrid hardware compare` writes it anew"),
}


def read_device_files(run: RunDirectory) -> dict[str, Any]:
    """`plan`, `transpiled` and `comparison` as the files of these names in `hardware/` hold them; `None` without one.

    Raises:
        RunDirectoryError: One of them is damaged.
    """
    files = {name: run.hardware / f"{name}.json" for name in _FILES}
    return {name: read_stored(path, *_FILES[name]) if path.exists() else None for name, path in files.items()}
