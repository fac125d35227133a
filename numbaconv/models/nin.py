"""Network in Network: 1×1 convolutions behind each convolution, and no linear layer.

Source: Lin, Chen and Yan, Network In Network, arXiv 1312.4400, with the sizes of its authors' CIFAR-10 network.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike

from numbaconv.nn import AvgPool2d, Conv2d, Dropout, MaxPool2d, Module, ReLU, Sequential
from numbaconv.nn.init import as_generator

from .initial import init_convolutions_
from .pixels import mean_over_pixels, require_pixels
from .registry import register


class NIN(Module):
    """Three blocks of a convolution and two 1×1 convolutions; the last one's maps are the classes. See ``nin``."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float, seed: int, dtype: DTypeLike) -> None:
        super().__init__()
        generator = as_generator(seed)

        def block(inputs: int, kernel: int, *widths: int) -> list[Module]:
            layers: list[Module] = []
            for outputs in widths:
                layers.append(
                    Conv2d(inputs, outputs, kernel, padding=kernel // 2, dtype=dtype, generator=generator)
                )
                layers.append(ReLU())
                inputs, kernel = outputs, 1
            return layers

        self.features = Sequential(
            *block(in_channels, 5, 192, 160, 96), MaxPool2d(3, 2, ceil_mode=True), Dropout(dropout),
            *block(96, 5, 192, 192, 192), AvgPool2d(3, 2, ceil_mode=True), Dropout(dropout),
            *block(192, 3, 192, 192, num_classes),
        )  # fmt: skip
        init_convolutions_(self, generator)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, H, W)``, 5 pixels or more, to scores ``(N, num_classes)``."""
        require_pixels("nin", x, 5)
        return mean_over_pixels(self.features(x))


@register
def nin(
    num_classes: int = 10, in_channels: int = 3, dropout: float = 0.5, seed: int = 0, dtype: DTypeLike = "float32"
) -> NIN:
    """Network in Network for images of 32×32 pixels: 966,986 parameters.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        dropout: probability, behind the first two blocks.
        seed: of the initial weights.
        dtype: of the parameters.
    """
    return NIN(num_classes, in_channels, dropout, seed, dtype)
