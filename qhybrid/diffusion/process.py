"""Forward process and training loss (Ho et al. 2020, arXiv 2006.11239; v-prediction: Salimans and Ho 2022, 2202.00512).

Notation: `x_0` image, `epsilon` noise, `a` = alphas_cumprod[t], `x_t = sqrt(a) x_0 + sqrt(1 - a) epsilon`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from qhybrid.config import DiffusionConfig
from qhybrid.diffusion.schedules import alphas_cumprod

Denoiser = Callable[[Tensor, Tensor], Tensor]


class ForwardProcess:
    """Adds noise to images and scores a network's prediction of it.

    Attributes:
        prediction: `epsilon`, or `v` = sqrt(a) epsilon - sqrt(1 - a) x_0.
        alphas_cumprod: Share of the signal's variance at each time step, float32 `(T,)`.
    """

    def __init__(self, config: DiffusionConfig) -> None:
        self.prediction = config.prediction
        self.alphas_cumprod = torch.from_numpy(alphas_cumprod(config)).float()

    @property
    def timesteps(self) -> int:
        """T, the number of time steps."""
        return len(self.alphas_cumprod)

    def diffuse(self, images: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """Noisy images `x_t`, `(B, C, H, W)` (equation 4 of Ho et al.).

        Args:
            images: Clean images in [-1, 1], `(B, C, H, W)`.
            epsilon: Standardized noise of the same shape.
            t: Time steps, int64 `(B,)`.
        """
        signal, noise = self._coefficients(t, images)
        return signal * images + noise * epsilon

    def target(self, images: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """What the network should predict, `(B, C, H, W)`: the noise, or v of Salimans and Ho 2022.

        Args:
            images: Clean images in [-1, 1], `(B, C, H, W)`.
            epsilon: Standardized noise of the same shape.
            t: Time steps, int64 `(B,)`.
        """
        if self.prediction == "epsilon":
            return epsilon
        signal, noise = self._coefficients(t, images)
        return signal * epsilon - noise * images

    def loss(self, denoise: Denoiser, images: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """Mean squared error of the prediction, a scalar (equation 14 of Ho et al.).

        Args:
            denoise: The network, called with `x_t` and t.
            images: Clean images in [-1, 1], `(B, C, H, W)`.
            epsilon: Standardized noise of the same shape.
            t: Time steps, int64 `(B,)`.
        """
        prediction = denoise(self.diffuse(images, epsilon, t), t)
        return F.mse_loss(prediction.float(), self.target(images, epsilon, t))

    def _coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        a = self.alphas_cumprod.to(like.device)[t].view(-1, 1, 1, 1)
        return a.sqrt(), (1 - a).sqrt()
