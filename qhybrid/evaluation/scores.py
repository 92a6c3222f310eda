"""The entries of `evaluation.json`: each metric with interval, numbers of images, seed and floor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import EvaluationConfig
from qhybrid.data import ImageData
from qhybrid.errors import EvaluationError
from qhybrid.evaluation.intervals import CONFIDENCE, bootstrap_interval, expectation_interval, subset_intervals
from qhybrid.evaluation.memorisation import HeldOut, NearestDistances, nearest_distances
from qhybrid.evaluation.metrics import frechet_distance, kernel_distance, neighbourhoods
from qhybrid.progress import Advance
from qhybrid.seeds import evaluation_generator

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]
Metric = Callable[[Floats, Floats], Sequence[float]]

_FLOOR_SPLITS = 10
_BOOTSTRAP_REPEATS = 1000
_DISTANCE_REPEATS = 200  # medians over draws x images cost more
_MAX_NEIGHBOURHOOD = 5000
_ANY, _POSITIVE, _SHARE = (-np.inf, np.inf), (0.0, np.inf), (0.0, 1.0)


def distance_scores(x: Floats, y: Floats, config: EvaluationConfig, advance: Advance) -> dict[str, Any]:
    """KID, FID, precision, recall, density and coverage with intervals and floors.

    Args:
        x: Features of the generated images, `(N, D)`.
        y: Features of the real images, `(M, D)`.
        config: Subsets, neighbours and seed.
        advance: Function that is called when a group of metrics is done.
    """
    rng = evaluation_generator(config.seed, "distances")
    smaller = min(len(x), len(y))
    equal = min(smaller, _MAX_NEIGHBOURHOOD)
    near_x, near_y = x[rng.permutation(len(x))[:equal]], y[rng.permutation(len(y))[:equal]]
    metrics = {"kid": kid_score(x, y, config, rng)}
    advance(note="kid")
    metrics |= _judge({"fid": _POSITIVE}, lambda a, b: (frechet_distance(a, b),), x, y, 0.5, config, rng)
    advance(note="fid")
    metrics |= _judge(
        {"precision": _SHARE, "recall": _SHARE, "density": _POSITIVE, "coverage": _SHARE},
        lambda a, b: neighbourhoods(a, b, config.neighbours),
        near_x,
        near_y,
        0.5,
        config,
        rng,
    )
    advance(note="neighbourhoods")
    return metrics


def kid_score(x: Floats, y: Floats, config: EvaluationConfig, rng: np.random.Generator) -> dict[str, Any]:
    """The entry of the kernel distance (KID) alone, with interval and floor.

    Args:
        x: Features of the generated images, `(N, D)`.
        y: Features of the real images, `(M, D)`.
        config: Subsets, neighbours and seed.
        rng: Draws the subsets.
    """
    fraction = min(config.kid_subset_size / min(len(x), len(y)), 0.5)
    return _judge({"kid": _ANY}, lambda a, b: (kernel_distance(a, b),), x, y, fraction, config, rng)["kid"]


def kid_of_training_images(trained_on: Floats, y: Floats, config: EvaluationConfig) -> dict[str, Any] | None:
    """KID of the real images that a model was trained on, in place of the generated ones.

    A model can at best draw from the law of its training images, and a copy machine does no better than they. Where the
    two parts of a data set follow different laws (PneumoniaMNIST) this lies far above the floor of test images alone.

    Args:
        trained_on: Features of the training images, in the mixture of classes that was asked for, `(N, D)`.
        y: Features of the real test images, `(M, D)`.
        config: Subsets, neighbours and seed.

    Returns:
        `value`, `interval` and `n`; None if there are too few images.
    """
    entry = kid_score(trained_on, y, config, evaluation_generator(config.seed, "distances"))
    if entry["value"] is None:
        return None
    return {"value": entry["value"], "interval": entry["interval"], "n": len(trained_on)}


def _judge(
    names: Mapping[str, tuple[float, float]],
    metric: Metric,
    x: Floats,
    y: Floats,
    fraction: float,
    config: EvaluationConfig,
    rng: np.random.Generator,
) -> dict[str, dict[str, Any]]:
    """The entries of metrics that are measured together, by name; `names` gives the bounds of each."""
    counts = (len(x), len(y))
    common: dict[str, Any] = {"n_generated": counts[0], "n_real": counts[1], "seed": config.seed}
    try:
        values = metric(x, y)
    except EvaluationError as error:
        missing = {"value": None, "interval": None, "reason": str(error), **common, "floor": None}
        return {name: dict(missing) for name in names}
    intervals: Sequence[tuple[float, float] | None]
    try:
        intervals = subset_intervals(
            lambda i, j: metric(x[i], y[j]),
            values,
            counts,
            fraction=fraction,
            subsets=config.kid_subsets,
            rng=rng,
            bounds=tuple(names.values()),
        )
    except EvaluationError:
        intervals = [None] * len(names)
    size = max(2, round(fraction * min(counts)))
    floors = _floors(metric, x, y, rng) or [None] * len(names)
    return {
        name: {
            "value": value,
            "interval": None if interval is None else list(interval),
            "confidence": CONFIDENCE,
            "interval_method": f"spread over {config.kid_subsets} subsets ({size} images of the smaller set), rescaled",
            **common,
            "floor": floor,
        }
        for name, value, interval, floor in zip(names, values, intervals, floors, strict=True)
    }


def _floors(metric: Metric, x: Floats, y: Floats, rng: np.random.Generator) -> list[dict[str, Any] | None] | None:
    """Real against real: disjoint halves of the reference; and the generated images at that same n."""
    size = min(len(y) // 2, len(x))
    real, generated = [], []
    for _ in range(_FLOOR_SPLITS):
        order = rng.permutation(len(y))
        first, second = y[order[:size]], y[order[size : 2 * size]]
        try:
            real.append(metric(first, second))
            generated.append(metric(x[rng.permutation(len(x))[:size]], second))
        except EvaluationError:
            return None
    return [
        {
            "value": float(np.mean(reached)),
            "range": [min(reached), max(reached)],
            "generated_at_same_n": float(np.mean(own)),
            "n_per_side": size,
            "method": f"disjoint halves of the real test images, mean and range of {_FLOOR_SPLITS} splits",
        }
        for reached, own in zip(zip(*real, strict=True), zip(*generated, strict=True), strict=True)
    ]


def class_scores(p_generated: Floats, p_real: Floats, data: ImageData, wanted: list[int], seed: int) -> dict[str, Any]:
    """How sure the classifier is, and which classes it sees.

    Args:
        p_generated: The classifier's probabilities for the generated images, `(N, K)`.
        p_real: The classifier's probabilities for the real images, `(M, K)`.
        data: The data set, for the names and number of classes.
        wanted: Numbers of the classes that were asked for.
        seed: Seed of the bootstrap.
    """
    rng = evaluation_generator(seed, "classes")
    # Independent labels are each present or absent, so being sure of absence counts as well.
    sure_g, sure_r = (
        np.maximum(p, 1 - p).mean(axis=1) if data.multi_label else p.max(axis=1) for p in (p_generated, p_real)
    )
    hit_g, hit_r = (
        (p > 0.5).astype(float) if data.multi_label else np.eye(p.shape[1])[p.argmax(axis=1)]
        for p in (p_generated, p_real)
    )

    def variation(indices: NDArray[np.int64] | slice = slice(None)) -> float:
        return float(np.abs(_law(hit_g[indices]) - _law(hit_r)).sum() / 2)

    common = {
        "confidence": CONFIDENCE,
        "interval_method": f"bootstrap over generated images, {_BOOTSTRAP_REPEATS} repeats",
        "n_generated": len(sure_g),
        "n_real": len(sure_r),
        "seed": seed,
    }

    def interval(statistic: Callable[[NDArray[np.int64]], float]) -> list[float]:
        return list(bootstrap_interval(statistic, len(sure_g), repeats=_BOOTSTRAP_REPEATS, rng=rng))

    # What a perfect sampler of this many images would show: the real histogram, drawn again and again.
    again = [
        float(np.abs(_law(hit_r[rng.integers(0, len(hit_r), len(hit_g))]) - _law(hit_r)).sum() / 2)
        for _ in range(_BOOTSTRAP_REPEATS)
    ]
    return {
        "mean_top_probability": {
            "value": float(sure_g.mean()),
            "interval": interval(lambda indices: float(sure_g[indices].mean())),
            **common,
            "floor": {"value": float(sure_r.mean()), "n_real": len(sure_r), "method": "the real test images"},
        },
        "class_histogram": {
            "value": variation(),
            "interval": list(
                expectation_interval(
                    variation, variation(), len(hit_g), repeats=_BOOTSTRAP_REPEATS, rng=rng, bounds=(0.0, 1.0)
                )
            ),
            **common,
            "interval_method": f"bootstrap of the expectation at this n, {_BOOTSTRAP_REPEATS} repeats",
            "generated": dict(zip(data.class_names, hit_g.sum(axis=0).astype(int).tolist(), strict=True)),
            "real": dict(zip(data.class_names, hit_r.sum(axis=0).astype(int).tolist(), strict=True)),
            "classes_present": int((hit_g[:, wanted].sum(axis=0) > 0).sum()),
            "classes_wanted": len(wanted),
            "floor": {
                "value": float(np.mean(again)),
                "range": [float(value) for value in np.quantile(again, [0.025, 0.975])],
                "method": f"{len(hit_g)} draws from the real histogram",
            },
        },
    }


def _law(hits: Floats) -> Floats:
    total = hits.sum()
    return np.asarray(hits.sum(axis=0) / total if total else hits.sum(axis=0))


def memorisation_scores(generated: Images, data: ImageData, others: HeldOut, seed: int) -> dict[str, Any]:
    """Nearest training against nearest held-out image: share and distance ratio, with held-out queries as floor.

    Args:
        generated: Generated images, uint8 `(N, H, W, C)`.
        data: The data set, whose training images are the ones that may have been memorised.
        others: Held-out images of the same law.
        seed: Seed of the draws and of the bootstrap.
    """
    rng = evaluation_generator(seed, "memorisation")
    found = nearest_distances(generated, data.train, others.reference, rng)
    calibration = nearest_distances(others.queries, data.train, others.reference, rng)

    def entry(statistic: Callable[[NearestDistances, Any], float]) -> dict[str, Any]:
        def interval(distances: NearestDistances) -> list[float]:
            count = len(distances.held_out)
            return list(
                bootstrap_interval(lambda i: statistic(distances, i), count, repeats=_DISTANCE_REPEATS, rng=rng)
            )

        return {
            "value": statistic(found, slice(None)),
            "interval": interval(found),
            "confidence": CONFIDENCE,
            "interval_method": f"bootstrap over images, {_DISTANCE_REPEATS} repeats",
            "n_generated": len(generated),
            "n_real": len(others.reference),
            "n_train": len(data.train),
            "seed": seed,
            "floor": {
                "value": statistic(calibration, slice(None)),
                "interval": interval(calibration),
                "n_real": len(others.queries),
                "method": "other held-out real images in place of generated ones",
            },
        }

    return {
        "memorisation_share": entry(NearestDistances.share),
        "memorisation_ratio": entry(NearestDistances.ratio),
    }
