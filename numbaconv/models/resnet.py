"""Residual networks, for CIFAR and for ImageNet.

Source: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385: table 1 for ImageNet, section 4.2 for
CIFAR. Shortcuts that change the shape are 1×1 convolutions (option B); parameter names, initial weights and the place
of the stride in bottlenecks (the 3×3 convolution) are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.nn import BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, ReLU, Sequential
from numbaconv.nn.init import as_generator

from .initial import init_convolutions_
from .pixels import mean_over_pixels
from .registry import register


class BasicBlock(Module):
    """Two 3×3 convolutions and a shortcut: relu(x + f(x))."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, **options: Any) -> None:
        super().__init__()
        dtype = options["dtype"]
        self.conv1 = Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False, **options)
        self.bn1 = BatchNorm2d(width, dtype=dtype)
        self.relu = ReLU()
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False, **options)
        self.bn2 = BatchNorm2d(width, dtype=dtype)
        self.downsample = _shortcut(inputs, width, stride, options)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, inputs, H, W)`` to ``(N, width, H / stride, W / stride)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(F.add(y, x if self.downsample is None else self.downsample(x)))


class Bottleneck(Module):
    """A 1×1 convolution to ``width`` channels, a 3×3 one, a 1×1 one to four times as many, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, **options: Any) -> None:
        super().__init__()
        outputs, dtype = self.expansion * width, options["dtype"]
        self.conv1 = Conv2d(inputs, width, 1, bias=False, **options)
        self.bn1 = BatchNorm2d(width, dtype=dtype)
        self.conv2 = Conv2d(width, width, 3, stride=stride, padding=1, bias=False, **options)
        self.bn2 = BatchNorm2d(width, dtype=dtype)
        self.conv3 = Conv2d(width, outputs, 1, bias=False, **options)
        self.bn3 = BatchNorm2d(outputs, dtype=dtype)
        self.relu = ReLU()
        self.downsample = _shortcut(inputs, outputs, stride, options)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, inputs, H, W)`` to ``(N, 4 width, H / stride, W / stride)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(F.add(y, x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int, options: dict[str, Any]) -> Sequential | None:
    """What brings a block's input to the shape of its output; ``None`` if it has that shape."""
    if stride == 1 and inputs == outputs:
        return None
    shortcut = Conv2d(inputs, outputs, 1, stride=stride, bias=False, **options)
    return Sequential(shortcut, BatchNorm2d(outputs, dtype=options["dtype"]))


class ResNet(Module):
    """A stem, stages of blocks, mean over pixels, linear outputs.

    Args:
        block: ``BasicBlock`` or ``Bottleneck``.
        depths: blocks of each stage; from the second on a stage halves the image and doubles the channels.
        width: of the first stage.
        stem: ``"cifar"``, a 3×3 convolution, or ``"imagenet"``, a 7×7 one of stride 2 and pooling of stride 2.
        num_classes: number of outputs.
        in_channels: channels of the images.
        seed: of the initial weights.
        dtype: of the parameters.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: Sequence[int],
        width: int,
        stem: str,
        num_classes: int,
        in_channels: int,
        seed: int,
        dtype: DTypeLike,
    ) -> None:
        super().__init__()
        generator = as_generator(seed)
        options: dict[str, Any] = {"dtype": dtype, "generator": generator}
        kernel, stride = (3, 1) if stem == "cifar" else (7, 2)
        self.conv1 = Conv2d(in_channels, width, kernel, stride=stride, padding=kernel // 2, bias=False, **options)
        self.bn1 = BatchNorm2d(width, dtype=dtype)
        self.relu = ReLU()
        self.maxpool = None if stem == "cifar" else MaxPool2d(3, stride=2, padding=1)
        self.stages = [f"layer{number}" for number in range(1, len(depths) + 1)]
        channels = width
        for number, (stage, depth) in enumerate(zip(self.stages, depths, strict=True)):
            blocks = []
            for position in range(depth):
                stride = 2 if number > 0 and position == 0 else 1
                blocks.append(block(channels, width << number, stride, **options))
                channels = block.expansion * (width << number)
            self.add_module(stage, Sequential(*blocks))
        self.fc = Linear(channels, num_classes, **options)
        init_convolutions_(self, generator)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, H, W)`` to scores ``(N, num_classes)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            y = self.maxpool(y)
        for stage in self.stages:
            y = getattr(self, stage)(y)
        return self.fc(mean_over_pixels(y))


def _cifar(depth: int, *rest: Any) -> ResNet:
    """Of 6 n + 2 layers: three stages of n blocks."""
    return ResNet(BasicBlock, [(depth - 2) // 6] * 3, 16, "cifar", *rest)


def _imagenet(block: type[BasicBlock | Bottleneck], depths: Sequence[int], *rest: Any) -> ResNet:
    return ResNet(block, depths, 64, "imagenet", *rest)


@register
def resnet20(num_classes: int = 10, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-20 for images of 32×32 pixels: 272,474 parameters, 41 million multiply-adds an image."""
    return _cifar(20, num_classes, in_channels, seed, dtype)


@register
def resnet32(num_classes: int = 10, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-32 for images of 32×32 pixels: 466,906 parameters."""
    return _cifar(32, num_classes, in_channels, seed, dtype)


@register
def resnet44(num_classes: int = 10, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-44 for images of 32×32 pixels: 661,338 parameters."""
    return _cifar(44, num_classes, in_channels, seed, dtype)


@register
def resnet56(num_classes: int = 10, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-56 for images of 32×32 pixels: 855,770 parameters."""
    return _cifar(56, num_classes, in_channels, seed, dtype)


@register
def resnet110(num_classes: int = 10, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-110 for images of 32×32 pixels: 1,730,714 parameters."""
    return _cifar(110, num_classes, in_channels, seed, dtype)


@register(image_size=224)
def resnet18(num_classes: int = 1000, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-18 for images of 224×224 pixels: 11,689,512 parameters."""
    return _imagenet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, seed, dtype)


@register(image_size=224)
def resnet34(num_classes: int = 1000, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-34 for images of 224×224 pixels: 21,797,672 parameters."""
    return _imagenet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, seed, dtype)


@register(image_size=224)
def resnet50(num_classes: int = 1000, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-50 for images of 224×224 pixels: 25,557,032 parameters."""
    return _imagenet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, seed, dtype)


@register(image_size=224)
def resnet101(num_classes: int = 1000, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-101 for images of 224×224 pixels: 44,549,160 parameters."""
    return _imagenet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, seed, dtype)


@register(image_size=224)
def resnet152(num_classes: int = 1000, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32") -> ResNet:
    """ResNet-152 for images of 224×224 pixels: 60,192,808 parameters."""
    return _imagenet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels, seed, dtype)
