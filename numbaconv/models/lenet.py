"""LeNet-5.

Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE 86, 1998, with
the simplifications usual today: full connections from the first pooling on, plain average pooling, linear outputs.
"""

from __future__ import annotations

from collections import OrderedDict

from numpy.typing import DTypeLike

from numbaconv.nn import AvgPool2d, Conv2d, Flatten, Linear, Sequential, Tanh
from numbaconv.nn.init import as_generator

from .registry import register


@register
def lenet5(num_classes: int = 10, in_channels: int = 1, seed: int = 0, dtype: DTypeLike = "float32") -> Sequential:
    """Build LeNet-5 for images of 32×32 pixels; 61,706 parameters for ten classes and one channel.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        seed: of the initial weights.
        dtype: of the parameters.
    """
    generator = as_generator(seed)

    def conv(inputs: int, outputs: int) -> Conv2d:
        return Conv2d(inputs, outputs, 5, dtype=dtype, generator=generator)

    def linear(inputs: int, outputs: int) -> Linear:
        return Linear(inputs, outputs, dtype=dtype, generator=generator)

    return Sequential(
        OrderedDict(
            conv1=conv(in_channels, 6),  # 28×28
            tanh1=Tanh(),
            pool1=AvgPool2d(2),  # 14×14
            conv2=conv(6, 16),  # 10×10
            tanh2=Tanh(),
            pool2=AvgPool2d(2),  # 5×5
            flatten=Flatten(),
            fc1=linear(16 * 5 * 5, 120),
            tanh3=Tanh(),
            fc2=linear(120, 84),
            tanh4=Tanh(),
            fc3=linear(84, num_classes),
        )
    )
