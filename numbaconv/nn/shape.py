"""Layers that pass their input on: unchanged or flattened."""

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
