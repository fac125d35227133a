"""Layers that are a function of ``functional`` and its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numbaconv.functional as F

from .module import Module


class Applied(Module):
    """Applies ``function`` to its input, with the layer's arguments, which are attributes of their names.

    Subclasses give ``function`` and a constructor, which names the arguments and their defaults.
    """

    function: ClassVar[str]

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self._names = tuple(arguments)
        for name, value in arguments.items():
            setattr(self, name, value)

    def forward(self, x: Any) -> Any:
        """What the function makes of ``x``."""
        return self._apply(x)

    def extra_repr(self) -> str:
        """Return the arguments, as PyTorch shows them."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._shown())

    def _apply(self, *inputs: Any, **more: Any) -> Any:
        return getattr(F, self.function)(*inputs, **self._arguments(), **more)

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def _shown(self) -> Sequence[str]:
        return self._names


class AppliedInTraining(Applied):
    """The same for functions that do something else in training than in evaluation."""

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "training": self.training}
