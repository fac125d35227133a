"""Patches as columns (im2col) and columns put back (col2im), and padding, as layers."""

from __future__ import annotations

from typing import Any

import numbaconv.functional as F

from .arguments import IntOrTuple
from .module import Module


class _Patches(Module):
    """Arguments of ``functional.unfold``."""

    def __init__(
        self, kernel_size: IntOrTuple, dilation: IntOrTuple = 1, padding: IntOrTuple = 0, stride: IntOrTuple = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def extra_repr(self) -> str:
        """Return all arguments, as PyTorch shows them."""
        names = ("kernel_size", "dilation", "padding", "stride")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class Unfold(_Patches):
    """Patches of images as columns (im2col); see ``functional.unfold``."""

    def forward(self, x: Any) -> Any:
        """``(N, C, H, W)`` to ``(N, C R S, positions)``."""
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(_Patches):
    """Columns put back into images of ``output_size`` and summed (col2im); see ``functional.fold``."""

    def __init__(
        self,
        output_size: IntOrTuple,
        kernel_size: IntOrTuple,
        dilation: IntOrTuple = 1,
        padding: IntOrTuple = 0,
        stride: IntOrTuple = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        """``(N, C R S, positions)`` to ``(N, C, *output_size)``."""
        return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Return all arguments, as PyTorch shows them."""
        return f"output_size={self.output_size}, {super().extra_repr()}"
