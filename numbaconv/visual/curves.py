"""How a run went."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numbaconv.training import EpochMetrics

from .figure import new_figure, write_png


def draw_curves(history: Sequence[EpochMetrics], path: str | os.PathLike[str]) -> bool:
    """Draw loss, accuracy and learning rate over the epochs to a PNG file.

    Args:
        history: what ``Trainer.fit`` returned.
        path: the file.

    Returns:
        Whether it was drawn; ``False`` if matplotlib is not installed.
    """
    figure = new_figure(11, 3.6)
    if figure is None:
        return False
    loss, accuracy, rate = figure.subplots(1, 3)
    _panel(loss, history, "loss", {"training": "train_loss", "validation": "validation_loss"})
    _panel(accuracy, history, "accuracy", {"training": "train_accuracy", "validation": "validation_accuracy"})
    _panel(rate, history, "learning rate", {"": "lr"})
    write_png(figure, path)
    return True


def _panel(axes: Any, history: Sequence[EpochMetrics], title: str, lines: dict[str, str]) -> None:
    for label, field in lines.items():
        points = [(row.epoch, getattr(row, field)) for row in history if getattr(row, field) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if len(axes.get_lines()) > 1:
        axes.legend()
