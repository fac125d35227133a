"""How the filters of the first layer look, and how they change during training."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .figure import new_figure, pixels, write_gif, write_png

_GAP = 1  # pixels of a filter between filters
_MOST = 6  # sheets in a strip
_SECONDS = 0.4


def filter_sheet(weight: np.ndarray, scale: float | None = None) -> np.ndarray:
    """Lay filters side by side.

    Args:
        weight: ``(K, C, R, S)``; three channels are shown as colours, of other numbers the mean as grey.
        scale: weight that is shown brightest; that of the largest magnitude by default. Its negative is black, zero
            the middle grey.

    Returns:
        Values from 0 to 1, ``(rows, columns, 3)``.
    """
    count, channels, height, width = weight.shape
    scale = scale or float(np.abs(weight).max()) or 1.0
    shown = weight if channels == 3 else weight.mean(axis=1, keepdims=True)
    shown = np.broadcast_to(np.clip(shown / (2 * scale) + 0.5, 0, 1), (count, 3, height, width))
    columns = math.ceil(math.sqrt(count * height / width))
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3))
    for index, one in enumerate(shown):
        row, column = divmod(index, columns)
        top, left = row * (height + _GAP), column * (width + _GAP)
        sheet[top : top + height, left : left + width] = one.transpose(1, 2, 0)
    return sheet


def draw_filters(
    history: Sequence[tuple[str, np.ndarray]],
    strip: str | os.PathLike[str],
    animation: str | os.PathLike[str],
) -> bool:
    """Draw filters over training: a strip of a few moments as PNG, and all of them as GIF.

    Args:
        history: what each moment is called, and the filters then, ``(K, C, R, S)``.
        strip, animation: the files.

    Returns:
        Whether both were drawn; ``False`` if matplotlib or pillow is not installed.
    """
    scale = max(float(np.abs(weight).max()) for _, weight in history)
    chosen = sorted({round(i) for i in np.linspace(0, len(history) - 1, min(_MOST, len(history)))})
    height, width = filter_sheet(history[0][1]).shape[:2]
    figure = new_figure(2.2 * len(chosen), 2.0 * height / width + 0.4)
    if figure is None:
        return False
    figure.get_layout_engine().set(wspace=0.1)
    panels = figure.subplots(1, len(chosen), squeeze=False)[0]
    for axes, index in zip(panels, chosen, strict=True):
        _show(axes, history[index], scale)
    write_png(figure, strip)
    frames = []
    for title, weight in history:
        figure = new_figure(3, 3 * height / width + 0.3)
        _show(figure.subplots(), (title, weight), scale)
        frames.append(pixels(figure))
    return write_gif(frames, animation, _SECONDS)


def _show(axes: Any, moment: tuple[str, np.ndarray], scale: float) -> None:
    title, weight = moment
    axes.imshow(filter_sheet(weight, scale), interpolation="nearest")
    axes.set_title(title)
    axes.axis("off")
