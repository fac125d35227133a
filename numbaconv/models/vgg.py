"""VGG networks: 3×3 convolutions in five stages, pooling between them.

Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556,
table 1, configurations A, B, D and E; parameter names and initial weights are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.nn import BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, Module, ReLU, Sequential
from numbaconv.nn.init import as_generator

from .initial import init_convolutions_, init_linears_
from .registry import register

#: Channels of the five stages; each ends by halving the image.
_WIDTHS = (64, 128, 256, 512, 512)


class VGG(Module):
    """Five stages of 3×3 convolutions and a classifier.

    Args:
        depths: convolutions of each stage.
        num_classes: number of outputs.
        in_channels: channels of the images.
        image_size: pixels of the images in each direction, at least 32. Smaller than 64, the stages leave one pixel of
            512 features, and one linear layer follows (the usual form for CIFAR); else the paper's three follow, with
            4,096 features, ReLU and dropout between them.
        batch_norm: normalise behind every convolution.
        seed: of the initial weights.
        dtype: of the parameters.

    Raises:
        ValueError: if the images are too small.
    """

    def __init__(
        self,
        depths: Sequence[int],
        num_classes: int,
        in_channels: int,
        image_size: int,
        batch_norm: bool,
        seed: int,
        dtype: DTypeLike,
    ) -> None:
        super().__init__()
        generator = as_generator(seed)
        options: dict[str, Any] = {"dtype": dtype, "generator": generator}
        layers: list[Module] = []
        channels, side = in_channels, image_size
        for depth, width in zip(depths, _WIDTHS, strict=True):
            for _ in range(depth):
                layers.append(Conv2d(channels, width, 3, padding=1, **options))
                layers += [BatchNorm2d(width, dtype=dtype)] if batch_norm else []
                layers.append(ReLU())
                channels = width
            layers.append(MaxPool2d(2))
            side //= 2
        if side < 1:
            raise ValueError(f"VGG: image_size must be at least {2 ** len(_WIDTHS)}, got {image_size}")
        self.features = Sequential(*layers)
        head = _small_head if side == 1 else _large_head
        self.classifier = head(channels * side * side, num_classes, options)
        init_convolutions_(self, generator)
        init_linears_(self, generator)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, image_size, image_size)`` to scores ``(N, num_classes)``."""
        return self.classifier(F.flatten(self.features(x), 1))


def _small_head(features: int, outputs: int, options: dict[str, Any]) -> Sequential:
    return Sequential(Linear(features, outputs, **options))


def _large_head(features: int, outputs: int, options: dict[str, Any]) -> Sequential:
    return Sequential(
        Linear(features, 4096, **options), ReLU(), Dropout(),
        Linear(4096, 4096, **options), ReLU(), Dropout(),
        Linear(4096, outputs, **options),
    )  # fmt: skip


@register
def vgg11(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, batch_norm: bool = True, seed: int = 0,
    dtype: DTypeLike = "float32",
) -> VGG:  # fmt: skip
    """VGG-11 (configuration A); see ``VGG`` for the arguments."""
    return VGG((1, 1, 2, 2, 2), num_classes, in_channels, image_size, batch_norm, seed, dtype)


@register
def vgg13(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, batch_norm: bool = True, seed: int = 0,
    dtype: DTypeLike = "float32",
) -> VGG:  # fmt: skip
    """VGG-13 (configuration B); see ``VGG`` for the arguments."""
    return VGG((2, 2, 2, 2, 2), num_classes, in_channels, image_size, batch_norm, seed, dtype)


@register
def vgg16(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, batch_norm: bool = True, seed: int = 0,
    dtype: DTypeLike = "float32",
) -> VGG:  # fmt: skip
    """VGG-16 (configuration D); see ``VGG`` for the arguments.

    14,728,266 parameters; 138,357,544 with 1,000 classes, images of 224×224 pixels and no batch normalisation.
    """
    return VGG((2, 2, 3, 3, 3), num_classes, in_channels, image_size, batch_norm, seed, dtype)


@register
def vgg19(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, batch_norm: bool = True, seed: int = 0,
    dtype: DTypeLike = "float32",
) -> VGG:  # fmt: skip
    """VGG-19 (configuration E); see ``VGG`` for the arguments.

    143,667,240 parameters with 1,000 classes, images of 224×224 pixels and no batch normalisation.
    """
    return VGG((2, 2, 4, 4, 4), num_classes, in_channels, image_size, batch_norm, seed, dtype)


@register(image_size=224)
def vgg16_imagenet(
    num_classes: int = 1000, in_channels: int = 3, batch_norm: bool = False, seed: int = 0,
    dtype: DTypeLike = "float32",
) -> VGG:  # fmt: skip
    """VGG-16 as published, for images of 224×224 pixels: 138,357,544 parameters; see ``vgg16``."""
    return vgg16(num_classes, in_channels, 224, batch_norm, seed, dtype)


@register(image_size=224)
def vgg19_imagenet(
    num_classes: int = 1000, in_channels: int = 3, batch_norm: bool = False, seed: int = 0,
    dtype: DTypeLike = "float32",
) -> VGG:  # fmt: skip
    """VGG-19 as published, for images of 224×224 pixels: 143,667,240 parameters; see ``vgg19``."""
    return vgg19(num_classes, in_channels, 224, batch_norm, seed, dtype)
