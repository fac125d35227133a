"""Layers that pass their input on: unchanged, flattened, or with some of it dropped."""

from __future__ import annotations

from typing import Any

import numbaconv.functional as F

from .module import Module


class Flatten(Module):
    """Joins all dimensions from ``start_dim`` on into one."""

    def __init__(self, start_dim: int = 1) -> None:
        super().__init__()
        self.start_dim = start_dim

    def forward(self, x: Any) -> Any:
        """``(N, ...)`` to ``(N, product of the rest)`` for ``start_dim`` 1."""
        return F.flatten(x, self.start_dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"start_dim={self.start_dim}"


class Identity(Module):
    """Returns its input; takes any arguments and heeds none, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return x


class Dropout(Module):
    """In training, sets each element to zero with probability ``p`` and scales the others by ``1 / (1 - p)``.

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15, 2014.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must lie between 0 and 1, got {p}")
        self.p = float(p)

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"
