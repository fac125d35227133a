"""Normalisation layers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F

from .arguments import positive
from .module import Buffer, Module, Parameter


class _BatchNormNd(Module):
    """Batch normalisation of ``(N, C, *spatial)``; arguments of ``torch.nn.BatchNorm2d``.

    In training the batch's statistics are used and the buffers ``running_mean`` and ``running_var`` move towards them
    by ``momentum``; in evaluation the buffers are used. Source: Ioffe and Szegedy, arXiv 1502.03167.
    """

    dims: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.num_features = positive(type(self).__name__, "num_features", num_features)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", Parameter(np.ones(num_features, dtype)) if affine else None)
        self.register_parameter("bias", Parameter(np.zeros(num_features, dtype)) if affine else None)
        if track_running_stats:
            self.running_mean: Buffer | None = Buffer(np.zeros(num_features, dtype))
            self.running_var: Buffer | None = Buffer(np.ones(num_features, dtype))
        else:
            self.running_mean = self.running_var = None

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, C, *spatial)`` to the same shape."""
        if len(x.shape) not in self.dims:
            wanted = " or ".join(str(d) for d in self.dims)
            raise ValueError(f"{type(self).__name__}: x must have {wanted} dimensions, its shape is {tuple(x.shape)}")
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, self.momentum, self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return the arguments, as PyTorch shows them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNormNd):
    """Batch normalisation of ``(N, C)`` or ``(N, C, L)``; see ``_BatchNormNd``."""

    dims = (2, 3)


class BatchNorm2d(_BatchNormNd):
    """Batch normalisation of ``(N, C, H, W)``; see ``_BatchNormNd``."""

    dims = (4,)


class BatchNorm3d(_BatchNormNd):
    """Batch normalisation of ``(N, C, D, H, W)``; see ``_BatchNormNd``."""

    dims = (5,)
