"""What is put in the place of a core's outputs to see how much a model relies on them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.errors import CircuitError

DEFAULT_DEVICE = "fake_torino"


class Recorder:
    """Lets outputs `(rows, n_out)` pass and remembers their mean."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    def __call__(self, outputs: Tensor) -> Tensor:
        """The outputs as they are."""
        total = outputs.detach().double().sum(dim=0).cpu()
        self._sum = total if self._sum is None else self._sum + total
        self._count += len(outputs)
        return outputs

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of all outputs that have passed, once for every row; `(rows, n_out) -> (rows, n_out)`."""
        assert self._sum is not None
        return (self._sum / self._count).to(outputs).expand_as(outputs)


class Shuffle:
    """Outputs of a randomly drawn image of the same batch, drawn anew at each call.

    Args:
        rows_per_image: Consecutive rows that belong to one image and stay together.
        seed: Seed of the draws.
    """

    def __init__(self, rows_per_image: int, seed: int) -> None:
        self._rows = rows_per_image
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, outputs: Tensor) -> Tensor:
        """`(rows, n_out) -> (rows, n_out)`."""
        images = outputs.view(-1, self._rows, outputs.shape[1])
        order = torch.randperm(len(images), generator=self._generator).to(outputs.device)
        return images[order].reshape(outputs.shape)


def device_factors(checkpoint: Checkpoint, device: str | None) -> tuple[Tensor | None, dict[str, Any]]:
    """By which factor a device shrinks each output of the circuit, readout error included.

    Args:
        checkpoint: The model as it is sampled.
        device: A snapshot or calibration file; by default that of the run's hardware stage, or `fake_torino`.

    Returns:
        Factors `(n_out,)`, or `None`; and what the record says of them: `device` and `factors`, or a `reason`.

    Raises:
        CircuitError: There is no device of the name given.
    """
    spec = getattr(checkpoint.model.bottleneck.core, "spec", None)
    name = device or _hardware_device(checkpoint) or DEFAULT_DEVICE
    if spec is None:
        return None, {"reason": "the core is no circuit: no device shrinks its outputs"}
    noise = checkpoint.config.quantum.noise
    if noise is not None:
        return None, {"reason": f"the circuit is sampled under the noise of `{noise.device}` already"}
    from qhybrid.quantum.analysis.signal_loss import device_shrinkage
    from qhybrid.quantum.devices.snapshots import snapshot

    backend = snapshot(name)
    try:
        found = device_shrinkage(spec, backend)
    except CircuitError as error:
        return None, {"reason": str(error)}
    # An output that does not vary has no slope; it keeps its value.
    factors = [1.0 if slope is None else slope for slope in found.total.slope]
    return torch.tensor(factors, dtype=torch.float64), {"device": found.device, "factors": factors}


def _hardware_device(checkpoint: Checkpoint) -> str | None:
    """The snapshot of the hardware stage's backend, if there is one."""
    from qhybrid.quantum.devices.snapshots import snapshot_names

    stage = checkpoint.config.hardware
    if stage is None:
        return None
    name = stage.backend.replace("ibm_", "fake_", 1)
    return name if name in snapshot_names() else None
