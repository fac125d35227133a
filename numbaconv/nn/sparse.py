"""Layers of sparse arrays, by the names of spconv; see ``numbaconv.sparse``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.sparse import SparseConvTensor, output_shape

from .arguments import IntOrTuple, as_tuple
from .container import Sequential
from .conv import Filters
from .init import GeneratorLike
from .module import Module


class SparseModule(Module):
    """A layer from a ``SparseConvTensor`` to another one, inside a trace or outside."""

    def __call__(self, x: SparseConvTensor) -> Any:
        """Apply the layer."""
        if not isinstance(x, SparseConvTensor):
            raise TypeError(f"{type(self).__name__}: expected a SparseConvTensor, got {type(x).__name__}")
        return self.forward(x)


class _SparseConvNd(SparseModule, Filters):
    """Sparse convolution over ``dims`` spatial dimensions; arguments of spconv's layers.

    The weight has shape ``(out_channels, *kernel_size, in_channels)``, as in spconv 2. Rulebooks are kept with the
    sites and shared by all layers of one geometry, so there is no ``indice_key``.

    Raises:
        ValueError, TypeError: if an argument cannot be.
    """

    subm: ClassVar[bool]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: IntOrTuple = 0,
        dilation: IntOrTuple = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        name = type(self).__name__
        padding = as_tuple(name, "padding", padding, self.dims, least=0)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, 1, bias, dtype, generator)
        if self.subm and (set(self.stride) != {1} or any(k % 2 == 0 for k in self.kernel_size)):
            raise ValueError(f"{name}: a submanifold convolution needs odd kernel sizes and stride 1")

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, *self.kernel_size, self.in_channels)

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        """``x`` with ``in_channels`` features a site to one with ``out_channels``."""
        geometry = (self.kernel_size, self.stride, self.padding, self.dilation)
        rules = x.rulebook(*geometry, self.subm)
        features = F.sparse_conv(x.features, self.weight, rules, self.bias)
        if self.subm:
            return x.replace_feature(features)
        return SparseConvTensor(features, rules.indices, output_shape(x.spatial_shape, *geometry), x.batch_size)

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        if not self.subm:
            text += f", stride={self.stride}"
        if not self.subm and self.padding != (0,) * self.dims:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.dims:
            text += f", dilation={self.dilation}"
        return text if self.bias is not None else text + ", bias=False"


class SparseConv2d(_SparseConvNd):
    """Sparse convolution of images: every place that a site reaches is a site of the result."""

    dims, subm = 2, False


class SparseConv3d(_SparseConvNd):
    """Sparse convolution of volumes: every place that a site reaches is a site of the result."""

    dims, subm = 3, False


class SubMConv2d(_SparseConvNd):
    """Submanifold sparse convolution of images: the sites stay what they are."""

    dims, subm = 2, True


class SubMConv3d(_SparseConvNd):
    """Submanifold sparse convolution of volumes: the sites stay what they are."""

    dims, subm = 3, True


class ToDense(SparseModule):
    """A sparse array as a dense one, ``(N, C, *spatial)``."""

    def forward(self, x: SparseConvTensor) -> Any:
        """Zeros where there is no site."""
        return x.dense()


class SparseSequential(Sequential):
    """Modules one after another; those that are not sparse are applied to the features ``(sites, C)``."""

    def __call__(self, *args: Any) -> Any:
        """Apply the modules; behind ``ToDense`` the values are dense."""
        return self.forward(*args)

    def forward(self, x: Any) -> Any:
        """As ``__call__``."""
        for module in self._modules.values():
            if isinstance(x, SparseConvTensor) and not isinstance(module, (SparseModule, SparseSequential)):
                x = x.replace_feature(module(x.features))
            else:
                x = module(x)
        return x
