"""Judge a run's generated images and write `evaluation.json`.

Reference for every metric are the test images of the classes that the run was trained on, which neither classifier nor
model has seen. Each metric stands beside its real-against-real floor: the value that real images reach against other
real images, at a stated number of images, and the value of the generated images at that same number.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.checkpoints.checkpoint import Checkpoint, latest_checkpoint, load_checkpoint
from qhybrid.config import EvaluationConfig
from qhybrid.data import ImageData, load_data
from qhybrid.errors import EvaluationError
from qhybrid.evaluation.conditional import Judged, class_metrics
from qhybrid.evaluation.copies import copy_scores
from qhybrid.evaluation.explanations import TITLES
from qhybrid.evaluation.features import feature_extractor
from qhybrid.evaluation.memorisation import held_out, nearest_images
from qhybrid.evaluation.reliance import measure_reliance
from qhybrid.evaluation.samples import asked_mix, load_samples, members
from qhybrid.evaluation.scores import class_scores, distance_scores, kid_of_training_images, memorisation_scores
from qhybrid.evaluation.synthetic import synthetic_training
from qhybrid.files import write_json
from qhybrid.pictures.grids import image_grid, labelled_rows, pixel_rows, titled_rows
from qhybrid.progress import progress
from qhybrid.rundir import RunDirectory
from qhybrid.seeds import evaluation_generator
from qhybrid.tracking.tracked import tracked

Images = NDArray[np.uint8]

_SHOWN = 10
_MOST_ROWS = 20
_LONGEST_NAME = 24


def evaluate(
    run: RunDirectory | str | Path,
    *,
    config: EvaluationConfig | None = None,
    checkpoint: Checkpoint | None = None,
    reliance: bool | None = None,
) -> dict[str, Any]:
    """Measure `samples/images.npz` against real images; write `evaluation.json` and the pictures in `evaluation/`.

    Args:
        run: The run directory; images must have been sampled.
        config: Settings; by default the `evaluation` section of the run's own configuration.
        checkpoint: The model that the images come from; by default the run's last one.
        reliance: Whether to measure how much the model relies on its core; by default if the settings say so and
            there is a checkpoint.

    Returns:
        What `evaluation.json` holds: `primary_metric`, `features`, `n_generated`, and under `metrics` for each metric
        `value`, `interval`, `confidence`, `interval_method`, numbers of images, `seed` and `floor`; under `kid` also
        `training_images`, see `kid_of_training_images`. A metric that needs
        more images than there are has `value` null and a `reason`. Under `reliance` see `measure_reliance`; null if it
        was not measured.

    Raises:
        RunDirectoryError: No samples in the run; or reliance was asked for and there is no checkpoint.
        EvaluationError: Fewer than 10 images, or images or labels that are not the data set's.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory.open(run)
    with run.locked():
        result = _evaluate(run, config, checkpoint, reliance)
        with tracked(run) as trackers:
            trackers.log(_numbers(result), _step(run, checkpoint))
            trackers.document(run.evaluation_file)
        return result


def _evaluate(
    run: RunDirectory, config: EvaluationConfig | None, checkpoint: Checkpoint | None, reliance: bool | None
) -> dict[str, Any]:
    run.check_inputs()
    settings = run.relocated(run.config())
    config = config or settings.evaluation or EvaluationConfig()
    if reliance is None:
        reliance = config.reliance is not None and (checkpoint is not None or latest_checkpoint(run) is not None)
    if reliance and checkpoint is None:
        checkpoint = load_checkpoint(run.path)
    start = time.monotonic()
    data = load_data(settings.data)
    run.check_input("data", data.input_file.path, data.input_file.sha256)
    samples = load_samples(run, data)
    generated = samples.images
    reference, trained_on = data.test, data.train
    if samples.labels is not None:
        reference = reference[asked_mix(samples.labels, data.test_labels, config.seed)]
        trained_on = trained_on[asked_mix(samples.labels, data.train_labels, config.seed)]
    whole = settings.data.classes is None and settings.data.n_train is None
    full = data if whole else load_data(settings.data.model_copy(update={"classes": None, "n_train": None}))
    extractor = feature_extractor(full, seed=config.seed, device=settings.training.device)
    wanted = settings.data.classes or list(range(len(data.class_names)))
    if samples.labels is not None and not data.multi_label:
        wanted = np.unique(samples.labels).tolist()
    with progress("metrics", 6) as advance:
        x, p_generated = extractor(generated)
        y, p_real = extractor(reference)
        metrics = distance_scores(x, y, config, advance)
        metrics["kid"]["training_images"] = kid_of_training_images(extractor(trained_on)[0], y, config)
        metrics |= class_scores(p_generated, p_real, data, wanted, config.seed)
        advance(note="classes")
        if samples.labels is not None:
            real = Judged(*extractor(data.test), data.test_labels)
            metrics |= class_metrics(Judged(x, p_generated, samples.labels), real, data, config)
        advance(note="classes asked for")
        metrics |= copy_scores(generated, x, y, data, config)
        metrics |= _memorisation(generated, data, config.seed, run)
        advance(note="memorisation")
    if samples.labels is not None:
        metrics["synthetic_training"] = synthetic_training(
            generated, samples.labels, data, config, device=settings.training.device
        )
    relied = None
    if reliance and checkpoint is not None:
        relied = measure_reliance(checkpoint, samples, data, y, extractor, config)
    _show(generated, samples.labels, reference, data, run)
    result = {
        "primary_metric": "kid",
        "dataset": data.name,
        "classes": [data.class_names[index] for index in wanted],
        "n_generated": len(generated),
        "n_train": len(data.train),
        "n_test": len(reference),
        "seed": config.seed,
        "features": dict(extractor.record),
        "metrics": metrics,
        "reliance": relied,
        "seconds": round(time.monotonic() - start, 2),
    }
    write_json(run.evaluation_file, result)
    return result


def _numbers(result: dict[str, Any]) -> dict[str, Any]:
    """What trackers plot of a result: the metrics that have a value, and what is lost without the core's outputs."""
    metrics = {name: entry["value"] for name, entry in result["metrics"].items() if entry["value"] is not None}
    outputs = (result["reliance"] or {}).get("outputs", {})
    lost = {
        state: {name: found["difference"][name]["value"] for name in ("kid", "loss")}
        for state, found in outputs.items()
        if "difference" in found
    }
    return {"evaluation": metrics, "reliance": lost}


def _step(run: RunDirectory, checkpoint: Checkpoint | None) -> int:
    """Training step of the model that the images come from; 0 where no checkpoint tells."""
    if checkpoint is not None:
        return checkpoint.step
    latest = latest_checkpoint(run)
    return 0 if latest is None else int(latest.name.removeprefix("step-"))


def summary_lines(result: dict[str, Any]) -> list[str]:
    """The result of `evaluate` for a terminal: one line per metric, with interval and floor."""
    features = result["features"]
    lines = [
        f"{result['n_generated']} generated against {result['n_test']} real test images of {result['dataset']}; "
        f"classifier {features['hash'][:8]}, test accuracy {features['accuracy']:.1%}"
    ]
    for name, entry in result["metrics"].items():
        if entry["value"] is None:
            lines.append(f"{TITLES[name]}: not measured ({entry['reason']})")
            continue
        line = f"{TITLES[name]}: {entry['value']:.4g}"
        if entry["interval"] is not None:
            line += " [{:.4g}, {:.4g}]".format(*entry["interval"])
        if entry["floor"] is not None:
            line += f", real images: {entry['floor']['value']:.4g}"
        if entry.get("training_images") is not None:
            line += f", its training images: {entry['training_images']['value']:.4g}"
        lines.append(line)
    relied = result.get("reliance")
    if relied is not None:
        lines.append(f"Reliance: {relied.get('statement') or 'not measured (' + relied['reason'] + ')'}")
    return lines


def _show(
    generated: Images, labels: NDArray[np.int64] | None, reference: Images, data: ImageData, run: RunDirectory
) -> None:
    """The pictures `generated.png` and `real.png`; of a conditional model, with a row per class asked for."""
    folder = run.path / "evaluation"
    if labels is None:
        image_grid(generated[:100], folder / "generated.png", columns=_SHOWN)
        image_grid(reference[_spread(len(reference), 100)], folder / "real.png", columns=_SHOWN)
        return
    asked = np.flatnonzero(labels.any(axis=0)) if data.multi_label else np.unique(labels)
    shown = asked[:_MOST_ROWS].tolist()
    for name, images, truth in (("generated", generated, labels), ("real", data.test, data.test_labels)):
        rows = [(data.class_names[k][:_LONGEST_NAME], images[members(truth, k)[:_SHOWN]]) for k in shown]
        rows = [(title, found) for title, found in rows if len(found)]
        if rows:
            titled_rows(rows, folder / f"{name}.png", _SHOWN)


def _memorisation(generated: Images, data: ImageData, seed: int, run: RunDirectory) -> dict[str, Any]:
    """Scores and the pictures `copies.png` and `nearest.png`; where too little is held out, the reason instead."""
    shown = generated[_spread(len(generated), _SHOWN)]
    copied = nearest_images(shown, data.train)[0]
    pixel_rows([shown, copied], run.path / "evaluation" / "copies.png")
    try:
        others = held_out(data, evaluation_generator(seed, "held_out"))
    except EvaluationError as error:
        missing = {"value": None, "interval": None, "reason": str(error), "seed": seed, "floor": None}
        return {"memorisation_share": missing, "memorisation_ratio": missing}
    rows = [
        ("generated", shown),
        ("nearest training image", copied),
        ("nearest held-out image", nearest_images(shown, others.reference)[0]),
    ]
    labelled_rows(rows, run.path / "evaluation" / "nearest.png")
    return memorisation_scores(generated, data, others, seed)


def _spread(count: int, shown: int) -> NDArray[np.int64]:
    """Up to `shown` indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, shown)).astype(np.int64))
