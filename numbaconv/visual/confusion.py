"""Which classes are taken for which."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from .figure import new_figure, write_png

# With more classes than this, numbers in the cells could not be read.
_MOST_LABELLED = 25


def draw_confusion(confusion: np.ndarray, classes: Sequence[str] | None, path: str | os.PathLike[str]) -> bool:
    """Draw a confusion matrix to a PNG file.

    Colours are shares of each true class, numbers are images.

    Args:
        confusion: ``(C, C)``, rows are true classes.
        classes: names of the classes; numbers by default.
        path: the file.

    Returns:
        Whether it was drawn; ``False`` if matplotlib is not installed.
    """
    count = len(confusion)
    side = min(max(4.0, 1.5 + 0.5 * count), 14.0)
    figure = new_figure(side, side)
    if figure is None:
        return False
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if count <= _MOST_LABELLED:
        names = [str(name) for name in (classes or range(count))]
        axes.set_xticks(range(count), names, rotation=0 if max(map(len, names)) <= 2 else 90)
        axes.set_yticks(range(count), names)
        for row, column in zip(*np.nonzero(confusion), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, int(confusion[row, column]), ha="center", va="center", color=colour, fontsize=8)
    write_png(figure, path)
    return True
