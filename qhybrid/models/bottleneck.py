"""What sits between the encoder and the decoder of the U-Net: a core between two linear maps, at one of three places.

A core is any module `(rows, n_in) -> (rows, n_out)`: a circuit's expectation values, or a classical control. The linear
map in front of it, `squeeze`, and the one behind it, `excite`, are the same for all cores. `excite` starts at zero, so
that all cores start from the same function, and at the places `gate` and `condition` from the U-Net without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qhybrid.errors import ConfigError

Place = Literal["gate", "condition", "features"]
Sight = Literal["image", "class", "time"]


class ClassEmbedding(nn.Module):
    """A learned vector of each class, and one of "no label": labels `(B,)` or `(B, K)` -> `(B, dim)`.

    The vector of a row with several classes is the sum of theirs.

    Args:
        classes: K, the number of classes.
        dim: Width of the vectors.
    """

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.classes = classes
        self.weight = nn.Parameter(torch.randn(classes + 1, dim))

    def forward(self, labels: Tensor) -> Tensor:
        """Embed labels.

        Args:
            labels: Class numbers `(B,)` from 0 to K - 1, or rows of 0 and 1 `(B, K)`; -1 (a whole row of it) is no
                label.
        """
        if labels.ndim == 1:
            chosen = F.one_hot(torch.where(labels < 0, self.classes, labels), self.classes + 1)
        else:
            chosen = torch.cat([labels.clamp(min=0), (labels[:, :1] < 0).to(labels.dtype)], dim=1)
        embedded: Tensor = chosen.to(self.weight.dtype) @ self.weight
        return embedded


class Bottleneck(nn.Module):
    """`excite(core(squeeze(what it sees)))`, brought to where the configuration places it.

    - `gate`: the deepest features are multiplied, channel by channel, by 1 + the outputs' map.
    - `condition`: the outputs' map is added to the time embedding of the decoder.
    - `features`: each position of the deepest features is a row of its own, and the outputs' map takes their place.

    The label of an image reaches the network here, through the core, and nowhere else.

    Args:
        core: Module `(rows, n_in) -> (rows, n_out)`. Its inputs are angles in (-pi, pi), `pi tanh(squeeze(...))`,
            unless it has an attribute `bounded` that is false.
        n_in: Number of inputs of the core.
        n_out: Number of outputs of the core.
        channels: C of the deepest features `(B, C, h, w)`.
        time_dim: Width of the time embedding, and of that of the classes.
        place: Place where the outputs enter: `gate`, `condition` or `features`.
        sees: What `squeeze` sees: pooled features (with `features`, those of the position), label, time embedding.
        classes: Number of classes; needed if `class` is among `sees`.
    """

    def __init__(
        self,
        core: nn.Module,
        n_in: int,
        n_out: int,
        *,
        channels: int,
        time_dim: int,
        place: Place = "gate",
        sees: Sequence[Sight] = ("image",),
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.place = place
        self.sees = tuple(sees)
        width = sum(channels if sight == "image" else time_dim for sight in self.sees)
        self.squeeze = nn.Linear(width, n_in)
        self.core = core
        self.excite = nn.Linear(n_out, time_dim if place == "condition" else channels)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)
        self.embed_class = ClassEmbedding(classes, time_dim) if "class" in self.sees else None

    @property
    def sees_image(self) -> bool:
        """Whether the core's inputs depend on the noisy image; else class and time alone decide them."""
        return "image" in self.sees or self.place == "features"

    def inputs(self, features: Tensor, embedding: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the core is evaluated at.

        Args:
            features: The encoder's deepest features `(B, C, h, w)`; of any C where the image is not seen.
            embedding: Embedding of the time steps, `(B, time_dim)`.
            labels: Labels of the images, as for `ClassEmbedding`; by default no label. Not for an unconditional model.

        Returns:
            Inputs of the core, `(rows, n_in)`; a row per image, or with `features` h * w consecutive rows per image.

        Raises:
            ConfigError: Labels for an unconditional model.
        """
        if labels is not None and self.embed_class is None:
            raise ConfigError("this model is unconditional (`model.condition: none`): it cannot be given labels")
        parts: list[Tensor] = []
        positions = features.shape[2] * features.shape[3] if self.place == "features" else 1
        for sight in self.sees:
            if sight == "image" and self.place == "features":
                parts.append(features.flatten(2).transpose(1, 2).flatten(0, 1))
            elif sight == "image":
                parts.append(features.mean(dim=(2, 3)))
            else:
                seen = embedding if sight == "time" else self._embedded(labels, features)
                parts.append(seen if positions == 1 else seen.repeat_interleave(positions, dim=0))
        squeezed: Tensor = self.squeeze(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
        return torch.pi * torch.tanh(squeezed) if getattr(self.core, "bounded", True) else squeezed

    def apply_outputs(self, features: Tensor, embedding: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's features and time embedding, given the core's outputs.

        Args:
            features: The encoder's deepest features `(B, C, h, w)`.
            embedding: Embedding of the time steps, `(B, time_dim)`.
            outputs: Outputs of the core for the rows of `inputs`, `(rows, n_out)`.
        """
        mapped: Tensor = self.excite(outputs.to(features.dtype))
        if self.place == "condition":
            return features, embedding + mapped
        if self.place == "features":
            batch, channels, height, width = features.shape
            positions = mapped.view(batch, height * width, channels).transpose(1, 2)
            return positions.reshape(batch, channels, height, width), embedding
        return features * (1 + mapped)[:, :, None, None], embedding

    def _embedded(self, labels: Tensor | None, features: Tensor) -> Tensor:
        assert self.embed_class is not None
        if labels is None:
            labels = torch.full((len(features),), -1, dtype=torch.int64, device=features.device)
        embedded: Tensor = self.embed_class(labels)
        return embedded


class NoBottleneck(nn.Module):
    """Nothing between encoder and decoder: a core without outputs, which changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.Identity()

    @property
    def sees_image(self) -> bool:
        """Nothing is seen."""
        return False

    def inputs(self, features: Tensor, embedding: Tensor, labels: Tensor | None = None) -> Tensor:
        """No input: `(B, 0)`.

        Args:
            features: The encoder's deepest features `(B, C, h, w)`.
            embedding: Time embedding `(B, time_dim)`; not used.
            labels: None: an unconditional model has no labels.

        Raises:
            ConfigError: Labels, which nothing here could take.
        """
        if labels is not None:
            raise ConfigError("this model is unconditional (`model.condition: none`): it cannot be given labels")
        return features.new_zeros(len(features), 0)

    def apply_outputs(self, features: Tensor, embedding: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Features and time embedding as they are.

        Args:
            features: The encoder's deepest features `(B, C, h, w)`.
            embedding: Embedding of the time steps, `(B, time_dim)`.
            outputs: Empty array in place of outputs, `(B, 0)`.
        """
        return features, embedding
