"""Several processes that train one model together, each on its part of every batch.

`accelerate launch` (GPUs) or `torchrun` (GPUs or CPUs) starts them. The main process alone checks, makes and writes
the run directory; gradients are averaged by torch's DistributedDataParallel, so that the numbers are those of one
process up to rounding.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qhybrid.config import RunConfig, TrainingConfig
from qhybrid.errors import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator


def launched_processes() -> int:
    """Number of processes that a launcher has started for this command; 1 without a launcher."""
    count = os.environ.get("WORLD_SIZE", "1")
    return int(count) if count.isdigit() else 1


def is_main_process() -> bool:
    """Whether this is the process that writes and speaks; it is without a launcher."""
    return launched_processes() == 1 or os.environ.get("RANK", "0") == "0"


def check_parts(config: RunConfig) -> None:
    """Refuse a batch that the launched processes cannot share out evenly.

    Raises:
        TrainingError: Names the batch size and the number of processes.
    """
    size, processes = config.training.batch_size, launched_processes()
    if size % processes:
        raise TrainingError(
            f"`training.batch_size` is {size}, which {processes} processes cannot share evenly: choose a multiple of "
            f"{processes}"
        )


def make_accelerator(training: TrainingConfig, **options: Any) -> Accelerator:
    """accelerate's object for device, precision and the launched processes.

    Args:
        training: Names the device and the precision.
        options: Further arguments of `Accelerator`.

    Raises:
        TrainingError: CUDA is asked for, and there is none.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    if training.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("`training.device: cuda`, but this machine has no usable CUDA device: choose auto or cpu")
    # Without CUDA, accelerate joins launched processes only if it is told to use the CPU.
    cpu = training.device == "cpu" or (launched_processes() > 1 and not torch.cuda.is_available())
    # accelerate decides by this variable as well as by its argument; both must agree for a second run in a process.
    os.environ["ACCELERATE_USE_CPU"] = "true" if cpu else "false"
    # The same parameters take part in every step; of a published core some never do, which a static graph allows.
    shared_gradients = DistributedDataParallelKwargs(static_graph=True)
    return Accelerator(cpu=cpu, mixed_precision=training.mixed_precision, kwargs_handlers=[shared_gradients], **options)


def agreed_place(accelerator: Accelerator, place: Path | None, begun: bool) -> tuple[Path, bool]:
    """What the main process has found, told to all.

    Args:
        accelerator: Object of accelerate that this process has made.
        place: The run directory; asked of the main process alone.
        begun: Whether a run has begun there; asked of the main process alone.

    Returns:
        The main process's `place` and `begun`.
    """
    from accelerate.utils import broadcast_object_list

    told = [str(place), begun]
    if accelerator.num_processes > 1:
        broadcast_object_list(told)
    return Path(str(told[0])), bool(told[1])


def any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is set in at least one process, so that all stop at the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)
