"""Initial weights, as torchvision's networks draw them."""

from __future__ import annotations

import numpy as np

from numbaconv.nn import Conv2d, Linear, Module
from numbaconv.nn.init import kaiming_normal_, normal_, zeros_


def init_convolutions_(model: Module, generator: np.random.Generator) -> None:
    """Fill the filters of a network by He et al.'s rule over outputs, and their biases with zeros."""
    for module in model.modules():
        if isinstance(module, Conv2d):
            kaiming_normal_(module.weight, "fan_out", generator)
            if module.bias is not None:
                zeros_(module.bias)


def init_linears_(model: Module, generator: np.random.Generator) -> None:
    """Fill the matrices of a network from N(0, 0.01²), and their biases with zeros: VGG's and MobileNet's rule."""
    for module in model.modules():
        if isinstance(module, Linear):
            normal_(module.weight, 0.0, 0.01, generator)
            if module.bias is not None:
                zeros_(module.bias)
