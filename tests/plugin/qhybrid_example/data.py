"""A data set: stripes."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from qhybrid.config import DataConfig, Section
from qhybrid.data import ImageData
from qhybrid.registry import register_data


class StripesOptions(Section):
    """Options of `stripes`."""

    side: int = Field(default=8, ge=8, multiple_of=4, description="Height and width of the images in pixels.")


@register_data("stripes", section=StripesOptions)
def stripes(options: StripesOptions, config: DataConfig) -> ImageData:
    """200 training and 100 test images of stripes, lying (class 0) and standing (class 1), of random phase."""
    rng = np.random.default_rng(0)

    def split(size: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(size) % 2
        waves = np.sin(np.arange(options.side) * np.pi / 2 + rng.uniform(0, 2 * np.pi, (size, 1)))
        lying = np.repeat(waves[:, :, None], options.side, axis=2)
        images = np.where(labels[:, None, None] == 0, lying, lying.transpose(0, 2, 1))
        return np.rint(127.5 * (1 + images)).astype(np.uint8), labels

    return ImageData.from_splits(
        "stripes", train=split(200), val=None, test=split(100), class_names=("lying", "standing"), origin="computed"
    )
