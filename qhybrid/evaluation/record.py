"""What readers take from `evaluation.json`: each number of its kind, whoever wrote the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import FiniteFloat

from qhybrid.errors import RunDirectoryError
from qhybrid.files import DamagedFileError
from qhybrid.rundir import RunDirectory
from qhybrid.stored import Measure, Pair, check_shape, read_stored


@dataclass(frozen=True)
class Features:
    """The classifier of an evaluation.

    Attributes:
        dataset: Name of the data set that it was trained on.
        hash: SHA-256 over names, shapes and values of the classifier's weights.
        accuracy: Accuracy of the classifier on the test images of that data set, 0 to 1.
    """

    dataset: str
    hash: str
    accuracy: FiniteFloat


@dataclass(frozen=True)
class _Floor:
    value: FiniteFloat | None
    generated_at_same_n: FiniteFloat | None = None
    n_per_side: int = 0
    n_real: int = 0
    range: Pair | None = None
    interval: Pair | None = None


@dataclass(frozen=True)
class _OfClass:
    value: FiniteFloat | None
    interval: Pair | None = None
    reason: str | None = None
    n_generated: int = 0
    floor: _Floor | None = None


@dataclass(frozen=True)
class _Entry(_OfClass):
    n_real: int = 0
    by_class: dict[str, _OfClass] = field(default_factory=dict)
    generated: dict[str, int] = field(default_factory=dict)
    real: dict[str, int] = field(default_factory=dict)
    classes_present: int = 0
    classes_wanted: int = 0


@dataclass(frozen=True)
class _Evaluation:
    dataset: str
    n_generated: int
    n_train: int
    n_test: int
    seed: int
    features: Features
    metrics: dict[str, _Entry]
    reliance: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Named:
    """What a comparison of images reads."""

    features: Features


@dataclass(frozen=True)
class _Unmeasured:
    reason: str


@dataclass(frozen=True)
class _Value:
    value: FiniteFloat


@dataclass(frozen=True)
class _Difference:
    kid: Measure
    loss: Measure


@dataclass(frozen=True)
class _State:
    kid: Measure
    loss: Measure
    loss_by_time: tuple[_Value, ...]


@dataclass(frozen=True)
class _Replaced(_State):
    difference: _Difference
    pixel_difference: _Value


@dataclass(frozen=True)
class _Outputs:
    zeroed: _Replaced
    mean: _Replaced
    shuffled: _Replaced
    shrunk: dict[str, Any]


@dataclass(frozen=True)
class _Relied:
    statement: str
    depends: bool
    circuit: bool
    n_generated: int
    n_real: int
    n_test: int
    untouched: _State
    outputs: _Outputs


@dataclass(frozen=True)
class _Accuracy:
    class_accuracy: Measure


@dataclass(frozen=True)
class _OnDevice:
    device: str
    factors: tuple[FiniteFloat, ...]


@dataclass(frozen=True)
class _Changed:
    kid: _Value
    class_accuracy: _Value | None = None


@dataclass(frozen=True)
class _Zeroed:
    difference: _Changed


@dataclass(frozen=True)
class _ZeroedOutputs:
    zeroed: _Zeroed


@dataclass(frozen=True)
class _Relying:
    depends: bool
    outputs: _ZeroedOutputs


@dataclass(frozen=True)
class _Judged:
    metrics: dict[str, _Entry]
    reliance: dict[str, Any] | None = None


def read_evaluation(run: RunDirectory) -> dict[str, Any]:
    """All that `evaluation.json` holds, see `evaluate`.

    Raises:
        RunDirectoryError: It is missing or damaged.
    """
    found = read_stored(run.evaluation_file, _Evaluation, _remedy(run))
    try:
        histogram = found["metrics"].get("class_histogram", {})
        if histogram.get("generated", {}).keys() != histogram.get("real", {}).keys():
            raise DamagedFileError("`metrics.class_histogram`: other classes are generated than real")
        _check_reliance(found.get("reliance"))
    except DamagedFileError as error:
        raise RunDirectoryError(f"`{run.evaluation_file}` is damaged ({error}): {_remedy(run)}") from None
    return found


def read_judged(run: RunDirectory) -> dict[str, Any]:
    """`evaluation.json` for its `metrics`, and for the `reliance` of KID and class accuracy on the core's outputs.

    Raises:
        RunDirectoryError: It is missing or damaged.
    """
    found = read_stored(run.evaluation_file, _Judged, _remedy(run))
    relied = found.get("reliance")
    if relied is not None and "untouched" in relied:
        try:
            check_shape(_Relying, relied)
        except DamagedFileError as error:
            raise RunDirectoryError(f"`{run.evaluation_file}` is damaged (reliance, {error}): {_remedy(run)}") from None
    return found


def read_features(run: RunDirectory) -> dict[str, Any]:
    """The classifier that `evaluation.json` names, see `Features`.

    Raises:
        RunDirectoryError: It is missing or damaged.
    """
    features: dict[str, Any] = read_stored(run.evaluation_file, _Named, _remedy(run))["features"]
    return features


def _remedy(run: RunDirectory) -> str:
    return f"`qhybrid evaluate {run.path}` writes it anew"


def _check_reliance(relied: dict[str, Any] | None) -> None:
    """Whether reliance was measured, with the same measures in every state of the core, or says why it was not.

    Raises:
        DamagedFileError: Neither.
    """
    if relied is None:
        return
    if "untouched" not in relied:
        check_shape(_Unmeasured, relied)
        return
    outputs = check_shape(_Relied, relied)["outputs"]
    states = [outputs[name] for name in ("zeroed", "mean", "shuffled")]
    shrunk = outputs["shrunk"]
    if "device" in shrunk and not check_shape(_OnDevice, shrunk)["factors"]:
        raise DamagedFileError("`outputs.shrunk.factors`: there are none")
    if "kid" in shrunk:
        states.append(check_shape(_Replaced, shrunk))
    else:
        check_shape(_Unmeasured, shrunk)
    # Classes are asked for in all states or in none.
    judged = [part for state in states for part in (state, state["difference"])]
    conditional = "class_accuracy" in relied["untouched"]
    for part in [relied["untouched"], *judged]:
        if conditional:
            check_shape(_Accuracy, part)
        elif "class_accuracy" in part:
            raise DamagedFileError("`class_accuracy` stands in some states only")
