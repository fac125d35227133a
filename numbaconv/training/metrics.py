"""Figures of merit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch came to.

    Attributes:
        epoch: counted from 1.
        step: steps done since the beginning of the run.
        lr: learning rate of the last step.
        train_loss, train_accuracy: means over the epoch's images, each at the moment it was trained on.
        validation_loss, validation_accuracy: after the epoch; ``None`` without validation images.
        seconds: spent in training steps, without compiling and without validation.
        images_per_second: training images over ``seconds``.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    images_per_second: float

    @classmethod
    def from_text(cls, row: Mapping[str, str]) -> EpochMetrics:
        """Read a row of the metrics file, where what is not known is empty.

        Raises:
            KeyError, TypeError, ValueError: if something is missing or is no number.
        """
        whole = ("epoch", "step")
        values = {
            field.name: int(row[field.name]) if field.name in whole else _number(row[field.name])
            for field in fields(cls)
        }
        return cls(**values)  # type: ignore[arg-type]


def _number(text: str) -> float | None:
    return float(text) if text else None


@dataclass(frozen=True)
class ClassMetrics:
    """How one class was recognised.

    Attributes:
        precision: share of right answers among those that named the class; 0 if none did.
        recall: share of the class's images that were recognised; 0 if it has none.
        f1: harmonic mean of both.
        support: number of images of the class.
    """

    precision: float
    recall: float
    f1: float
    support: int


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows of ``(N, classes)`` whose largest entry is at the label.

    Raises:
        ValueError: if there are no rows, or not as many as labels.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise ValueError(f"accuracy: expected logits (N, classes) and labels (N,), got {logits.shape}, {labels.shape}")
    return float(np.mean(logits.argmax(axis=1) == labels))


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count answers: entry ``[i, j]`` is the number of images of class ``i`` taken for class ``j``.

    Args:
        predictions, labels: class indices, ``(N,)``.
        num_classes: number of classes ``C``.

    Returns:
        ``int64``, shape ``(C, C)``.

    Raises:
        ValueError: if a class index is out of range.
    """
    for name, indices in (("predictions", predictions), ("labels", labels)):
        if len(indices) and (indices.min() < 0 or indices.max() >= num_classes):
            raise ValueError(f"confusion_matrix: {name} must lie between 0 and {num_classes - 1}")
    cells = labels.astype(np.int64) * num_classes + predictions
    return np.bincount(cells, minlength=num_classes * num_classes).reshape(num_classes, num_classes).astype(np.int64)


def per_class(confusion: np.ndarray) -> list[ClassMetrics]:
    """Return the figures of each class from a confusion matrix ``(C, C)``."""
    right = confusion.diagonal()
    answered, support = confusion.sum(axis=0), confusion.sum(axis=1)
    return [
        ClassMetrics(
            precision=_share(right[index], answered[index]),
            recall=_share(right[index], support[index]),
            f1=_share(2 * right[index], answered[index] + support[index]),
            support=int(support[index]),
        )
        for index in range(len(confusion))
    ]


def _share(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else 0.0
