"""How much a model relies on the core in its bottleneck: what is lost when the core's outputs are taken away.

The outputs are replaced by zeros, by their mean, by those of other images, and shrunk as a device shrinks them. Loss on
test images (with the same noise for all), KID and class accuracy of images from the same seeds stand beside those of
the untouched model, and their differences, paired image by image, carry the intervals. A network that does as well
with zeros ignores its core, and nothing that is done to the core can show in its images.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.checkpoints.stages import circuit_in, with_circuit
from qhybrid.config import EvaluationConfig, RelianceConfig, SamplingConfig
from qhybrid.data import ImageData, to_tensor
from qhybrid.diffusion.process import ForwardProcess
from qhybrid.evaluation.conditional import hits
from qhybrid.evaluation.features import FeatureExtractor
from qhybrid.evaluation.intervals import CONFIDENCE, bootstrap_interval, subset_interval, wilson_interval
from qhybrid.evaluation.metrics import kernel_distance
from qhybrid.evaluation.reliance_statement import reliance_statement
from qhybrid.evaluation.replacements import Recorder, Shuffle, device_factors
from qhybrid.evaluation.samples import Samples
from qhybrid.models.interventions import Intervention, intervened
from qhybrid.progress import progress
from qhybrid.sampling.generate import generate
from qhybrid.seeds import generator

Floats = NDArray[np.float64]

_REPEATS = 1000
_BATCH = 250
_SMALLEST_BATCH = 32  # outputs are shuffled within a batch


@dataclass(frozen=True)
class _Measured:
    """What was measured of one state of the model.

    Attributes:
        losses: Of each test image in each time bin, (N, bins).
        images: Generated from the same seeds, uint8.
        features: Of them, (M, D).
        right: 1 where the classifier sees the class asked for, (M,); None without one class per image.
    """

    losses: Floats
    images: NDArray[np.uint8]
    features: Floats
    right: Floats | None


def measure_reliance(
    checkpoint: Checkpoint,
    samples: Samples,
    data: ImageData,
    real: Floats,
    extractor: FeatureExtractor,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """Measure with the core untouched and with its outputs replaced.

    Args:
        checkpoint: The trained model; its circuit acts as in sampling, with shots or device noise where that is so.
        samples: Images are generated again from some of their seeds and labels.
        data: Test images for the loss.
        real: Features of the real images for KID, (M, D).
        extractor: The evaluation's classifier.
        config: Seed, subsets of KID, and the section `reliance`.

    Returns:
        What stands under `reliance` in `evaluation.json`: `statement` and `depends`, numbers of images, `untouched`,
        and under `outputs` for `zeroed`, `mean`, `shuffled` and `shrunk` the same measures, their `difference` to the
        untouched model and the mean change of a pixel; or a `reason` why there is nothing to measure.

    Raises:
        CircuitError: There is no device of the name in `config.reliance.device`.
    """
    settings = config.reliance or RelianceConfig()
    bottleneck = checkpoint.config.model.bottleneck
    if bottleneck.core.name == "none":
        return {"reason": "the bottleneck has no core (`core: none`): there is nothing to rely on", "depends": None}
    staged = circuit_in(checkpoint.config, "sampling")
    if staged is not checkpoint.config:
        checkpoint = with_circuit(checkpoint, staged.quantum)
    factors, device = device_factors(checkpoint, settings.device)
    if staged.training.device != "cpu" and torch.cuda.is_available():
        checkpoint.model.cuda()
    rng = generator(config.seed, "evaluation: reliance")
    bench = _Bench(checkpoint, samples, data, extractor, settings, rng)
    judge = _Judge(real, config, rng)
    recorder = Recorder()
    positions = (checkpoint.image_size // 4) ** 2 if bottleneck.place == "features" else 1
    replaced: dict[str, Intervention] = {
        "zeroed": torch.zeros_like,
        "mean": recorder.mean,
        "shuffled": Shuffle(positions, config.seed),
    }
    if factors is not None:
        replaced["shrunk"] = lambda outputs: outputs * factors.to(outputs)
    outputs: dict[str, Any] = {}
    with progress("reliance", 1 + len(replaced)) as advance:
        untouched = bench.measure(recorder)
        advance(note="untouched")
        for name, replacement in replaced.items():
            outputs[name] = judge.compared(bench.measure(replacement), untouched)
            advance(note=name)
    outputs["shrunk"] = {**outputs.get("shrunk", {}), **device}
    result = {
        "core": bottleneck.core.name,
        "circuit": getattr(checkpoint.model.bottleneck.core, "spec", None) is not None,
        "place": bottleneck.place,
        "n_generated": len(untouched.images),
        "n_test": len(untouched.losses),
        "n_real": len(real),
        "seed": config.seed,
        "confidence": CONFIDENCE,
        "interval_method": "KID: spread over subsets, rescaled; class accuracy: Wilson; others: bootstrap over images; "
        "differences are paired image by image",
        "untouched": judge.measures(untouched),
        "outputs": outputs,
    }
    return {**reliance_statement(result), **result}


class _Bench:
    """Test images, noise, seeds and labels, the same for every state of the model."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        samples: Samples,
        data: ImageData,
        extractor: FeatureExtractor,
        settings: RelianceConfig,
        rng: np.random.Generator,
    ) -> None:
        self._checkpoint, self._extractor = checkpoint, extractor
        self._process = ForwardProcess(checkpoint.config.diffusion)
        chosen = np.sort(rng.permutation(len(samples.images))[: settings.images])
        self._seeds = samples.seeds[chosen].tolist()
        self._labels = None if samples.labels is None or checkpoint.labels is None else samples.labels[chosen]
        self._sampling = _even_batches(checkpoint.config.sampling or SamplingConfig(), len(chosen))
        tested = rng.permutation(len(data.test))[: settings.test_images]
        self._test = to_tensor(data.test[tested])
        self._test_labels = None if checkpoint.labels is None else torch.from_numpy(data.test_labels[tested])
        edges = np.linspace(0, self._process.timesteps, settings.time_bins + 1).round().astype(np.int64)
        self._times = [torch.from_numpy(rng.integers(low, high, len(tested))) for low, high in pairwise(edges)]
        self._noise = [torch.from_numpy(rng.standard_normal(self._test.shape, dtype=np.float32)) for _ in self._times]

    def measure(self, intervention: Intervention) -> _Measured:
        """Loss and images with the core's outputs replaced."""
        with intervened(self._checkpoint.model, intervention):
            losses = self._losses()
            images = generate(self._checkpoint, self._sampling, self._seeds, labels=self._labels)
        features, probabilities = self._extractor(images[..., None] if images.ndim == 3 else images)
        labels = self._labels
        right = None if labels is None or labels.ndim == 2 else hits(probabilities, labels).astype(float)
        return _Measured(losses, images, features, right)

    @torch.no_grad()
    def _losses(self) -> Floats:
        """Mean squared error of each test image in each time bin, (N, bins)."""
        model = self._checkpoint.model
        device = next(model.parameters()).device
        columns = []
        for times, noise in zip(self._times, self._noise, strict=True):
            parts = []
            for rows in np.array_split(np.arange(len(times)), -(-len(times) // _BATCH)):
                images, epsilon, t = self._test[rows].to(device), noise[rows].to(device), times[rows].to(device)
                labels = None if self._test_labels is None else self._test_labels[rows].to(device)
                found = model(self._process.diffuse(images, epsilon, t), t, labels)
                error = found.float() - self._process.target(images, epsilon, t)
                parts.append(error.square().mean(dim=(1, 2, 3)).double().cpu().numpy())
            columns.append(np.concatenate(parts))
        return np.stack(columns, axis=1)


class _Judge:
    """Numbers with intervals from what was measured."""

    def __init__(self, real: Floats, config: EvaluationConfig, rng: np.random.Generator) -> None:
        self._real, self._config, self._rng = real, config, rng

    def measures(self, found: _Measured) -> dict[str, Any]:
        """Loss, KID and class accuracy of one state of the model."""
        entry = self._losses(found.losses) | {"kid": self._kid(found.features)}
        if found.right is not None:
            share = float(found.right.mean())
            interval = list(wilson_interval(share, len(found.right)))
            entry["class_accuracy"] = {"value": share, "interval": interval, "n": len(found.right)}
        return entry

    def compared(self, found: _Measured, untouched: _Measured) -> dict[str, Any]:
        """The measures of a changed model, and the difference of each to the untouched model's."""
        difference = self._losses(found.losses - untouched.losses)
        difference["kid"] = self._kid(found.features, untouched.features)
        if found.right is not None and untouched.right is not None:
            difference["class_accuracy"] = self._mean(found.right - untouched.right)
        moved = np.abs(found.images.astype(float) - untouched.images).reshape(len(found.images), -1).mean(axis=1)
        return {**self.measures(found), "difference": difference, "pixel_difference": self._mean(moved)}

    def _losses(self, losses: Floats) -> dict[str, Any]:
        by_time = [self._mean(losses[:, place]) for place in range(losses.shape[1])]
        return {"loss": self._mean(losses.mean(axis=1)), "loss_by_time": by_time}

    def _mean(self, values: Floats) -> dict[str, Any]:
        interval = bootstrap_interval(lambda i: float(values[i].mean()), len(values), repeats=_REPEATS, rng=self._rng)
        return {"value": float(values.mean()), "interval": list(interval), "n": len(values)}

    def _kid(self, x: Floats, untouched: Floats | None = None) -> dict[str, Any]:
        """KID against the real images; or how much it is above that of the untouched model's images."""
        y, config = self._real, self._config

        def statistic(i: NDArray[np.int64] | slice, j: NDArray[np.int64] | slice) -> float:
            value = kernel_distance(x[i], y[j])
            return value if untouched is None else value - kernel_distance(untouched[i], y[j])

        value = statistic(slice(None), slice(None))
        fraction = min(config.kid_subset_size / min(len(x), len(y)), 0.5)
        interval = subset_interval(
            statistic, value, (len(x), len(y)), fraction=fraction, subsets=config.kid_subsets, rng=self._rng
        )
        return {"value": value, "interval": list(interval), "n": len(x), "n_real": len(y)}


def _even_batches(config: SamplingConfig, count: int) -> SamplingConfig:
    """Batches of about one size, and large enough to shuffle in; an image does not depend on its batch otherwise."""
    batches = -(-count // max(config.batch_size, _SMALLEST_BATCH))
    return config.model_copy(update={"batch_size": -(-count // batches)})
