"""The images that a network is most wrong about."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from .features import show_picture
from .figure import new_figure, write_png

_COLUMNS, _MOST = 6, 24


def worst_mistakes(logits: np.ndarray, labels: np.ndarray, count: int = _MOST) -> np.ndarray:
    """Return the indices of wrong answers, those with the least probability for the right class first.

    Args:
        logits: ``(N, classes)``.
        labels: ``(N,)``.
        count: at most so many.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    losses[logits.argmax(axis=1) == labels] = -np.inf
    order = np.argsort(-losses, kind="stable")[:count]
    return order[np.isfinite(losses[order])]


def draw_mistakes(
    images: np.ndarray, labels: np.ndarray, logits: np.ndarray, classes: Sequence[str], path: str | os.PathLike[str]
) -> bool:
    """Draw the worst mistakes to a PNG file: each image, what it is, and what it was taken for.

    Args:
        images: ``uint8``, ``(N, C, H, W)``.
        labels: ``(N,)``.
        logits: ``(N, classes)``.
        classes: names of the classes.
        path: the file.

    Returns:
        Whether it was drawn; ``False`` if matplotlib is not installed.
    """
    worst = worst_mistakes(logits, labels)
    rows = max(1, -(-len(worst) // _COLUMNS))
    figure = new_figure(1.6 * _COLUMNS, 1.95 * rows + 0.3)
    if figure is None:
        return False
    wrong = int((logits.argmax(axis=1) != labels).sum())
    figure.suptitle(f"{len(worst)} worst of {wrong:,} mistakes among {len(labels):,} images", fontsize=10)
    panels = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes in panels:
        axes.axis("off")
    for axes, index in zip(panels, worst, strict=False):
        show_picture(axes, images[index])
        answer = int(logits[index].argmax())
        axes.set_title(f"{classes[labels[index]]}\ntaken for {classes[answer]}", fontsize=8)
    write_png(figure, path)
    return True
