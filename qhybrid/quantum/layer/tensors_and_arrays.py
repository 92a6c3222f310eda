"""From torch's tensors to float64 arrays and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

NUMPY_TYPES: dict[torch.dtype, type[np.floating[Any]]] = {torch.float32: np.float32, torch.float64: np.float64}
"""Types that both have; a layer's outputs are of one of them."""


def output_type(dtype: torch.dtype) -> torch.dtype:
    """The type of a layer's outputs for angles of some type: float32 for half precision."""
    return dtype if dtype in NUMPY_TYPES else torch.float32


def to_numpy(tensor: Tensor) -> Array:
    """A float64 copy, so that what backward reads does not change when the tensor does."""
    tensor = tensor.detach()
    if tensor.dtype not in NUMPY_TYPES or tensor.device.type != "cpu":
        tensor = tensor.to("cpu", torch.float64)
    return np.array(tensor.numpy(), dtype=np.float64)


def to_torch(array: Array, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of the given type on the given device.

    Args:
        array: NumPy array of any shape.
        dtype: Type of the tensor.
        device: Device of torch on which the tensor lies.
    """
    # Converting in numpy costs less than a torch call.
    tensor = torch.from_numpy(array.astype(NUMPY_TYPES.get(dtype, np.float64), copy=False))
    return tensor if dtype in NUMPY_TYPES and device.type == "cpu" else tensor.to(device, dtype)
