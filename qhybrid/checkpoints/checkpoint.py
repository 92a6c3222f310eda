"""Checkpoints: `checkpoints/step-N/` with weights, averaged weights, optimizer state, circuit and configuration.

Weights are safetensors, the training state is read with `torch.load(weights_only=True)`, the circuit is QPY: nothing
here is unpickled. A checkpoint is written to a temporary name and renamed, so one that exists is complete.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from qhybrid.circuit_copies import with_copies
from qhybrid.config import RunConfig, build_config, changed_keys
from qhybrid.data.labels import LabelSpace
from qhybrid.errors import ConfigError, RunDirectoryError
from qhybrid.files import UNPACKING_ERRORS, atomic_path, read_json, write_json
from qhybrid.models.build import build_model
from qhybrid.models.unet import UNet
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.rundir import RunDirectory

_WEIGHTS, _EMA, _STATE, _CIRCUIT, _META = (
    "model.safetensors",
    "ema.safetensors",
    "training_state.pt",
    "circuit.qpy",
    "meta.json",
)
# Sections that decide which network the weights belong to.
_ARCHITECTURE = ("data", "model", "quantum", "diffusion")


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and what is needed to use it.

    Attributes:
        path: The `step-N` directory.
        config: The configuration it was trained with.
        model: Network in evaluation mode, on the CPU.
        step: Number of optimizer steps taken.
        spec: The circuit in the bottleneck; `None` for a classical arm.
        image_channels: Number of channels of an image, 1 or 3.
        image_size: Height and width in pixels.
        labels: Labels that the model can be asked for; `None` for an unconditional model.
    """

    path: Path
    config: RunConfig
    model: UNet
    step: int
    spec: CircuitSpec | None
    image_channels: int
    image_size: int
    labels: LabelSpace | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)`."""
        return self.image_channels, self.image_size, self.image_size


def save_checkpoint(
    run: RunDirectory,
    config: RunConfig,
    step: int,
    model: UNet,
    ema_model: UNet,
    state: Mapping[str, Any],
    image_shape: tuple[int, int, int],
    labels: LabelSpace | None = None,
) -> Path:
    """Write `step-N`, then drop the oldest beyond `training.keep_checkpoints`.

    Args:
        run: Run directory that the checkpoint is written into.
        config: Configuration of the training.
        step: Number of optimizer steps taken.
        model: Network as it is trained.
        ema_model: Network with averaged weights.
        state: Data that training needs to go on: tensors, numbers, texts and mappings of them.
        image_shape: Shape of one image, `(C, H, W)`.
        labels: Labels that a conditional model can be asked for.

    Returns:
        The folder of the checkpoint.
    """
    target = run.checkpoints / f"step-{step}"
    with atomic_path(target) as folder:
        folder.mkdir()
        # By way of memory: what the libraries' own writers raise on a full disk does not say so.
        (folder / _WEIGHTS).write_bytes(save(weights_of(model)))
        (folder / _EMA).write_bytes(save(weights_of(ema_model)))
        (folder / _STATE).write_bytes(_serialized(state))
        spec = getattr(model.bottleneck.core, "spec", None)
        if spec is not None:
            spec.save(folder / _CIRCUIT)
        write_json(folder / _META, description(config, step, image_shape, labels))
    for old in _steps(run)[: -config.training.keep_checkpoints]:
        shutil.rmtree(run.checkpoints / f"step-{old}")
    return target


def description(
    config: RunConfig, step: int, image_shape: tuple[int, int, int], labels: LabelSpace | None
) -> dict[str, Any]:
    """What stands beside weights as JSON, so that their network can be built; `read_description` reads it.

    Args:
        config: Configuration of the training.
        step: Number of optimizer steps taken.
        image_shape: Shape of one image, `(C, H, W)`.
        labels: Labels that a conditional model can be asked for.
    """
    return {
        "step": step,
        "images_seen": step * config.training.batch_size,
        "image_shape": list(image_shape),
        "config": config.model_dump(),
        "labels": None if labels is None else labels.to_json(),
    }


def latest_checkpoint(run: RunDirectory) -> Path | None:
    """The checkpoint with the most steps, or `None`."""
    steps = _steps(run)
    return run.checkpoints / f"step-{steps[-1]}" if steps else None


def load_checkpoint(path: str | Path, *, ema: bool = True) -> Checkpoint:
    """Load the last checkpoint of a run directory, or one `step-N` directory.

    Args:
        path: Run directory or checkpoint.
        ema: Averaged weights (what samples are drawn with) or the raw ones.

    Raises:
        RunDirectoryError: There is none, it is damaged, it belongs to another architecture than the run, or data set
            or noise bank of the run have changed.
    """
    folder, run = _locate(Path(path))
    config, meta, labels = read_description(folder / _META)
    if run is not None:
        check_same_architecture(folder, config, run.config())
        run.check_inputs()
        # A classical core takes its sizes from the circuit as well.
        config = run.relocated(with_copies(Path(path), config))
    return built(folder / (_EMA if ema else _WEIGHTS), config, meta, labels)


def built(file: Path, config: RunConfig, meta: Mapping[str, Any], labels: LabelSpace | None) -> Checkpoint:
    """The network of a description with weights from a file; the circuit is read from `circuit.qpy` beside it.

    Args:
        file: Safetensors file with the weights.
        config: Configuration of the network, as `read_description` gives it or with files at other places.
        meta: Content of the description.
        labels: Labels that the model can be asked for; `None` for an unconditional model.

    Raises:
        RunDirectoryError: A file is damaged, or its tensors are not the model's.
    """
    folder = file.parent
    spec = CircuitSpec.load(folder / _CIRCUIT) if (folder / _CIRCUIT).exists() else None
    channels, size, _ = meta["image_shape"]
    model = build_model(config, channels, spec, classes=None if labels is None else len(labels.names))
    _copy_weights(model, file)
    return Checkpoint(folder, config, model.eval(), meta["step"], spec, channels, size, labels)


def load_weights(model: UNet, folder: Path, *, ema: bool) -> None:
    """Copy a checkpoint's weights into a model.

    Args:
        model: Changed in place.
        folder: The checkpoint's folder.
        ema: Whether the averaged weights are taken, those that are sampled from.

    Raises:
        RunDirectoryError: The file is damaged, or its tensors are not the model's.
    """
    _copy_weights(model, folder / (_EMA if ema else _WEIGHTS))


def _copy_weights(model: UNet, file: Path) -> None:
    try:
        stored = {_present_name(name): tensor for name, tensor in load_file(file).items()}
    # A header that names what there is not makes the library raise more than its own error.
    except (OSError, SafetensorError, *UNPACKING_ERRORS) as error:
        raise RunDirectoryError(f"`{file}` cannot be read: {' '.join(str(error).split())}") from None
    wanted = weights_of(model)
    for name in sorted(stored.keys() | wanted.keys()):
        there = _described(stored.get(name))
        here = _described(wanted.get(name))
        if there != here:
            raise RunDirectoryError(f"`{file}` is of another architecture: `{name}` is {there} there, {here} here")
    model.load_state_dict(stored)


def load_training_state(folder: Path) -> dict[str, Any]:
    """Optimizer state and counters of a checkpoint, as given to `save_checkpoint`.

    Raises:
        RunDirectoryError: The file is missing or damaged.
    """
    file = folder / _STATE
    try:
        state = torch.load(file, weights_only=True, map_location="cpu")
    # The reader of a restricted pickle raises whatever a damaged one makes it trip over.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunDirectoryError(f"`{file}` cannot be read: {reason}: remove the checkpoint `{folder}`") from None
    if not isinstance(state, dict):
        raise RunDirectoryError(f"`{file}` holds no training state: remove the checkpoint `{folder}`")
    return state


def check_same_architecture(folder: Path, stored: RunConfig, wanted: RunConfig) -> None:
    """Refuse a checkpoint whose network or data differ from the run's.

    Args:
        folder: The checkpoint, for the message.
        stored: Configuration of the checkpoint.
        wanted: Configuration of the run.

    Raises:
        RunDirectoryError: Names each key that differs.
    """
    there = stored.model_dump(include=set(_ARCHITECTURE))
    here = wanted.model_dump(include=set(_ARCHITECTURE))
    changed = changed_keys(there, here)
    if changed:
        raise RunDirectoryError(f"checkpoint `{folder}` is of another architecture than its run: {', '.join(changed)}")


def _locate(path: Path) -> tuple[Path, RunDirectory | None]:
    if (path / _META).is_file() and (path / _WEIGHTS).is_file():
        return path, None
    run = RunDirectory.open(path)
    folder = latest_checkpoint(run)
    if folder is None:
        raise RunDirectoryError(f"`{path}` has no checkpoint: train it first")
    return folder, run


def _present_name(tensor: str) -> str:
    """The present name of a stored tensor: the circuit's weights were the bottleneck's before it had a core."""
    return tensor.replace("bottleneck.layer.", "bottleneck.core.layer.")


def read_description(file: Path) -> tuple[RunConfig, dict[str, Any], LabelSpace | None]:
    """Configuration, whole content and labels of what `description` has written.

    Args:
        file: JSON file that holds it.

    Raises:
        RunDirectoryError: It is missing, damaged, or of a version that this one does not know.
    """
    folder = file.parent
    meta = read_json(file)
    try:
        config = build_config(meta["config"])
        channels, height, width = meta["image_shape"]
        content = meta.get("labels")
        labels = None if content is None else LabelSpace.from_json(content)
        complete = all(type(value) is int for value in (channels, height, width, meta["step"])) and meta["step"] >= 0
        complete = complete and channels in (1, 3) and height == width and height > 0 and height % 4 == 0
    except (ConfigError, AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunDirectoryError(f"checkpoint `{folder}` does not fit this version: {reason}") from None
    if not complete or (labels is None) != (config.model.condition == "none"):
        raise RunDirectoryError(f"checkpoint `{folder}` does not fit this version: `{file.name}` is damaged")
    return config, meta, labels


def _described(tensor: Tensor | None) -> str:
    """Shape of a tensor, and its type where that is not the usual one."""
    if tensor is None:
        return "absent"
    return f"{tuple(tensor.shape)}" + ("" if tensor.dtype == torch.float32 else f" {tensor.dtype}")


def _serialized(state: Mapping[str, Any]) -> bytes:
    content = io.BytesIO()
    torch.save(dict(state), content)
    return content.getvalue()


def weights_of(model: UNet) -> dict[str, Tensor]:
    """Tensors of a model by name, on the CPU, as safetensors store them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def _steps(run: RunDirectory) -> list[int]:
    names = [path.name for path in run.checkpoints.glob("step-*")]
    return sorted(int(name[5:]) for name in names if name[5:].isascii() and name[5:].isdigit())
