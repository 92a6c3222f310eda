"""Building blocks of the U-Net: time embedding and time-conditioned convolutions."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GROUPS = 8
_MAX_PERIOD = 10_000.0


class TimeEmbedding(nn.Module):
    """Sinusoidal features of the time step and a two-layer network: `(B,)` -> `(B, dim)`."""

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        self.register_buffer(
            "frequencies", torch.exp(-math.log(_MAX_PERIOD) * torch.arange(half) / half), persistent=False
        )
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """Embedding `(B, dim)` of time steps `(B,)`."""
        angles = t.float()[:, None] * self.frequencies
        embedded: Tensor = self.mlp(torch.cat([angles.sin(), angles.cos()], dim=1))
        return embedded


class ConvBlock(nn.Module):
    """Convolution, group normalization, time shift, SiLU: `(B, C_in, H, W)` -> `(B, C_out, H', W')`.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        time_dim: Width of the time embedding.
        resize: `down` halves the image's sides, `up` doubles them.
    """

    def __init__(self, c_in: int, c_out: int, time_dim: int, resize: Literal["down", "up"] | None = None) -> None:
        super().__init__()
        self.conv: nn.Module
        if resize == "up":
            # Kernel = stride: no overlap, hence no checkerboard, at a ninth of the cost of resizing first.
            self.conv = nn.ConvTranspose2d(c_in, c_out, 2, stride=2)
        else:
            self.conv = nn.Conv2d(c_in, c_out, 3, stride=2 if resize == "down" else 1, padding=1)
        self.norm = nn.GroupNorm(_GROUPS, c_out)
        self.time = nn.Linear(time_dim, c_out)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Features `(B, C_out, H', W')` of features `(B, C_in, H, W)` and the time embedding `(B, time_dim)`."""
        return F.silu(self.norm(self.conv(x)) + self.time(embedding)[:, :, None, None])


class ResidualBlock(nn.Module):
    """Two convolutions around an identity path; starts as the identity."""

    def __init__(self, channels: int, time_dim: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, time_dim)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Features `(B, C, H, W)` of features of that shape and the time embedding `(B, time_dim)`."""
        residual: Tensor = self.second(self.first(x, embedding))
        return x + residual
