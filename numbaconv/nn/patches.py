"""Patches as columns (im2col) and columns put back (col2im), as layers."""

from __future__ import annotations

from .applied import Applied
from .arguments import IntOrTuple


class Unfold(Applied):
    """Patches of images as columns: ``(N, C, H, W)`` to ``(N, C R S, positions)``; see ``functional.unfold``."""

    function = "unfold"

    def __init__(
        self, kernel_size: IntOrTuple, dilation: IntOrTuple = 1, padding: IntOrTuple = 0, stride: IntOrTuple = 1
    ) -> None:
        super().__init__(kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)


class Fold(Applied):
    """Columns put back into images and summed (col2im), ``(N, C R S, positions)`` to ``(N, C, *output_size)``.

    See ``functional.fold``.
    """

    function = "fold"

    def __init__(
        self,
        output_size: IntOrTuple,
        kernel_size: IntOrTuple,
        dilation: IntOrTuple = 1,
        padding: IntOrTuple = 0,
        stride: IntOrTuple = 1,
    ) -> None:
        super().__init__(
            output_size=output_size, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
        )
