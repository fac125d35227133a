"""Convolution arithmetic as an animation: which inputs each output is made of.

Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv 1603.07285, whose pictures these
are drawn after.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from numbaconv.ops.geometry import output_size

from .figure import new_figure, pixels, write_gif

_SECONDS = 0.5
_INPUT, _ADDED, _SEEN, _OUTPUT, _DONE = "#9ecae1", "#ffffff", "#3182bd", "#d9f0d3", "#41ab5d"


@dataclass(frozen=True)
class ConvArithmetic:
    """A convolution of a square image by a square filter, or its transpose.

    Attributes:
        size: pixels of the image in each direction.
        kernel, stride, padding, dilation: as of ``functional.conv2d``.
        transposed: whether the image is what such a convolution made, and the result the size of what it was made from.

    Raises:
        ValueError: if a number is out of range, or the filter does not fit.
    """

    size: int = 5
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    transposed: bool = False

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"arithmetic: {name} must be {least} or more, got {getattr(self, name)}")
        if self.transposed and self.padding > self.reach - 1:
            raise ValueError(f"arithmetic: a transposed convolution takes a padding of at most {self.reach - 1} here")
        if self.output < 1:
            raise ValueError(
                f"arithmetic: a kernel of size {self.reach} (with dilation) does not fit into an image of {self.size} "
                f"with padding {self.padding}"
            )

    @property
    def reach(self) -> int:
        """Pixels from one end of the dilated filter to the other."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def spacing(self) -> int:
        """Steps from one pixel of the image to the next, where a transposed convolution puts zeros between them."""
        return self.stride if self.transposed else 1

    @property
    def border(self) -> int:
        """Zeros around the image."""
        return self.reach - 1 - self.padding if self.transposed else self.padding

    @property
    def step(self) -> int:
        """Steps of the filter from one output to the next."""
        return 1 if self.transposed else self.stride

    @property
    def canvas(self) -> int:
        """Pixels of the image with all zeros, in each direction."""
        return (self.size - 1) * self.spacing + 1 + 2 * self.border

    @property
    def output(self) -> int:
        """Pixels of the result in each direction."""
        return output_size(self.canvas, self.kernel, self.step, (0, 0), self.dilation)

    def is_image(self, row: int, column: int) -> bool:
        """Tell whether a pixel of the canvas is one of the image, not a zero."""
        places = (row - self.border, column - self.border)
        return all(p % self.spacing == 0 and 0 <= p // self.spacing < self.size for p in places)

    def seen(self, row: int, column: int) -> set[tuple[int, int]]:
        """Return the pixels of the canvas under the filter's weights for an output pixel."""
        taps = range(0, self.reach, self.dilation)
        return {(row * self.step + down, column * self.step + right) for down in taps for right in taps}


def draw_arithmetic(convolution: ConvArithmetic, path: str | os.PathLike[str]) -> bool:
    """Draw the animation to a GIF file: the image with its zeros below, the result above.

    Returns:
        Whether it was drawn; ``False`` if matplotlib or pillow is not installed.
    """
    frames = []
    for row in range(convolution.output):
        for column in range(convolution.output):
            figure = new_figure(4.6, 3.2)
            if figure is None:
                return False
            _draw_frame(figure, convolution, row, column)
            frames.append(pixels(figure))
    return write_gif(frames, path, _SECONDS)


def _draw_frame(figure: Any, convolution: ConvArithmetic, row: int, column: int) -> None:
    below, above = figure.subplots(1, 2, width_ratios=(convolution.canvas, convolution.output))
    seen = convolution.seen(row, column)
    for position in _places(convolution.canvas):
        image = convolution.is_image(*position)
        colour = _SEEN if position in seen else _INPUT if image else _ADDED
        _cell(below, *position, colour, dashed=not image)
    for position in _places(convolution.output):
        _cell(above, *position, _DONE if position <= (row, column) else _OUTPUT, current=position == (row, column))
    kind = "transposed convolution" if convolution.transposed else "convolution"
    figure.suptitle(
        f"{kind}: kernel {convolution.kernel}, stride {convolution.stride}, padding {convolution.padding}, "
        f"dilation {convolution.dilation}",
        fontsize=9,
    )
    for axes, side, title in ((below, convolution.canvas, convolution.size), (above, convolution.output, None)):
        axes.set(xlim=(-0.1, side + 0.1), ylim=(side + 0.1, -0.1), aspect="equal")
        axes.set_title(f"input {title}x{title}" if title else f"output {side}x{side}", fontsize=9)
        axes.axis("off")


def _places(side: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(side) for column in range(side)]


def _cell(axes: Any, row: int, column: int, colour: str, dashed: bool = False, current: bool = False) -> None:
    from matplotlib.patches import Rectangle

    edge = "black" if current else "0.5"
    style = ":" if dashed else "-"
    axes.add_patch(
        Rectangle(
            (column, row), 1, 1, facecolor=colour, edgecolor=edge, linestyle=style, linewidth=2 if current else 0.8,
            zorder=2 if current else 1,
        )
    )  # fmt: skip
