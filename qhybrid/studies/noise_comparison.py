"""One checkpoint, its circuit exact, with shots and under a device's noise: does noise-aware training pay?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.checkpoints.checkpoint import load_checkpoint
from qhybrid.checkpoints.stages import exact, with_circuit
from qhybrid.config import DeviceNoiseConfig, EvaluationConfig, QuantumConfig, SamplingConfig
from qhybrid.data import load_data
from qhybrid.diffusion.errors import NoiseError
from qhybrid.evaluation.features import feature_extractor
from qhybrid.evaluation.scores import kid_score
from qhybrid.files import atomic_path, write_json
from qhybrid.progress import progress
from qhybrid.quantum.devices.snapshots import snapshot
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import asked_labels, generate, reserve_noise
from qhybrid.seeds import evaluation_generator


def compare_circuits(run: RunDirectory, device: str, shots: int, images: int | None = None) -> dict[str, Any]:
    """Sample the same seeds in three ways; write `noise/images.npz` and `noise/comparison.json`.

    Args:
        run: A trained run with a circuit.
        device: Snapshot whose noise the circuit gets; noiseless shots for `shots`.
        shots: Number of shots per expectation value.
        images: Number of images; by default as the run's `sampling` section says.

    Returns:
        KID against the test images with its interval, and the mean absolute difference of the pixels (0 to 255) from
        the exact images, for each way; `floor` is the KID of real images.

    Raises:
        NoiseError: The run has no circuit of its own kind, or its noise bank is too small or used up.
        CircuitError: There is no such device.
    """
    snapshot(device)
    with run.locked():
        return _compare(run, device, shots, images)


def _compare(run: RunDirectory, device: str, shots: int, images: int | None) -> dict[str, Any]:
    checkpoint = load_checkpoint(run.path)
    core = checkpoint.config.model.bottleneck.core.name
    if checkpoint.spec is None or core == "published":
        raise NoiseError(f"`{run.path}` has a `{core}` core in its bottleneck: there is no circuit to make noisy")
    clean = exact(checkpoint.config.quantum)
    noise = DeviceNoiseConfig(device=device)
    ways: dict[str, QuantumConfig] = {
        "exact": clean,
        "shots": clean.model_copy(update={"shots": shots}),
        "device": clean.model_copy(update={"noise": noise}),
        "device_and_shots": clean.model_copy(update={"noise": noise, "shots": shots}),
    }
    settings = checkpoint.config
    sampling = settings.sampling or SamplingConfig()
    sampling = sampling.model_copy(update={"images": images or sampling.images})
    seeds = list(range(sampling.seed, sampling.seed + sampling.images))
    # Every way draws the same noise for the same image, so it counts once.
    reserve_noise(checkpoint, sampling)
    pictures: dict[str, NDArray[np.uint8]] = {}
    with progress("sampling", len(ways) * len(seeds)) as advance:
        for name, quantum in ways.items():
            pictures[name] = generate(with_circuit(checkpoint, quantum), sampling, seeds, advance)
    config = settings.evaluation or EvaluationConfig()
    full = load_data(settings.data.model_copy(update={"classes": None, "n_train": None}))
    extractor = feature_extractor(full, seed=config.seed, device=settings.training.device)
    real, _ = extractor(load_data(settings.data).test)
    result: dict[str, Any] = {"device": device, "shots": shots, "images": len(seeds), "ways": {}}
    reference = pictures["exact"].astype(np.float64)
    for name, drawn in pictures.items():
        features, _ = extractor(drawn)
        kid = kid_score(features, real, config, evaluation_generator(config.seed, "distances"))
        result["floor"] = None if kid["floor"] is None else kid["floor"]["value"]
        result["ways"][name] = {
            "kid": kid["value"],
            "interval": kid["interval"],
            "pixel_difference": float(np.abs(drawn - reference).mean()),
        }
    folder = run.path / "noise"
    with atomic_path(folder / "images.npz") as temporary:
        arrays: dict[str, Any] = {"seeds": np.array(seeds), **pictures}
        labels = asked_labels(checkpoint, sampling, len(seeds))
        if labels is not None:
            arrays["labels"] = labels
        np.savez_compressed(temporary, **arrays)
    write_json(folder / "comparison.json", result)
    return result
