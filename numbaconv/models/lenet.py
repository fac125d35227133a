"""LeNet-5, as it is built today and as it was published.

Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE 86, 1998,
section II.B, figure 2 and table I.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.nn import AvgPool2d, Buffer, Conv2d, Flatten, Linear, Module, Parameter, Sequential, Tanh
from numbaconv.nn.init import as_generator, fan_in, uniform_, zeros_

from .registry import register


@register
def lenet5(num_classes: int = 10, in_channels: int = 1, seed: int = 0, dtype: DTypeLike = "float32") -> Sequential:
    """Build LeNet-5 for images of 32×32 pixels; 61,706 parameters for ten classes and one channel.

    With the simplifications usual today: full connections from the first pooling on, plain average pooling, linear
    outputs; ``lenet5_1998`` is the original.

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


# ------------------------------------------------------------------------------------------------ as published

#: Maps of S2 that each of C3's maps sees (table I): six see three neighbours, six four, three two pairs, the last all.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

#: The stylised characters of 7×12 pixels that the outputs are compared with (after figure 3), a row of pixels a word.
_CHARACTERS = (
    "....... ..###.. .##.##. ##...## ##...## ##...## ##...## ##...## ##...## .##.##. ..###.. .......",
    "....... ...##.. ..###.. .####.. ...##.. ...##.. ...##.. ...##.. ...##.. ...##.. .###### .......",
    "....... .#####. ##...## ##...## .....## ....##. ...##.. ..##... .##.... ##..... ####### .......",
    "....... ####### .....## ....##. ...##.. ..####. .....## .....## .....## ##...## .#####. .......",
    "....... ....##. ...###. ..####. .##.##. ##..##. ##..##. ####### ....##. ....##. ....##. .......",
    "....... ####### ##..... ##..... ##..... ######. .....## .....## .....## ##...## .#####. .......",
    "....... ..####. .##.... ##..... ##..... ######. ##...## ##...## ##...## .##.##. ..###.. .......",
    "....... ####### .....## .....## ....##. ....##. ...##.. ...##.. ..##... ..##... ..##... .......",
    "....... .#####. ##...## ##...## ##...## .#####. ##...## ##...## ##...## ##...## .#####. .......",
    "....... ..###.. .##.##. ##...## ##...## ##...## .###### .....## .....## ....##. .####.. .......",
)


class SquashingTanh(Module):
    """A tanh(S x) with A = 1.7159 and S = 2/3, so that ±1 stay ±1 (appendix A of the paper)."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return F.multiply(F.tanh(F.multiply(x, 2.0 / 3.0)), 1.7159)


class Subsampling(Module):
    """The sum of four neighbours, times one trained number a channel, plus another."""

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__()
        self.affine = Conv2d(channels, channels, 1, groups=channels, **options)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, C, H, W)`` to ``(N, C, H / 2, W / 2)``."""
        return self.affine(F.avg_pool2d(x, 2, divisor_override=1))


class TableConv2d(Module):
    """A convolution whose every output channel sees some of the input channels only.

    ``weight`` has shape ``(connections, *kernel_size)``, in the order of the table. For the convolution it is spread
    over a filter of zeros, which is itself a 1×1 convolution of the kernels, as pixels, with a table of 0 and 1.

    Args:
        in_channels: channels of the images.
        table: for each output channel, the input channels it sees.
        kernel_size: pixels of a filter in each direction.
        dtype: of the parameters.
        generator: of the initial weights.
    """

    def __init__(
        self,
        in_channels: int,
        table: tuple[tuple[int, ...], ...],
        kernel_size: int,
        *,
        dtype: DTypeLike,
        generator: np.random.Generator,
    ) -> None:
        super().__init__()
        pairs = [(output, seen) for output, row in enumerate(table) for seen in row]
        spread = np.zeros((len(table) * in_channels, len(pairs), 1, 1), dtype)
        for connection, (output, seen) in enumerate(pairs):
            spread[output * in_channels + seen, connection] = 1
        self.spread = Buffer(spread)
        self.filter_shape = (len(table), in_channels, kernel_size, kernel_size)
        self.weight = Parameter(np.empty((len(pairs), kernel_size, kernel_size), dtype))
        self.bias = Parameter(np.zeros(len(table), dtype))
        connections = iter(self.weight.data)
        for row in table:
            bound = 2.4 / (len(row) * kernel_size**2)
            for _ in row:
                next(connections)[...] = generator.uniform(-bound, bound, (kernel_size, kernel_size))

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, H, W)`` to ``(N, outputs, H', W')``."""
        weight = x.graph.leaf(self.weight)  # Part of the trace, where a bare parameter would be its numbers of now.
        kernels = F.reshape(weight, (1, *weight.shape))
        return F.conv2d(x, F.reshape(F.conv2d(kernels, self.spread), self.filter_shape), self.bias)


class Rbf(Module):
    """Minus the squared distance of the features to each class's character, whose pixels are ±1 and not trained.

    Cross-entropy of these scores is the paper's criterion (9) without its term for rubbish.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        super().__init__()
        rows = [[1.0 if pixel == "#" else -1.0 for pixel in text.replace(" ", "")] for text in _CHARACTERS]
        self.centres = Buffer(np.array(rows, dtype))

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, 84)`` to scores ``(N, 10)``."""
        centres = x.graph.leaf(self.centres)
        # -|x - c|² = 2 x·c - |c|² - x²·c², for every pixel of c is ±1.
        scores = F.subtract(F.linear(F.multiply(x, 2.0), centres), float(centres.shape[1]))
        return F.subtract(scores, F.linear(F.multiply(x, x), F.multiply(centres, centres)))


@register
def lenet5_1998(
    num_classes: int = 10, in_channels: int = 1, head: str = "rbf", seed: int = 0, dtype: DTypeLike = "float32"
) -> Sequential:
    """Build LeNet-5 as published, for images of 32×32 pixels; 60,000 trained parameters.

    Its second convolution sees only some of the maps (``C3_TABLE``), its pooling has trained coefficients, and its
    outputs are distances to fixed characters.

    Args:
        num_classes: number of outputs; ten with ``head="rbf"``.
        in_channels: channels of the images.
        head: ``"rbf"``, or ``"linear"`` for an ordinary layer in place of the distances.
        seed: of the initial weights.
        dtype: of the parameters.

    Raises:
        ValueError: if there is no such head, or it does not have so many classes.
    """
    if head not in ("rbf", "linear"):
        raise ValueError(f"lenet5_1998: head must be 'rbf' or 'linear', got {head!r}")
    if head == "rbf" and num_classes != len(_CHARACTERS):
        raise ValueError(f"lenet5_1998: head 'rbf' knows {len(_CHARACTERS)} characters, not {num_classes} classes")
    generator = as_generator(seed)
    options: dict[str, Any] = {"dtype": dtype, "generator": generator}
    model = Sequential(
        OrderedDict(
            c1=Conv2d(in_channels, 6, 5, **options),  # 28×28
            s2=Subsampling(6, **options),  # 14×14
            squash2=SquashingTanh(),
            c3=TableConv2d(6, C3_TABLE, 5, **options),  # 10×10
            s4=Subsampling(16, **options),  # 5×5
            squash4=SquashingTanh(),
            c5=Conv2d(16, 120, 5, **options),  # 1×1
            squash5=SquashingTanh(),
            flatten=Flatten(),
            f6=Linear(120, 84, **options),
            squash6=SquashingTanh(),
            output=Rbf(dtype) if head == "rbf" else Linear(84, num_classes, **options),
        )
    )
    for module in model.modules():  # U(-2.4 / F, 2.4 / F), F being the inputs of a unit (appendix A)
        if isinstance(module, (Conv2d, Linear)):
            # A coefficient of S2 and S4 weighs the sum of four pixels.
            inputs = 4 if isinstance(module, Conv2d) and module.groups > 1 else fan_in(module.weight.shape)
            uniform_(module.weight, -2.4 / inputs, 2.4 / inputs, generator)
            if module.bias is not None:
                zeros_(module.bias)
    return model
