"""The classical filters as layers, frozen or trained; the arrays are those of ``numbaconv.filters``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from numbaconv import filters as arrays

from .arguments import IntOrTuple, positive
from .conv import Conv2d


class FilterBank(Conv2d):
    """Every filter of a bank applied to every channel by itself: a depthwise convolution with given weights.

    Args:
        filters: (filters, height, width).
        in_channels: of the images.
        trainable: whether training changes the filters.
        stride, padding, padding_mode: as for ``Conv2d``; as many pixels come out as go in by default.
        dtype: of the images.

    Raises:
        ValueError: if the filters have another number of dimensions.
    """

    def __init__(
        self,
        filters: Any,
        in_channels: int = 1,
        *,
        trainable: bool = False,
        stride: IntOrTuple = 1,
        padding: Any = "same",
        padding_mode: str = "zeros",
        dtype: DTypeLike = np.float32,
    ) -> None:
        filters = np.asarray(filters)
        if filters.ndim != 3:
            raise ValueError(f"{type(self).__name__}: filters must have 3 dimensions, their shape is {filters.shape}")
        channels = positive(type(self).__name__, "in_channels", in_channels)
        if padding == "same":  # with a stride too: as many positions as there are strides in the image
            padding = tuple(((n - 1) // 2, n // 2) for n in filters.shape[1:])
        super().__init__(
            channels, channels * len(filters), filters.shape[1:], stride, padding, groups=channels, bias=False,
            padding_mode=padding_mode, dtype=dtype, generator=0,
        )  # fmt: skip
        self.weight.data[...] = np.tile(filters, (channels, 1, 1))[:, None]
        self.weight.trainable = trainable

    def forward(self, x: Any) -> Any:
        """``(N, C, H, W)`` to ``(N, C · filters, H', W')``, the filters of a channel next to each other."""
        return super().forward(x)


class Sobel(FilterBank):
    """Slopes to the right and downwards; see ``filters.sobel`` and ``FilterBank``."""

    def __init__(self, in_channels: int = 1, **options: Any) -> None:
        super().__init__(arrays.sobel(), in_channels, **options)


class Prewitt(FilterBank):
    """Slopes to the right and downwards; see ``filters.prewitt`` and ``FilterBank``."""

    def __init__(self, in_channels: int = 1, **options: Any) -> None:
        super().__init__(arrays.prewitt(), in_channels, **options)


class Laplacian(FilterBank):
    """The sum of second differences; see ``filters.laplacian`` and ``FilterBank``."""

    def __init__(self, in_channels: int = 1, neighbours: int = 4, **options: Any) -> None:
        super().__init__(arrays.laplacian(neighbours), in_channels, **options)


class Gaussian(FilterBank):
    """Smoothing; see ``filters.gaussian`` and ``FilterBank``. ``size`` reaches three standard deviations by default."""

    def __init__(self, in_channels: int = 1, sigma: float = 1.0, size: int | None = None, **options: Any) -> None:
        super().__init__(arrays.gaussian(_reach(sigma) if size is None else size, sigma), in_channels, **options)


class DifferenceOfGaussians(FilterBank):
    """A detector of bright dots; see ``filters.difference_of_gaussians`` and ``FilterBank``.

    ``size`` reaches three standard deviations of the wider one by default.
    """

    def __init__(
        self, in_channels: int = 1, sigma: float = 1.0, ratio: float = 1.6, size: int | None = None, **options: Any
    ) -> None:
        size = _reach(ratio * sigma) if size is None else size
        super().__init__(arrays.difference_of_gaussians(size, sigma, ratio), in_channels, **options)


class Gabor(FilterBank):
    """A bank of waves under a bell; see ``filters.gabor`` and ``FilterBank``."""

    def __init__(
        self,
        in_channels: int = 1,
        size: int = 11,
        orientations: int = 8,
        wavelengths: Sequence[float] = (4.0,),
        phases: Sequence[float] = (0.0, math.pi / 2),
        **options: Any,
    ) -> None:
        super().__init__(arrays.gabor(size, orientations, wavelengths, phases), in_channels, **options)


def _reach(sigma: float) -> int:
    """An odd size that reaches three standard deviations to each side."""
    return 2 * math.ceil(3 * sigma) + 1
