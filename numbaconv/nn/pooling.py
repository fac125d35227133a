"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F

from .applied import Applied, AppliedInTraining
from .arguments import IntOrTuple, as_tuple, positive
from .init import GeneratorLike, as_generator
from .module import Parameter


class _MaxPoolNd(Applied):
    """Maximum over windows; arguments of ``torch.nn.MaxPool2d``.  Without ``stride``, windows lie side by side."""

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: IntOrTuple = 0,
        dilation: IntOrTuple = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(
            kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode,
            return_indices=return_indices,
        )  # fmt: skip

    def _shown(self) -> Sequence[str]:
        return self._names[:-1]


class MaxPool1d(_MaxPoolNd):
    """Maximum over windows of ``(N, C, L)``; see ``_MaxPoolNd``."""

    function = "max_pool1d"


class MaxPool2d(_MaxPoolNd):
    """Maximum over windows of ``(N, C, H, W)``; see ``_MaxPoolNd``."""

    function = "max_pool2d"


class MaxPool3d(_MaxPoolNd):
    """Maximum over windows of ``(N, C, D, H, W)``; see ``_MaxPoolNd``."""

    function = "max_pool3d"


class _MaxUnpoolNd(Applied):
    """The numbers of pooled windows back at their places, zeros elsewhere; arguments of ``torch.nn.MaxUnpool2d``."""

    def __init__(self, kernel_size: IntOrTuple, stride: IntOrTuple | None = None, padding: IntOrTuple = 0) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding)

    def forward(self, x: Any, indices: Any, output_size: Sequence[int] | None = None) -> Any:  # type: ignore[override]
        """What ``MaxPool`` with ``return_indices`` gave, to ``output_size`` or the least size that it may have had."""
        return self._apply(x, indices, output_size=output_size)


class MaxUnpool1d(_MaxUnpoolNd):
    """Unpooling of ``(N, C, L)``; see ``_MaxUnpoolNd``."""

    function = "max_unpool1d"


class MaxUnpool2d(_MaxUnpoolNd):
    """Unpooling of ``(N, C, H, W)``; see ``_MaxUnpoolNd``."""

    function = "max_unpool2d"


class MaxUnpool3d(_MaxUnpoolNd):
    """Unpooling of ``(N, C, D, H, W)``; see ``_MaxUnpoolNd``."""

    function = "max_unpool3d"


class AvgPool1d(Applied):
    """Mean over windows of ``(N, C, L)``; arguments of ``torch.nn.AvgPool1d``."""

    function = "avg_pool1d"

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: IntOrTuple = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(
            kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )  # fmt: skip

    def _shown(self) -> Sequence[str]:
        return self._names[:3]


class _AvgPoolNd(Applied):
    """Mean over windows; arguments of ``torch.nn.AvgPool2d``.  Without ``stride``, windows lie side by side."""

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: IntOrTuple = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        if divisor_override is not None:
            positive(type(self).__name__, "divisor_override", divisor_override)
        stride = kernel_size if stride is None else stride
        super().__init__(
            kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
            count_include_pad=count_include_pad, divisor_override=divisor_override,
        )  # fmt: skip

    def _shown(self) -> Sequence[str]:
        return self._names[:3]


class AvgPool2d(_AvgPoolNd):
    """Mean over windows of ``(N, C, H, W)``; see ``_AvgPoolNd``."""

    function = "avg_pool2d"


class AvgPool3d(_AvgPoolNd):
    """Mean over windows of ``(N, C, D, H, W)``; see ``_AvgPoolNd``."""

    function = "avg_pool3d"


class _AdaptiveMaxPoolNd(Applied):
    """Maximum over ``output_size`` windows that cover the input; arguments of ``torch.nn.AdaptiveMaxPool2d``."""

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size=output_size, return_indices=return_indices)

    def _shown(self) -> Sequence[str]:
        return self._names[:1]


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maximum over windows of ``(N, C, L)``; see ``_AdaptiveMaxPoolNd``."""

    function = "adaptive_max_pool1d"


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maximum over windows of ``(N, C, H, W)``; see ``_AdaptiveMaxPoolNd``."""

    function = "adaptive_max_pool2d"


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maximum over windows of ``(N, C, D, H, W)``; see ``_AdaptiveMaxPoolNd``."""

    function = "adaptive_max_pool3d"


class _AdaptiveAvgPoolNd(Applied):
    """Mean over ``output_size`` windows that cover the input; arguments of ``torch.nn.AdaptiveAvgPool2d``."""

    def __init__(self, output_size: Any) -> None:
        super().__init__(output_size=output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Mean over windows of ``(N, C, L)``; see ``_AdaptiveAvgPoolNd``."""

    function = "adaptive_avg_pool1d"


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Mean over windows of ``(N, C, H, W)``; see ``_AdaptiveAvgPoolNd``."""

    function = "adaptive_avg_pool2d"


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Mean over windows of ``(N, C, D, H, W)``; see ``_AdaptiveAvgPoolNd``."""

    function = "adaptive_avg_pool3d"


class _LPPoolNd(Applied):
    """``(sum of x^norm_type)^(1 / norm_type)`` over windows; arguments of ``torch.nn.LPPool2d``."""

    def __init__(
        self,
        norm_type: float,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(norm_type=norm_type, kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode)


class LPPool1d(_LPPoolNd):
    """Power-average pooling of ``(N, C, L)``; see ``_LPPoolNd``."""

    function = "lp_pool1d"


class LPPool2d(_LPPoolNd):
    """Power-average pooling of ``(N, C, H, W)``; see ``_LPPoolNd``."""

    function = "lp_pool2d"


class LPPool3d(_LPPoolNd):
    """Power-average pooling of ``(N, C, D, H, W)``; see ``_LPPoolNd``."""

    function = "lp_pool3d"


class LearnedLPPool2d(Applied):
    """Power-average pooling of ``(N, C, H, W)`` whose powers are trained, one a channel.

    Power c is ``1 + log(1 + exp(rho[c]))``, so that it stays above 1.  Source: Gulcehre et al., arXiv 1311.1780.

    Args:
        num_features: channels.
        kernel_size, stride, ceil_mode: as for ``LPPool2d``.
        norm_type: the power to begin with, above 1.
        dtype: of the parameter ``rho``.
    """

    def __init__(
        self,
        num_features: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        ceil_mode: bool = False,
        norm_type: float = 2.0,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode)
        positive("LearnedLPPool2d", "num_features", num_features)
        if not norm_type > 1.0:
            raise ValueError(f"LearnedLPPool2d: norm_type must be above 1, got {norm_type}")
        self.rho = Parameter(np.full(num_features, np.log(np.expm1(norm_type - 1.0)), dtype))

    def forward(self, x: Any) -> Any:
        """``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.lp_pool2d(x, F.add(F.softplus(self.rho), 1.0), **self._arguments())


class _FractionalMaxPoolNd(Applied):
    """Maximum over windows at pseudo-random distances, of ``output_size`` or ``output_ratio`` times the input's size.

    Arguments of ``torch.nn.FractionalMaxPool2d``, and behind them ``shuffled`` and ``disjoint`` of
    ``functional.fractional_max_pool2d``.  Source: Graham, arXiv 1412.6071.
    """

    def __init__(
        self,
        kernel_size: IntOrTuple | None,
        output_size: IntOrTuple | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Any = None,
        *,
        shuffled: bool = False,
        disjoint: bool = False,
    ) -> None:
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{type(self).__name__}: one of output_size and output_ratio must be given")
        super().__init__(
            kernel_size=kernel_size, output_size=output_size, output_ratio=output_ratio, shuffled=shuffled,
            disjoint=disjoint, return_indices=return_indices, _random_samples=_random_samples,
        )  # fmt: skip

    def _shown(self) -> Sequence[str]:
        return self._names[:5]


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Fractional max pooling of ``(N, C, H, W)``; see ``_FractionalMaxPoolNd``."""

    function = "fractional_max_pool2d"


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Fractional max pooling of ``(N, C, D, H, W)``; see ``_FractionalMaxPoolNd``."""

    function = "fractional_max_pool3d"


class _StochasticPoolNd(AppliedInTraining):
    """In training a number of each window, drawn by its size; in evaluation their mean with these probabilities.

    Belongs behind a ReLU.  Source: Zeiler & Fergus, arXiv 1301.3557.
    """

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: IntOrTuple = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)


class StochasticPool1d(_StochasticPoolNd):
    """Stochastic pooling of ``(N, C, L)``; see ``_StochasticPoolNd``."""

    function = "stochastic_pool1d"


class StochasticPool2d(_StochasticPoolNd):
    """Stochastic pooling of ``(N, C, H, W)``; see ``_StochasticPoolNd``."""

    function = "stochastic_pool2d"


class StochasticPool3d(_StochasticPoolNd):
    """Stochastic pooling of ``(N, C, D, H, W)``; see ``_StochasticPoolNd``."""

    function = "stochastic_pool3d"


class SpatialPyramidPool(Applied):
    """Adaptive pools of several sizes, flattened and joined: ``(N, C, H, W)`` to ``(N, C * sum of levels' pixels)``.

    Source: He et al., arXiv 1406.4729.
    """

    function = "spatial_pyramid_pool"

    def __init__(self, levels: Sequence[IntOrTuple] = (1, 2, 4), mode: str = "max") -> None:
        super().__init__(levels=tuple(levels), mode=mode)


class _BlurPoolNd(Applied):
    """A binomial filter of ``kernel_size`` taps, at every ``stride``-th pixel.  Source: Zhang, arXiv 1904.11486."""

    def __init__(self, kernel_size: int = 4, stride: IntOrTuple = 2) -> None:
        super().__init__(kernel_size=positive(type(self).__name__, "kernel_size", kernel_size), stride=stride)


class BlurPool1d(_BlurPoolNd):
    """Anti-aliased downsampling of ``(N, C, L)``; see ``_BlurPoolNd``."""

    function = "blur_pool1d"


class BlurPool2d(_BlurPoolNd):
    """Anti-aliased downsampling of ``(N, C, H, W)``; see ``_BlurPoolNd``."""

    function = "blur_pool2d"


class BlurPool3d(_BlurPoolNd):
    """Anti-aliased downsampling of ``(N, C, D, H, W)``; see ``_BlurPoolNd``."""

    function = "blur_pool3d"


class MixedPool2d(Applied):
    """``a max + (1 - a) mean`` over windows of ``(N, C, H, W)`` with trained ``a``, 0.5 at first.

    Source: Lee et al., arXiv 1509.08985.

    Args:
        kernel_size, stride, padding, ceil_mode: as for ``MaxPool2d``.
        num_features: channels with an ``a`` each; 1: one for all.
        dtype: of the parameter ``mix``.
    """

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: IntOrTuple = 0,
        ceil_mode: bool = False,
        num_features: int = 1,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
        self.mix = Parameter(np.full(positive("MixedPool2d", "num_features", num_features), 0.5, dtype))

    def forward(self, x: Any) -> Any:
        """``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.mixed_pool2d(x, self.mix, **self._arguments())


class GatedPool2d(Applied):
    """``s max + (1 - s) mean`` over windows of ``(N, C, H, W)``, s the sigmoid of a trained filter's response.

    Source: Lee et al., arXiv 1509.08985.

    Args:
        kernel_size, stride, padding: as for ``MaxPool2d``.
        dtype: of the parameter ``weight``, of the shape of a window, 0 at first (s is 0.5).
    """

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: IntOrTuple = 0,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(kernel_size=as_tuple("GatedPool2d", "kernel_size", kernel_size, 2), stride=stride,
                         padding=padding)  # fmt: skip
        self.weight = Parameter(np.zeros(self.kernel_size, dtype))

    def forward(self, x: Any) -> Any:
        """``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.gated_pool2d(x, self.weight, **self._arguments())


class TreePool2d(Applied):
    """Trained pooling filters, mixed along a binary tree by the sigmoids of trained gates.

    Source: Lee et al., arXiv 1509.08985.

    Args:
        kernel_size, stride, padding: as for ``MaxPool2d``.
        depth: of the tree, with ``2^depth`` filters ``leaves`` and ``2^depth - 1`` filters ``gates``.
        dtype: of the parameters.
        generator: seed of the filters' first values, near those of a mean; the gates begin at 0.
    """

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: IntOrTuple = 0,
        depth: int = 2,
        *,
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        super().__init__(kernel_size=as_tuple("TreePool2d", "kernel_size", kernel_size, 2), stride=stride,
                         padding=padding)  # fmt: skip
        count = 2 ** positive("TreePool2d", "depth", depth)
        taps = int(np.prod(self.kernel_size))
        noise = as_generator(generator).standard_normal((count, *self.kernel_size))
        self.leaves = Parameter(((1.0 + 0.1 * noise) / taps).astype(dtype))
        self.gates = Parameter(np.zeros((count - 1, *self.kernel_size), dtype))

    def forward(self, x: Any) -> Any:
        """``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.tree_pool2d(x, self.leaves, self.gates, **self._arguments())
