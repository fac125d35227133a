"""Convolution layers in one, two and three dimensions: one implementation behind three thin names."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F

from .arguments import IntOrTuple, as_tuple, positive
from .init import GeneratorLike, init_affine_
from .module import Module, Parameter


class _ConvNd(Module):
    """Convolution over ``dims`` spatial dimensions; arguments of ``torch.nn.Conv2d``.

    The weight has shape ``(out_channels, in_channels / groups, *kernel_size)``, the bias ``(out_channels,)``.
    ``padding`` may also be ``"same"`` or ``"valid"``, or whatever else ``functional`` takes, and ``algo`` is that of
    ``functional``. Both are filled from
    U(-b, b), b = 1 / sqrt(fan_in), as in PyTorch.

    Raises:
        ValueError, TypeError: if an argument cannot be.
    """

    dims: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: Any = 0,
        dilation: IntOrTuple = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        algo: str = "auto",
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = positive(name, "in_channels", in_channels)
        self.out_channels = positive(name, "out_channels", out_channels)
        self.groups = positive(name, "groups", groups)
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name}: {what} ({channels}) must be divisible by groups ({groups})")
        self.kernel_size = as_tuple(name, "kernel_size", kernel_size, self.dims)
        self.stride = as_tuple(name, "stride", stride, self.dims)
        self.padding = as_tuple(name, "padding", padding, self.dims, least=0) if isinstance(padding, int) else padding
        self.dilation = as_tuple(name, "dilation", dilation, self.dims)
        self.algo = algo
        self.weight = Parameter(np.empty((out_channels, in_channels // groups, *self.kernel_size), dtype))
        self.register_parameter("bias", Parameter(np.empty(out_channels, dtype)) if bias else None)
        init_affine_(self.weight, self.bias, generator)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, *spatial)`` to ``(N, out_channels, *spatial)``."""
        convolve = (F.conv1d, F.conv2d, F.conv3d)[self.dims - 1]
        return convolve(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, algo=self.algo
        )

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, as PyTorch shows them."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * self.dims:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.dims:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.algo != "auto":
            text += f", algo={self.algo!r}"
        return text if self.bias is not None else text + ", bias=False"


class Conv1d(_ConvNd):
    """Convolution of ``(N, C, L)``; see ``_ConvNd``."""

    dims = 1


class Conv2d(_ConvNd):
    """Convolution of ``(N, C, H, W)``; see ``_ConvNd``."""

    dims = 2


class Conv3d(_ConvNd):
    """Convolution of ``(N, C, D, H, W)``; see ``_ConvNd``."""

    dims = 3
