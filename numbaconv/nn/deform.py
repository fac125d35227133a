"""Deformable convolution by the name and arguments of torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F

from .arguments import IntOrTuple, as_tuple
from .conv import Filters
from .init import GeneratorLike


class DeformConv2d(Filters):
    """Deformable convolution; arguments of ``torchvision.ops.DeformConv2d``.

    The offsets (and masks) are an input: usually what a ``Conv2d`` makes of the same images. Version 1 without a mask,
    version 2 with one.

    Raises:
        ValueError, TypeError: if an argument cannot be.
    """

    dims = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: IntOrTuple = 0,
        dilation: IntOrTuple = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        padding = as_tuple("DeformConv2d", "padding", padding, self.dims, least=0)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype, generator
        )

    def forward(self, x: Any, offset: Any, mask: Any = None) -> Any:  # type: ignore[override]
        """Images ``(N, in_channels, H, W)``, offsets ``(N, 2 G R S, H', W')``, masks ``(N, G R S, H', W')``."""
        return F.deform_conv2d(
            x, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask
        )  # fmt: skip
