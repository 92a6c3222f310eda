"""A light U-Net whose bottleneck is injected.

Two downsamplings, one residual block at a quarter of the image size, one skip connection from the first stage, and a
channel-wise gate on the bottleneck's features (sizes of arXiv 2504.00034: 32/64/128 channels at 28x28).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qhybrid.models.blocks import ConvBlock, ResidualBlock, TimeEmbedding


class UNet(nn.Module):
    """Predicts noise (or v) from a noisy image and its time step.

    Args:
        image_channels: 1 or 3.
        channels: Widths of the three stages.
        time_dim: Width of the time embedding.
        bottleneck: Module `(B, channels[2]) -> (B, channels[2])`; multiplied onto the deepest features.
    """

    def __init__(self, image_channels: int, channels: Sequence[int], time_dim: int, bottleneck: nn.Module) -> None:
        super().__init__()
        first, second, deepest = channels
        self.embed_time = TimeEmbedding(time_dim)
        self.stem = ConvBlock(image_channels, first, time_dim)
        self.down1 = ConvBlock(first, second, time_dim, resize="down")
        self.down2 = ConvBlock(second, deepest, time_dim, resize="down")
        self.middle = ResidualBlock(deepest, time_dim)
        self.up1 = ConvBlock(deepest, second, time_dim, resize="up")
        self.up2 = ConvBlock(second, first, time_dim, resize="up")
        self.merge = ConvBlock(2 * first, first, time_dim)
        self.head = nn.Conv2d(first, image_channels, 3, padding=1)
        # A network that predicts zero is the right start for standardized targets.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.bottleneck = bottleneck

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Prediction of shape `(B, C, H, W)` for images of that shape (H, W divisible by 4) and `t` of shape `(B,)`."""
        embedding = self.embed_time(t)
        skip = self.stem(x, embedding)
        h = self.down2(self.down1(skip, embedding), embedding)
        h = self.middle(h, embedding)
        h = h * self.bottleneck(h.mean(dim=(2, 3)))[:, :, None, None]
        h = self.up2(self.up1(h, embedding), embedding)
        prediction: Tensor = self.head(self.merge(torch.cat([h, skip], dim=1), embedding))
        return prediction
