"""What a model does without its core: the core's outputs replaced while images are made or a loss is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from qhybrid.errors import ConfigError
from qhybrid.models.bottleneck import NoBottleneck
from qhybrid.models.unet import UNet

Intervention = Callable[[Tensor], Tensor]


@contextmanager
def intervened(model: UNet, function: Intervention) -> Iterator[None]:
    """Within the block, what the model makes of the core's outputs is `function` of them.

    Blocks nest: the inner function is applied to the result of the outer one. Nothing is left behind, also if the block
    raises.

    Args:
        model: A model with a core.
        function: `(rows, n_out) -> (rows, n_out)`, e.g. `torch.zeros_like`. A row belongs to an image, or at the place
            `features` to a position; the rows of an image are consecutive.

    Raises:
        ConfigError: The model has no core (`core: none`), or a function's result has another shape.
    """
    if isinstance(model.bottleneck, NoBottleneck):
        raise ConfigError("this model has no core (`model.bottleneck.core: none`): there are no outputs to change")

    def changed(_core: nn.Module, _inputs: Any, outputs: Tensor) -> Tensor:
        result = function(outputs)
        if result.shape != outputs.shape:
            raise ConfigError(
                f"an intervention made outputs of shape {tuple(result.shape)} of {tuple(outputs.shape)}: keep the shape"
            )
        return result

    handle = model.bottleneck.core.register_forward_hook(changed)
    try:
        yield
    finally:
        handle.remove()
