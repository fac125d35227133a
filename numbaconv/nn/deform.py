"""Deformable convolution by the name and arguments of torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F

from .arguments import IntOrTuple, as_tuple, positive
from .init import GeneratorLike, init_affine_
from .module import Module, Parameter


class DeformConv2d(Module):
    """Deformable convolution; arguments of ``torchvision.ops.DeformConv2d``.

    The offsets (and masks) are an input: usually what a ``Conv2d`` makes of the same images. Version 1 without a mask,
    version 2 with one.

    Raises:
        ValueError, TypeError: if an argument cannot be.
    """

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
        super().__init__()
        self.in_channels = positive("DeformConv2d", "in_channels", in_channels)
        self.out_channels = positive("DeformConv2d", "out_channels", out_channels)
        self.groups = positive("DeformConv2d", "groups", groups)
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"DeformConv2d: {what} ({channels}) must be divisible by groups ({groups})")
        self.kernel_size = as_tuple("DeformConv2d", "kernel_size", kernel_size, 2)
        self.stride = as_tuple("DeformConv2d", "stride", stride, 2)
        self.padding = as_tuple("DeformConv2d", "padding", padding, 2, least=0)
        self.dilation = as_tuple("DeformConv2d", "dilation", dilation, 2)
        self.weight = Parameter(np.empty((out_channels, in_channels // groups, *self.kernel_size), dtype))
        self.register_parameter("bias", Parameter(np.empty(out_channels, dtype)) if bias else None)
        init_affine_(self.weight, self.bias, generator)

    def forward(self, x: Any, offset: Any, mask: Any = None) -> Any:
        """Images ``(N, in_channels, H, W)``, offsets ``(N, 2 G R S, H', W')``, masks ``(N, G R S, H', W')``."""
        return F.deform_conv2d(
            x, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else text + ", bias=False"
