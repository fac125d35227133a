"""Activation layers, thin names over ``functional``."""

from __future__ import annotations

from typing import Any

import numbaconv.functional as F

from .module import Module


class Tanh(Module):
    """Hyperbolic tangent, elementwise."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return F.tanh(x)


class ReLU(Module):
    """``max(x, 0)``, elementwise."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return F.relu(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``, elementwise."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return F.sigmoid(x)


class Softmax(Module):
    """Exponentials along ``dim`` that sum to 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """Logarithm of ``Softmax``, computed in one stable step."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return F.log_softmax(x, self.dim)
