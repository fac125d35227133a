"""Losses as modules."""

from __future__ import annotations

from typing import Any

import numbaconv.functional as F

from .module import Module


class CrossEntropyLoss(Module):
    """Cross entropy of logits against class indices; arguments of ``torch.nn.CrossEntropyLoss``."""

    def __init__(self, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must lie between 0 and 1, got {label_smoothing}")
        self.reduction = reduction
        self.label_smoothing = float(label_smoothing)

    def forward(self, x: Any, target: Any) -> Any:
        """Logits ``(N, classes)`` and class indices ``(N,)`` to a scalar (or ``(N,)`` with reduction ``"none"``)."""
        return F.cross_entropy(x, target, self.reduction, self.label_smoothing)
