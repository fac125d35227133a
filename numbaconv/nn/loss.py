"""Losses as modules, thin names over ``functional``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .applied import Applied
from .module import Buffer


class _Loss(Applied):
    """A function of results, targets and the layer's arguments.

    Weights are buffers, so that they belong to the state, as in PyTorch.
    """

    def __init__(self, weights: dict[str, Any] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        reduction = arguments["reduction"]
        known = ("mean", "sum", "none", *(("batchmean",) if type(self) is KLDivLoss else ()))
        if reduction not in known:
            raise ValueError(f"{type(self).__name__}: reduction must be one of {', '.join(known)}, got {reduction!r}")
        self.weights = tuple(weights or ())
        for name, weight in (weights or {}).items():
            self.register_buffer(name, None if weight is None else Buffer(np.asarray(weight)))

    def forward(self, x: Any, target: Any) -> Any:  # type: ignore[override]
        """Results and targets to a scalar (or one number for each with reduction ``"none"``)."""
        weights = {name: getattr(self, name) for name in self.weights}
        return self._apply(x, target, **weights)


class CrossEntropyLoss(_Loss):
    """Cross entropy of logits against classes; arguments of ``torch.nn.CrossEntropyLoss``.

    See ``functional.cross_entropy``.
    """

    function = "cross_entropy"

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must lie between 0 and 1, got {label_smoothing}")
        options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": float(label_smoothing)}
        super().__init__({"weight": weight}, **options)


class NLLLoss(_Loss):
    """Negative log likelihood of log-probabilities; arguments of ``torch.nn.NLLLoss``."""

    function = "nll_loss"

    def __init__(self, weight: Any = None, ignore_index: int | None = None, reduction: str = "mean") -> None:
        super().__init__({"weight": weight}, ignore_index=ignore_index, reduction=reduction)


class MSELoss(_Loss):
    """Squared differences; arguments of ``torch.nn.MSELoss``."""

    function = "mse_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class L1Loss(_Loss):
    """Absolute differences; arguments of ``torch.nn.L1Loss``."""

    function = "l1_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class SmoothL1Loss(_Loss):
    """Squares of small differences, absolute values of large ones; arguments of ``torch.nn.SmoothL1Loss``."""

    function = "smooth_l1_loss"

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction, beta=beta)


class HuberLoss(_Loss):
    """``SmoothL1Loss`` times ``delta``; arguments of ``torch.nn.HuberLoss``."""

    function = "huber_loss"

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction, delta=delta)


class BCELoss(_Loss):
    """Binary cross entropy of probabilities; arguments of ``torch.nn.BCELoss``."""

    function = "binary_cross_entropy"

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__({"weight": weight}, reduction=reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross entropy of logits; arguments of ``torch.nn.BCEWithLogitsLoss``."""

    function = "binary_cross_entropy_with_logits"

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__({"weight": weight, "pos_weight": pos_weight}, reduction=reduction)


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of log-probabilities; arguments of ``torch.nn.KLDivLoss``."""

    function = "kl_div"

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction, log_target=log_target)
