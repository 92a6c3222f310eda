"""A light U-Net whose bottleneck is injected, in two halves.

Two downsamplings, one residual block at a quarter of the image size, one skip connection from the first stage, and a
bottleneck between the halves (sizes of arXiv 2504.00034: 32/64/128 channels at 28x28). Whoever evaluates the
bottleneck's core elsewhere, e.g. on a device, calls `encode` and `decode` and so runs the network once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qhybrid.models.blocks import ConvBlock, ResidualBlock, TimeEmbedding
from qhybrid.models.bottleneck import Bottleneck, NoBottleneck


class Encoded(NamedTuple):
    """What the first half hands to the bottleneck and to the second half.

    Attributes:
        features: The deepest features `(B, channels[2], H / 4, W / 4)`.
        skip: Features of the first stage `(B, channels[0], H, W)`.
        embedding: Embedding of the time steps, `(B, time_dim)`.
    """

    features: Tensor
    skip: Tensor
    embedding: Tensor


class UNet(nn.Module):
    """Predicts noise (or v) from a noisy image, its time step and, if it is conditional, its label.

    Args:
        image_channels: Number of channels of an image, 1 or 3.
        channels: Widths of the three stages.
        time_dim: Width of the time embedding.
        bottleneck: Module between the two halves.
        conditional_decoder: Whether the decoder begins with a residual block, as the bottleneck's place `condition`
            needs it.
    """

    def __init__(
        self,
        image_channels: int,
        channels: Sequence[int],
        time_dim: int,
        bottleneck: Bottleneck | NoBottleneck,
        *,
        conditional_decoder: bool = False,
    ) -> None:
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
        self.decoder_block = ResidualBlock(deepest, time_dim) if conditional_decoder else None

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict.

        Args:
            x: Noisy images `(B, C, H, W)`, H and W divisible by 4.
            t: Time steps, int64 `(B,)`.
            labels: Class numbers `(B,)` of a conditional model, or rows of 0 and 1 `(B, K)`; -1 is no label, as is
                `None`.

        Returns:
            Predicted noise or v, `(B, C, H, W)`.
        """
        encoded = self.encode(x, t)
        return self.decode(encoded, self.bottleneck.core(self.core_inputs(encoded, labels)))

    def encode(self, x: Tensor, t: Tensor) -> Encoded:
        """The first half, from noisy images `(B, C, H, W)` and time steps `(B,)` to the deepest features."""
        embedding = self.embed_time(t)
        skip = self.stem(x, embedding)
        features = self.down2(self.down1(skip, embedding), embedding)
        return Encoded(self.middle(features, embedding), skip, embedding)

    def core_inputs(self, encoded: Encoded, labels: Tensor | None = None) -> Tensor:
        """What the bottleneck's core is to be evaluated at, `(rows, n_in)`; of a circuit, angles in radians."""
        return self.bottleneck.inputs(encoded.features, encoded.embedding, labels)

    def core_inputs_without_image(self, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """`core_inputs` of a bottleneck that does not see the image, from time steps `(B,)` and labels alone."""
        embedding = self.embed_time(t)
        return self.bottleneck.inputs(embedding.new_empty(len(t), 0, 1, 1), embedding, labels)

    def decode(self, encoded: Encoded, outputs: Tensor) -> Tensor:
        """The second half, from the core's outputs `(rows, n_out)` to the prediction `(B, C, H, W)`."""
        h, embedding = self.bottleneck.apply_outputs(encoded.features, encoded.embedding, outputs)
        if self.decoder_block is not None:
            h = self.decoder_block(h, embedding)
        h = self.up2(self.up1(h, embedding), embedding)
        prediction: Tensor = self.head(self.merge(torch.cat([h, encoded.skip], dim=1), embedding))
        return prediction
