"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.ops.norm import count_batch

from .arguments import positive
from .module import Buffer, Module, Parameter


class _Normalisation(Module):
    """Weight and bias, ones and zeros at first, or neither."""

    weight: Parameter | None
    bias: Parameter | None

    def _register_affine(self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: DTypeLike) -> None:
        self.register_parameter("weight", Parameter(np.ones(shape, dtype)) if weight else None)
        self.register_parameter("bias", Parameter(np.zeros(shape, dtype)) if bias else None)


class _RunningNorm(_Normalisation):
    """A normalisation of ``(N, C, *spatial)`` with running statistics, and PyTorch's names for them."""

    dims: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: DTypeLike,
    ) -> None:
        super().__init__()
        self.num_features = positive(type(self).__name__, "num_features", num_features)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._register_affine((num_features,), affine, affine, dtype)
        self.running_mean: Buffer | None = None
        self.running_var: Buffer | None = None
        self.num_batches_tracked: Buffer | None = None
        if track_running_stats:
            self.running_mean = Buffer(np.zeros(num_features, dtype))
            self.running_var = Buffer(np.ones(num_features, dtype))
            self.num_batches_tracked = Buffer(np.zeros((), np.int64), optional=True)

    def _check(self, x: Any) -> None:
        if len(x.shape) not in self.dims:
            wanted = " or ".join(str(d) for d in self.dims)
            raise ValueError(f"{type(self).__name__}: x must have {wanted} dimensions, its shape is {tuple(x.shape)}")

    def extra_repr(self) -> str:
        """Return the arguments, as PyTorch shows them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNormNd(_RunningNorm):
    """Batch normalisation of ``(N, C, *spatial)``; arguments of ``torch.nn.BatchNorm2d``.

    In training the batch's statistics are used and the buffers ``running_mean`` and ``running_var`` move towards them
    by ``momentum`` (None: they are the averages of all batches, which ``num_batches_tracked`` counts); in evaluation
    the buffers are used. Source: Ioffe and Szegedy, arXiv 1502.03167.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, C, *spatial)`` to the same shape."""
        self._check(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, self._count(x), self.eps,
        )  # fmt: skip

    def _count(self, x: Any) -> Any:
        """Count the batch, in training; how far the running statistics are to move."""
        if not self.training or self.num_batches_tracked is None:
            return 0.0
        share = count_batch(self.num_batches_tracked, x)
        return share if self.momentum is None else self.momentum


class BatchNorm1d(_BatchNormNd):
    """Batch normalisation of ``(N, C)`` or ``(N, C, L)``; see ``_BatchNormNd``."""

    dims = (2, 3)


class BatchNorm2d(_BatchNormNd):
    """Batch normalisation of ``(N, C, H, W)``; see ``_BatchNormNd``."""

    dims = (4,)


class BatchNorm3d(_BatchNormNd):
    """Batch normalisation of ``(N, C, D, H, W)``; see ``_BatchNormNd``."""

    dims = (5,)


class _InstanceNormNd(_RunningNorm):
    """Instance normalisation of ``(N, C, *spatial)`` or ``(C, *spatial)``; arguments of ``torch.nn.InstanceNorm2d``.

    By default there are no weights and no running statistics; as in PyTorch, batches are not counted, and a momentum of
    None leaves the running statistics as they are. Source: Ulyanov et al., arXiv 1607.08022.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, C, *spatial)`` or ``(C, *spatial)`` to the same shape."""
        self._check(x)
        batch = F.reshape(x, (1, *x.shape)) if len(x.shape) == self.dims[0] else x
        y = F.instance_norm(
            batch, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, self.momentum or 0.0, self.eps,
        )  # fmt: skip
        return F.reshape(y, x.shape)


class InstanceNorm1d(_InstanceNormNd):
    """Instance normalisation of ``(N, C, L)`` or ``(C, L)``; see ``_InstanceNormNd``."""

    dims = (2, 3)


class InstanceNorm2d(_InstanceNormNd):
    """Instance normalisation of ``(N, C, H, W)`` or ``(C, H, W)``; see ``_InstanceNormNd``."""

    dims = (3, 4)


class InstanceNorm3d(_InstanceNormNd):
    """Instance normalisation of ``(N, C, D, H, W)`` or ``(C, D, H, W)``; see ``_InstanceNormNd``."""

    dims = (4, 5)


class LayerNorm(_Normalisation):
    """Normalisation over the last dimensions; arguments of ``torch.nn.LayerNorm``. Source: arXiv 1607.06450."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        given = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape = tuple(positive("LayerNorm", "normalized_shape", size) for size in given)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._register_affine(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def forward(self, x: Any) -> Any:
        """``(..., *normalized_shape)`` to the same shape."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the arguments, as PyTorch shows them."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Normalisation):
    """Normalisation over groups of channels; arguments of ``torch.nn.GroupNorm``. Source: arXiv 1803.08494."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.num_groups = positive("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels cannot be divided into {num_groups} groups")
        self.eps = eps
        self.affine = affine
        self._register_affine((num_channels,), affine, affine, dtype)

    def forward(self, x: Any) -> Any:
        """``(N, C, ...)`` to the same shape."""
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the arguments, as PyTorch shows them."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LocalResponseNorm(Module):
    """Local response normalisation, as in AlexNet; arguments of ``torch.nn.LocalResponseNorm``."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = positive("LocalResponseNorm", "size", size)
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, x: Any) -> Any:
        """``(N, C, ...)`` to the same shape."""
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the arguments, as PyTorch shows them."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
