"""Convolutions made of smaller ones: depthwise separable, spatially separable, and in place of a full connection."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .arguments import IntOrTuple, as_tuple, positive
from .conv import Conv2d
from .init import GeneratorLike, as_generator
from .linear import Linear
from .module import Module


class SeparableConv2d(Module):
    """A depthwise convolution, a filter for each channel, and a 1x1 convolution that mixes the channels.

    ``kernel_size² + out_channels`` products for a number instead of ``kernel_size² · out_channels``. Arguments as for
    ``Conv2d``; each channel gets ``depth_multiplier`` depthwise filters. Parts: ``depthwise``, ``pointwise``.

    Source: Howard et al., MobileNets, arXiv 1704.04861, section 3.1; Chollet, Xception, arXiv 1610.02357.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: Any = 0,
        dilation: IntOrTuple = 1,
        bias: bool = True,
        depth_multiplier: int = 1,
        *,
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        super().__init__()
        generator = as_generator(generator)
        inner = positive("SeparableConv2d", "depth_multiplier", depth_multiplier) * in_channels
        self.depthwise = Conv2d(
            in_channels, inner, kernel_size, stride, padding, dilation, groups=in_channels, bias=False, dtype=dtype,
            generator=generator,
        )  # fmt: skip
        self.pointwise = Conv2d(inner, out_channels, 1, bias=bias, dtype=dtype, generator=generator)

    def forward(self, x: Any) -> Any:
        """``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``."""
        return self.pointwise(self.depthwise(x))


class Factors(NamedTuple):
    """Two one-dimensional convolutions in place of one.

    Attributes:
        vertical: (groups · rank, C / groups, R, 1).
        horizontal: (K, rank, 1, S).
        error: Frobenius norm of what is left out over that of the weight.
    """

    vertical: np.ndarray
    horizontal: np.ndarray
    error: float


def factorize(weight: Any, rank: int | None = None, groups: int = 1) -> Factors:
    """Split a filter into vertical filters to ``rank`` channels and horizontal ones from these: the best there are.

    weight (K, C / groups, R, S). Each group's weight is a matrix of C / groups · R rows and K / groups · S columns; the
    largest ``rank`` of its singular values are kept, and shared evenly between the factors. The default rank loses
    nothing: min(C / groups · R, K / groups · S).

    Raises:
        ValueError: if the weight has not four dimensions, or the rank or the groups cannot be.

    Source: Jaderberg et al., arXiv 1405.3866, scheme 2; Tai et al., arXiv 1511.06067, theorem 1 (closed form).
    """
    weight = np.asarray(weight)
    if weight.ndim != 4:
        raise ValueError(f"factorize: weight must have 4 dimensions, its shape is {weight.shape}")
    outputs, depth, height, width = weight.shape
    if outputs % positive("factorize", "groups", groups):
        raise ValueError(f"factorize: {outputs} output channels cannot be divided into {groups} groups")
    per_group = outputs // groups
    most = min(depth * height, per_group * width)
    rank = most if rank is None else positive("factorize", "rank", rank)
    if rank > most:
        raise ValueError(f"factorize: a rank of {rank} is more than the filter's, which is at most {most}")
    matrices = weight.reshape(groups, per_group, depth, height, width).transpose(0, 2, 3, 1, 4)
    left, values, right = np.linalg.svd(
        matrices.reshape(groups, depth * height, per_group * width).astype(np.float64), full_matrices=False
    )
    root = np.sqrt(values[:, None, :rank])
    vertical = (left[:, :, :rank] * root).reshape(groups, depth, height, rank).transpose(0, 3, 1, 2)
    horizontal = (right[:, :rank].transpose(0, 2, 1) * root).reshape(groups, per_group, width, rank)
    lost, whole = (float(np.sqrt((v * v).sum())) for v in (values[:, rank:], values))
    return Factors(
        vertical.reshape(groups * rank, depth, height, 1).astype(weight.dtype),
        horizontal.transpose(0, 1, 3, 2).reshape(outputs, rank, 1, width).astype(weight.dtype),
        lost / whole if whole else 0.0,
    )


class SpatialConv2d(Module):
    """A spatially separable convolution: R x 1 filters to ``rank`` channels, and 1 x S filters from these.

    Arguments as for ``Conv2d``; ``rank`` channels for each group lie between the two, by default as many as come out.
    Parts: ``vertical``, ``horizontal``. ``from_conv`` makes one of a trained convolution.

    Source: Jaderberg et al., arXiv 1405.3866, scheme 2.
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
        rank: int | None = None,
        *,
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        super().__init__()
        name = "SpatialConv2d"
        height, width = as_tuple(name, "kernel_size", kernel_size, 2)
        stride, dilation = as_tuple(name, "stride", stride, 2), as_tuple(name, "dilation", dilation, 2)
        padding = as_tuple(name, "padding", padding, 2, least=0)
        generator = as_generator(generator)
        inner = groups * (out_channels // groups if rank is None else positive(name, "rank", rank))
        self.vertical = Conv2d(
            in_channels, inner, (height, 1), (stride[0], 1), (padding[0], 0), (dilation[0], 1), groups, bias=False,
            dtype=dtype, generator=generator,
        )  # fmt: skip
        self.horizontal = Conv2d(
            inner, out_channels, (1, width), (1, stride[1]), (0, padding[1]), (1, dilation[1]), groups, bias=bias,
            dtype=dtype, generator=generator,
        )  # fmt: skip

    @classmethod
    def from_conv(cls, conv: Conv2d, rank: int | None = None) -> SpatialConv2d:
        """The layer that comes closest to a trained one with so many channels in between (``factorize``).

        Raises:
            ValueError: if the convolution does not pad with zeros, by as much on both sides.
        """
        if conv.padding_mode != "zeros" or not all(isinstance(p, int) for p in conv.padding):
            raise ValueError("SpatialConv2d: a convolution is taken apart only if its padding is zeros, as numbers")
        factors = factorize(conv.weight.data, rank, conv.groups)
        layer = cls(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
            conv.groups, conv.bias is not None, factors.horizontal.shape[1], dtype=conv.weight.dtype, generator=0,
        )  # fmt: skip
        layer.vertical.weight.data[...] = factors.vertical
        layer.horizontal.weight.data[...] = factors.horizontal
        if conv.bias is not None:
            layer.horizontal.bias.data[...] = conv.bias.data
        return layer

    def forward(self, x: Any) -> Any:
        """``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``."""
        return self.horizontal(self.vertical(x))


def conv_from_linear(layer: Linear, channels: int, size: IntOrTuple) -> Conv2d:
    """The convolution in place of a full connection of flattened images: one position, the same numbers.

    Its filters are as large as the images, ``channels`` of ``size`` pixels. On larger images it gives a map of what the
    connected layer would give at each position.

    Raises:
        ValueError: if such images do not have as many numbers as the layer takes.

    Source: Long et al., Fully Convolutional Networks, arXiv 1411.4038, section 3.1.
    """
    height, width = as_tuple("conv_from_linear", "size", size, 2)
    if positive("conv_from_linear", "channels", channels) * height * width != layer.in_features:
        image = f"({channels}, {height}, {width})"
        raise ValueError(f"conv_from_linear: images {image} do not have {layer.in_features} numbers")
    weight, bias = layer.weight.data, layer.bias
    conv = Conv2d(channels, layer.out_features, (height, width), bias=bias is not None, dtype=weight.dtype, generator=0)
    conv.weight.data[...] = weight.reshape(conv.weight.shape)
    if bias is not None:
        conv.bias.data[...] = bias.data
    return conv
