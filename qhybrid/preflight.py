"""What the stages after a training need, found out before the training, or a noise bank for it, costs anything."""

from __future__ import annotations

from collections.abc import Sequence

from qhybrid.checkpoints.stages import circuit_in
from qhybrid.config import RunConfig, SamplingConfig
from qhybrid.data import ImageData
from qhybrid.data.labels import LabelSpace
from qhybrid.diffusion.samplers import build_sampler
from qhybrid.diffusion.supply import Demand, check_regions, sampling_demands
from qhybrid.evaluation.samples import check_evaluable
from qhybrid.models.build import build_model
from qhybrid.registry import SAMPLERS


def check_stages(config: RunConfig, data: ImageData, trained: RunConfig | None = None) -> None:
    """Refuse a run of which a stage after the training cannot work.

    Args:
        config: Configuration of the run; of stages that it does not name nothing is asked.
        data: Data set of the run, as `load_data` gives it.
        trained: Configuration that the model is trained with, if it is another one.

    Raises:
        QHybridError: What cannot work and why: images that cannot be judged, classes that the data lack, a device that
            does not exist, a circuit that cannot be simulated as it is sampled, a noise bank too small for the images.
    """
    if config.sampling is not None:
        _check_sampling(config, config.sampling, data, circuit_in(trained or config, "training"))
    check_evaluable(config, data)


def _check_sampling(config: RunConfig, sampling: SamplingConfig, data: ImageData, trained: RunConfig) -> None:
    classes = None
    if config.model.condition == "class":
        labels = LabelSpace.of(data)
        labels.asked(sampling.classes, 1)
        classes = len(labels.names)
    staged = circuit_in(config, "sampling")
    # The training finds out about its own circuit.
    if staged.quantum != trained.quantum:
        build_model(staged, data.channels, classes=classes)
    # The libraries of the samplers take a second to import: they are spared where there is nothing to learn.
    if SAMPLERS.find(sampling.sampler.name).package != "qhybrid":
        build_sampler(config.diffusion, sampling.sampler, sampling.steps, sampling.eta)
    check_regions(config.diffusion.noise, later_demands(config, (data.channels, data.image_size, data.image_size)))


def later_demands(config: RunConfig, image_shape: Sequence[int]) -> list[Demand]:
    """What the sampling of a run draws from its noise source, after the training.

    Args:
        config: Configuration of the run.
        image_shape: Shape of one image, `(C, H, W)`.

    Raises:
        ConfigError: The sampler of another package cannot be built.
    """
    sampling, noise = config.sampling, config.diffusion.noise
    if sampling is None or noise.plain:
        return []
    stochastic = build_sampler(config.diffusion, sampling.sampler, sampling.steps, sampling.eta).stochastic
    return sampling_demands(noise, sampling, image_shape, stochastic)
