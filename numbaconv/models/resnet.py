"""Residual networks for images of 32×32 pixels.

Source: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385, section 4.2; shortcuts that change
the shape are 1×1 convolutions (option B), parameter names are torchvision's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.nn import BatchNorm2d, Conv2d, Linear, Module, ReLU, Sequential
from numbaconv.nn.init import as_generator

from .registry import register


class BasicBlock(Module):
    """Two 3×3 convolutions and a shortcut: relu(x + f(x))."""

    def __init__(self, inputs: int, outputs: int, stride: int, **options: Any) -> None:
        super().__init__()
        dtype = options["dtype"]
        self.conv1 = Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False, **options)
        self.bn1 = BatchNorm2d(outputs, dtype=dtype)
        self.relu = ReLU()
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1, bias=False, **options)
        self.bn2 = BatchNorm2d(outputs, dtype=dtype)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = Conv2d(inputs, outputs, 1, stride=stride, bias=False, **options)
            self.downsample = Sequential(shortcut, BatchNorm2d(outputs, dtype=dtype))

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(F.add(y, x if self.downsample is None else self.downsample(x)))


class CifarResNet(Module):
    """A stem and three stages of ``blocks`` blocks with 16, 32 and 64 channels, mean over pixels, linear outputs."""

    def __init__(self, blocks: int, num_classes: int, in_channels: int, seed: int, dtype: DTypeLike) -> None:
        super().__init__()
        options: dict[str, Any] = {"dtype": dtype, "generator": as_generator(seed)}
        self.conv1 = Conv2d(in_channels, 16, 3, padding=1, bias=False, **options)
        self.bn1 = BatchNorm2d(16, dtype=dtype)
        self.relu = ReLU()
        self.layer1 = self._stage(16, 16, 1, blocks, options)
        self.layer2 = self._stage(16, 32, 2, blocks, options)
        self.layer3 = self._stage(32, 64, 2, blocks, options)
        self.fc = Linear(64, num_classes, **options)
        for module in self.modules():
            if isinstance(module, Conv2d):  # He et al., arXiv 1502.01852, equation 10, over outputs as torchvision does
                fan_out = module.out_channels * int(np.prod(module.kernel_size))
                normal = options["generator"].standard_normal(module.weight.shape)
                module.weight.data[...] = normal * np.sqrt(2.0 / fan_out)

    @staticmethod
    def _stage(inputs: int, outputs: int, stride: int, blocks: int, options: dict[str, Any]) -> Sequential:
        first = BasicBlock(inputs, outputs, stride, **options)
        return Sequential(first, *(BasicBlock(outputs, outputs, 1, **options) for _ in range(blocks - 1)))

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, H, W)`` to scores ``(N, num_classes)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        return self.fc(F.flatten(F.avg_pool2d(y, tuple(y.shape[2:])), 1))


@register
def resnet20(
    num_classes: int = 10, in_channels: int = 3, seed: int = 0, dtype: DTypeLike = "float32"
) -> CifarResNet:
    """Build ResNet-20: 272,474 parameters, 41 million multiply-adds an image of 32×32 pixels.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        seed: of the initial weights.
        dtype: of the parameters.
    """
    return CifarResNet(3, num_classes, in_channels, seed, dtype)
