"""FastNet: a small network that learns CIFAR-10 in few epochs.

Eight layers of our own choice, put together of what the literature on fast training found to save epochs: a first
layer that whitens patches and is not trained, wide layers early, identity filters as initial weights, batch
normalisation without trained scales and with quick statistics, scaled-down scores.

Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv 2404.00498, sections 3.1 to 3.3; Page, How to
Train Your ResNet 8: Bag of Tricks, 2019 (whitening).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.nn import BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, Sequential
from numbaconv.nn.init import as_generator

from .pixels import require_pixels
from .registry import register

ACTIVATIONS = ("relu", "gelu")

_PATCH = 2  # pixels of the first layer's filters in each direction
_SAMPLE = 5000  # images that the whitening is computed from
_EPS = 5e-4  # added to the variances of the patches, that noise is not blown up
_SCORE_SCALE = 1 / 9


class FastBlock(Module):
    """Convolution, pooling, normalisation, activation; convolution, normalisation, activation."""

    def __init__(self, inputs: int, outputs: int, activation: str, **options: Any) -> None:
        super().__init__()
        self.activation = activation
        self.conv1 = Conv2d(inputs, outputs, 3, padding=1, bias=False, **options)
        self.pool = MaxPool2d(2)
        self.norm1 = _shifting_norm(outputs, options["dtype"])
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1, bias=False, **options)
        self.norm2 = _shifting_norm(outputs, options["dtype"])
        _identity_first_(self.conv1)
        _identity_first_(self.conv2)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, inputs, H, W)`` to ``(N, outputs, H / 2, W / 2)``."""
        activate = getattr(F, self.activation)
        x = activate(self.norm1(self.pool(self.conv1(x))))
        return activate(self.norm2(self.conv2(x)))


class FastNet(Module):
    """The whitening layer, three blocks, maximum over pixels, linear outputs; see ``fastnet``."""

    def __init__(
        self, num_classes: int, in_channels: int, widths: Sequence[int], activation: str, seed: int, dtype: DTypeLike
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"fastnet: activation must be {' or '.join(map(repr, ACTIVATIONS))}, got {activation!r}")
        options: dict[str, Any] = {"dtype": dtype, "generator": as_generator(seed)}
        self.activation = activation
        directions = in_channels * _PATCH**2
        self.whiten = Conv2d(in_channels, 2 * directions, _PATCH, bias=False, **options)
        self.whiten.weight.trainable = False
        blocks = []
        inputs = 2 * directions
        for width in widths:
            blocks.append(FastBlock(inputs, width, activation, **options))
            inputs = width
        self.blocks = Sequential(*blocks)
        self.least = (1 << len(widths)) + _PATCH - 1
        self.fc = Linear(inputs, num_classes, bias=False, **options)

    def prepare(self, images: np.ndarray) -> None:
        """Set the first layer's filters to those that whiten the patches of images.

        They are the principal directions of all 2×2 patches, each divided by its standard deviation, and the same
        with the other sign, since the activation lets only one sign through.

        Args:
            images: ``(N, in_channels, H, W)``, as training sees them; the first 5,000 count.
        """
        windows = np.lib.stride_tricks.sliding_window_view(images[:_SAMPLE], (_PATCH, _PATCH), axis=(2, 3))
        patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, self.whiten.weight.data[0].size).astype(np.float64)
        variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))
        filters = (directions / np.sqrt(variances + _EPS)).T[::-1]
        # A direction's sign is arbitrary; the largest entry decides, that every machine has the same.
        filters *= np.sign(np.take_along_axis(filters, np.abs(filters).argmax(axis=1)[:, None], 1))
        weight = self.whiten.weight.data
        weight[...] = np.concatenate([filters, -filters]).reshape(weight.shape)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, H, W)``, 9 pixels or more, to scores ``(N, num_classes)``."""
        require_pixels("fastnet", x, self.least)
        y = self.blocks(getattr(F, self.activation)(self.whiten(x)))
        y = F.flatten(F.max_pool2d(y, tuple(y.shape[2:])), 1)
        return F.multiply(self.fc(y), _SCORE_SCALE)


def _shifting_norm(channels: int, dtype: DTypeLike) -> BatchNorm2d:
    """Batch normalisation that learns no scale, and whose running statistics forget quickly."""
    norm = BatchNorm2d(channels, momentum=0.4, dtype=dtype)
    assert norm.weight is not None
    norm.weight.trainable = False
    return norm


def _identity_first_(conv: Conv2d) -> None:
    """Let the first filters of a convolution pass their channel on unchanged."""
    filters = conv.weight.data
    passed = np.arange(min(filters.shape[:2]))
    filters[passed] = 0
    filters[passed, passed, filters.shape[2] // 2, filters.shape[3] // 2] = 1


@register
def fastnet(
    num_classes: int = 10, in_channels: int = 3, widths: Sequence[int] = (64, 256, 256), activation: str = "gelu",
    seed: int = 0, dtype: DTypeLike = "float32",
) -> FastNet:  # fmt: skip
    """FastNet for images of 32×32 pixels: 1,972,768 parameters, 118 million multiply-adds an image.

    Its first layer is not trained: ``Trainer.fit`` shows the network the training images before the first step
    (``prepare``).

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        widths: channels of the blocks; each halves the image.
        activation: ``"relu"`` or ``"gelu"``.
        seed: of the initial weights.
        dtype: of the parameters.
    """
    return FastNet(num_classes, in_channels, list(widths), activation, seed, dtype)
