"""Convolution layers and transposed ones, in one to three dimensions: one implementation behind thin names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.ops.conv import padding_pairs

from .arguments import IntOrTuple, as_tuple, positive
from .init import GeneratorLike, init_affine_
from .module import Module, Parameter

#: What surrounds the input, and the mode of ``functional.pad`` that makes it.
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class Filters(Module):
    """What all kinds of convolution have in common: their geometry, weight and bias.

    Weight and bias are filled from U(-b, b), b = 1 / sqrt(fan_in), as in PyTorch.
    """

    dims: ClassVar[int]
    algo = "auto"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple,
        padding: Any,
        dilation: IntOrTuple,
        groups: int,
        bias: bool,
        dtype: DTypeLike,
        generator: GeneratorLike,
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
        self.weight = Parameter(np.empty(self._weight_shape(), dtype))
        self.register_parameter("bias", Parameter(np.empty(out_channels, dtype)) if bias else None)
        init_affine_(self.weight, self.bias, generator)

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

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


class _ConvNd(Filters):
    """Convolution over ``dims`` spatial dimensions; arguments of ``torch.nn.Conv2d``.

    The weight has shape ``(out_channels, in_channels / groups, *kernel_size)``, the bias ``(out_channels,)``.
    ``padding`` may also be ``"same"``, ``"valid"`` or ``"full"``, or whatever else ``functional`` takes, and ``algo``
    is that of ``functional``. ``padding_mode`` says what surrounds the input: ``"zeros"``, or by ``"reflect"``,
    ``"replicate"`` and ``"circular"`` its own pixels.

    Raises:
        ValueError, TypeError: if an argument cannot be.
    """

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
        padding_mode: str = "zeros",
        *,
        algo: str = "auto",
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype, generator
        )
        self.algo = algo
        if padding_mode not in PADDING_MODES:
            modes = ", ".join(PADDING_MODES)
            raise ValueError(f"{type(self).__name__}: padding_mode must be one of {modes}, not {padding_mode!r}")
        self.padding_mode = padding_mode

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_channels, *spatial)`` to ``(N, out_channels, *spatial)``."""
        convolve = (F.conv1d, F.conv2d, F.conv3d)[self.dims - 1]
        padding = self.padding
        if self.padding_mode != "zeros":
            pairs = padding_pairs(type(self).__name__, padding, self.kernel_size, self.dilation, self.stride)
            around = tuple(p for pair in reversed(pairs) for p in pair)
            x, padding = F.pad(x, around, mode=PADDING_MODES[self.padding_mode]), 0
        return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, algo=self.algo)

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, as PyTorch shows them."""
        text = super().extra_repr()
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class Conv1d(_ConvNd):
    """Convolution of ``(N, C, L)``; see ``_ConvNd``."""

    dims = 1


class Conv2d(_ConvNd):
    """Convolution of ``(N, C, H, W)``; see ``_ConvNd``."""

    dims = 2


class Conv3d(_ConvNd):
    """Convolution of ``(N, C, D, H, W)``; see ``_ConvNd``."""

    dims = 3


class _ConvTransposeNd(Filters):
    """Transposed convolution over ``dims`` spatial dimensions; arguments of ``torch.nn.ConvTranspose2d``.

    The weight has shape ``(in_channels, out_channels / groups, *kernel_size)``, the bias ``(out_channels,)``.

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
        output_padding: IntOrTuple = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOrTuple = 1,
        padding_mode: str = "zeros",
        *,
        algo: str = "auto",
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f'{name}: padding_mode can only be "zeros", not {padding_mode!r}')
        padding = as_tuple(name, "padding", padding, self.dims, least=0)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype, generator
        )
        self.algo = algo
        self.output_padding = as_tuple(name, "output_padding", output_padding, self.dims, least=0)

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def forward(self, x: Any, output_size: Sequence[int] | None = None) -> Any:
        """``x`` of shape ``(N, in_channels, *spatial)`` to ``(N, out_channels, *spatial)``.

        ``output_size``: the pixels of the result, with or without ``(N, out_channels)`` in front, in place of
        ``output_padding``; with a stride several sizes are possible.
        """
        convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.dims - 1]
        further = self.output_padding if output_size is None else self._output_padding(x.shape, output_size)
        return convolve(
            x, self.weight, self.bias, self.stride, self.padding, further, self.groups, self.dilation, algo=self.algo
        )

    def _output_padding(self, shape: tuple[int, ...], output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives a result of ``output_size``."""
        name = type(self).__name__
        wanted = as_tuple(name, "output_size", tuple(output_size)[-self.dims :], self.dims)
        if len(output_size) not in (self.dims, len(shape)):
            raise ValueError(f"{name}: output_size must have {self.dims} or {len(shape)} numbers, got {output_size}")
        geometry = zip(shape[-self.dims :], self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in geometry]
        for size, low, s in zip(wanted, least, self.stride, strict=True):
            if not low <= size < low + s:
                high = tuple(a + b - 1 for a, b in zip(least, self.stride, strict=True))
                raise ValueError(f"{name}: output_size must lie between {tuple(least)} and {high}, got {wanted}")
        return tuple(size - low for size, low in zip(wanted, least, strict=True))

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, as PyTorch shows them."""
        text = super().extra_repr()
        return text if not any(self.output_padding) else f"{text}, output_padding={self.output_padding}"


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution of ``(N, C, L)``; see ``_ConvTransposeNd``."""

    dims = 1


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution of ``(N, C, H, W)``; see ``_ConvTransposeNd``."""

    dims = 2


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution of ``(N, C, D, H, W)``; see ``_ConvTransposeNd``."""

    dims = 3
