"""Layers that drop some of their input in training and pass it on in evaluation."""

from __future__ import annotations

from typing import Any

from .applied import AppliedInTraining


class _Dropout(AppliedInTraining):
    """In training drops units with probability ``p``; see the function of the layer's name."""

    def __init__(self, p: float = 0.5, **more: Any) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p must lie between 0 and 1, got {p}")
        super().__init__(p=float(p), **more)


class Dropout(_Dropout):
    """In training, sets each element to zero with probability ``p`` and scales the others by ``1 / (1 - p)``.

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15, 2014.
    """

    function = "dropout"


class Dropout1d(_Dropout):
    """``Dropout`` of whole channels of ``(N, C, L)`` or ``(C, L)``; see ``functional.dropout1d``."""

    function = "dropout1d"


class Dropout2d(_Dropout):
    """``Dropout`` of whole channels of ``(N, C, H, W)``; see ``functional.dropout2d``."""

    function = "dropout2d"


class Dropout3d(_Dropout):
    """``Dropout`` of whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)``; see ``functional.dropout3d``."""

    function = "dropout3d"


class AlphaDropout(_Dropout):
    """Dropout that keeps mean 0 and variance 1, for networks of ``SELU``; see ``functional.alpha_dropout``."""

    function = "alpha_dropout"


class FeatureAlphaDropout(_Dropout):
    """``AlphaDropout`` of whole channels of ``(N, C, ...)``; see ``functional.feature_alpha_dropout``."""

    function = "feature_alpha_dropout"


class StochasticDepth(_Dropout):
    """Drops whole images (``mode="row"``) or the batch (``"batch"``); arguments of ``torchvision.ops.StochasticDepth``.

    Source: Huang et al., Deep Networks with Stochastic Depth, arXiv 1603.09382.
    """

    function = "stochastic_depth"

    def __init__(self, p: float, mode: str) -> None:
        if mode not in ("batch", "row"):
            raise ValueError(f"StochasticDepth: mode must be 'batch' or 'row', got {mode!r}")
        super().__init__(p, mode=mode)
