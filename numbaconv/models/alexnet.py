"""AlexNet, in one piece: overlapping pooling, ReLU, dropout.

Source: Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012,
with the widths of Krizhevsky, One weird trick for parallelizing convolutional neural networks, arXiv 1404.5997, which
does without the two towers; parameter names and initial weights are torchvision's.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.nn import Conv2d, Dropout, Linear, LocalResponseNorm, MaxPool2d, Module, ReLU, Sequential
from numbaconv.nn.init import as_generator

from .pixels import require_pixels
from .registry import register

_SIDE = 6  # pixels that the linear layers take in each direction


class AlexNet(Module):
    """Five convolutions and three linear layers; see ``alexnet``."""

    def __init__(
        self, num_classes: int, in_channels: int, hidden: int, local_response_norm: bool, dropout: float, seed: int,
        dtype: DTypeLike,
    ) -> None:  # fmt: skip
        super().__init__()
        options: dict[str, Any] = {"dtype": dtype, "generator": as_generator(seed)}

        def normalised() -> list[Module]:
            # torch's alpha is divided by the size, the paper's 1e-4 is not.
            return [LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if local_response_norm else []

        self.features = Sequential(
            Conv2d(in_channels, 64, 11, stride=4, padding=2, **options), ReLU(), *normalised(), MaxPool2d(3, 2),
            Conv2d(64, 192, 5, padding=2, **options), ReLU(), *normalised(), MaxPool2d(3, 2),
            Conv2d(192, 384, 3, padding=1, **options), ReLU(),
            Conv2d(384, 256, 3, padding=1, **options), ReLU(),
            Conv2d(256, 256, 3, padding=1, **options), ReLU(), MaxPool2d(3, 2),
        )  # fmt: skip
        self.classifier = Sequential(
            Dropout(dropout), Linear(256 * _SIDE * _SIDE, hidden, **options), ReLU(),
            Dropout(dropout), Linear(hidden, hidden, **options), ReLU(),
            Linear(hidden, num_classes, **options),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, H, W)``, 63 pixels or more, to scores ``(N, num_classes)``."""
        require_pixels("alexnet", x, 63)
        return self.classifier(F.flatten(F.adaptive_avg_pool2d(self.features(x), _SIDE), 1))


@register(image_size=224)
def alexnet(
    num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096, local_response_norm: bool = False,
    dropout: float = 0.5, seed: int = 0, dtype: DTypeLike = "float32",
) -> AlexNet:  # fmt: skip
    """AlexNet for images of 224×224 pixels: 61,100,840 parameters.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        hidden: features between the linear layers.
        local_response_norm: normalise behind the first two convolutions, as the paper does.
        dropout: probability, of the inputs of the first two linear layers.
        seed: of the initial weights.
        dtype: of the parameters.
    """
    return AlexNet(num_classes, in_channels, hidden, local_response_norm, dropout, seed, dtype)
