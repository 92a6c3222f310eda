"""The first lines of a report: what was trained, how good it is, how much it relies on its circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qhybrid.config import RunConfig

_PLACES = {
    "gate": "as a gate on the deepest features",
    "condition": "as a condition of the decoder",
    "features": "between encoder and decoder, with no path around it",
}


def first_lines(config: RunConfig, evaluation: Mapping[str, Any] | None, model: Mapping[str, Any] | None) -> list[str]:
    """Three sentences for the first screen.

    Args:
        config: Configuration of the run.
        evaluation: Content of `evaluation.json`, if there is one.
        model: `step`, and `circuit` with its numbers of qubits and weights, if there is a checkpoint.
    """
    return [_trained(config, evaluation, model), _how_good(evaluation), _reliance(evaluation)]


def core_in_words(config: RunConfig, model: Mapping[str, Any] | None = None) -> str:
    """The core and its place: a circuit (`quantum`, 4 qubits, 24 weights) as a gate on the deepest features."""
    bottleneck = config.model.bottleneck
    name = bottleneck.core.name
    if name == "none":
        return "no core in the bottleneck"
    circuit = None if model is None else model["circuit"]
    what = f"the core `{name}`"
    if circuit is not None:
        what = f"a circuit (`{name}`, {circuit['qubits']} qubits, {circuit['weights']} weights)"
    return f"{what} {_PLACES[bottleneck.place]}"


def _trained(config: RunConfig, evaluation: Mapping[str, Any] | None, model: Mapping[str, Any] | None) -> str:
    data = config.data.name if evaluation is None else evaluation["dataset"]
    conditional = config.model.condition == "class"
    facts = [f"{evaluation['n_train']:,} images"] if evaluation is not None else []
    facts += [f"{model['step']:,} steps"] if model is not None else []
    text = f"{'Class-conditional diffusion' if conditional else 'Diffusion'} model of {data}"
    text += f" ({', '.join(facts)})" if facts else ""
    return f"{text} with {core_in_words(config, model)}{', the only way in for the class' if conditional else ''}."


def _how_good(evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        return "How good its images are was not measured yet: `qhybrid evaluate` does."
    metrics = evaluation["metrics"]
    parts = []
    kid = metrics.get("kid")
    if kid is not None and kid["value"] is not None:
        text = f"KID {kid['value']:.3f}"
        if kid.get("interval"):
            text += " [{:.3f}, {:.3f}]".format(*kid["interval"])
        floor = _floor(kid)
        if floor is not None:
            text += f", real images against each other {floor:.3f}"
        if kid.get("training_images"):
            text += f", its own training images {kid['training_images']['value']:.3f}"
        parts.append(text)
    accuracy = metrics.get("class_accuracy")
    if accuracy is not None and accuracy["value"] is not None:
        text = f"{accuracy['value']:.1%} of {evaluation['n_generated']:,} images show the class asked for"
        if accuracy.get("interval"):
            text += " [{:.1%}, {:.1%}]".format(*accuracy["interval"])
        floor = _floor(accuracy)
        if floor is not None:
            text += f", of real ones {floor:.1%}"
        parts.append(text)
    return ("; ".join(parts) or "Too few images to say how good they are") + "."


def _floor(entry: Mapping[str, Any]) -> float | None:
    floor = entry.get("floor")
    value: float | None = None if floor is None else floor["value"]
    return value


def _reliance(evaluation: Mapping[str, Any] | None) -> str:
    relied = None if evaluation is None else evaluation.get("reliance")
    if relied is None:
        return "How much its images rely on the core was not measured: `qhybrid evaluate --reliance` does."
    statement: str = relied.get("statement") or f"Reliance: {relied['reason']}."
    return statement
