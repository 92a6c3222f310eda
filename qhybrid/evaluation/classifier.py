"""The network whose features images are measured in: small enough to train on a CPU in seconds."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

FEATURE_DIM = 64


class Classifier(nn.Module):
    """Convolutions down to 4 x 4 or less, global mean, `FEATURE_DIM` features, one logit per class.

    Args:
        channels: Number of channels of an image, 1 or 3.
        image_size: Side in pixels, at least 8.
        classes: Number of logits.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        # The first stride bounds the cost: the widest layer has at most 56 x 56 places, at 224 pixels.
        stride = 1 if image_size <= 16 else 2 if image_size <= 64 else 4
        layers = _convolution(channels, 32, stride)
        width, side = 32, -(-image_size // stride)
        while side > 4:
            wider = min(2 * width, 128)
            layers += _convolution(width, wider, 2)
            width, side = wider, -(-side // 2)
        # The mean over a small grid of places keeps where things are, which a global mean would lose.
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.penultimate = nn.Linear(4 * width, FEATURE_DIM)
        self.head = nn.Linear(FEATURE_DIM, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, FEATURE_DIM) and logits (B, classes) of images (B, C, H, W) in [-1, 1]."""
        features = F.relu(self.penultimate(self.body(x)))
        return features, self.head(features)


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
