"""MobileNet (version 1): depthwise separable convolutions.

Source: Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, arXiv
1704.04861, table 1; initial weights as torchvision's for MobileNetV2.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike

from numbaconv.nn import BatchNorm2d, Conv2d, Linear, Module, ReLU, Sequential
from numbaconv.nn.init import as_generator

from .initial import init_convolutions_, init_linears_
from .pixels import mean_over_pixels
from .registry import register

_STEM = 32  # channels behind the first convolution

#: Output channels and stride of the separable convolutions, in order.
_SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


class MobileNet(Module):
    """A stem, thirteen separable convolutions, mean over pixels, linear outputs; see ``mobilenet``."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        width_multiplier: float,
        seed: int,
        dtype: DTypeLike,
    ) -> None:
        super().__init__()
        if not width_multiplier > 0:
            raise ValueError(f"mobilenet: width_multiplier must be positive, got {width_multiplier}")
        generator = as_generator(seed)
        options: dict[str, Any] = {"dtype": dtype, "generator": generator}

        def scaled(channels: int) -> int:
            return max(1, round(width_multiplier * channels))

        channels, stride = scaled(_STEM), 1 if image_size < 64 else 2
        blocks = [_normalised(Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False, **options))]
        for outputs, stride in _SEPARABLE:
            blocks.append(_separable(channels, scaled(outputs), stride, options))
            channels = scaled(outputs)
        self.features = Sequential(*blocks)
        self.classifier = Linear(channels, num_classes, **options)
        init_convolutions_(self, generator)
        init_linears_(self, generator)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, H, W)`` to scores ``(N, num_classes)``."""
        return self.classifier(mean_over_pixels(self.features(x)))


def _normalised(*convolutions: Conv2d) -> Sequential:
    """Convolutions, each with batch normalisation and ReLU behind it."""
    layers: list[Module] = []
    for conv in convolutions:
        layers += [conv, BatchNorm2d(conv.out_channels, dtype=conv.weight.dtype), ReLU()]
    return Sequential(*layers)


def _separable(inputs: int, outputs: int, stride: int, options: dict[str, Any]) -> Sequential:
    """A 3×3 convolution of each channel by itself, then a 1×1 convolution of all."""
    return _normalised(
        Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False, **options),
        Conv2d(inputs, outputs, 1, bias=False, **options),
    )


@register
def mobilenet(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, width_multiplier: float = 1.0, seed: int = 0,
    dtype: DTypeLike = "float32",
) -> MobileNet:  # fmt: skip
    """MobileNet; 4,231,976 parameters with 1,000 classes, 3,217,226 with ten.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        image_size: pixels of the images in each direction. The paper's network is for 224 and divides the image by 32;
            smaller than 64, the first convolution keeps the image's size, and 32×32 pixels end as 2×2.
        width_multiplier: the paper's α; every layer has so many times the channels.
        seed: of the initial weights.
        dtype: of the parameters.
    """
    return MobileNet(num_classes, in_channels, image_size, width_multiplier, seed, dtype)
