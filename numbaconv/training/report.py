"""The report of a run, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .metrics import EpochMetrics, per_class


def render(
    title: str,
    history: Sequence[EpochMetrics],
    compile_seconds: float,
    confusion: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
) -> str:
    """Return the report as text.

    Args:
        title: its first line.
        history: what the epochs came to.
        compile_seconds: spent on planning and compiling.
        confusion: of the validation images after the last epoch, ``(C, C)``.
        classes: names of the classes; numbers by default.
    """
    lines = [title, "=" * len(title), ""]
    if history:
        last = history[-1]
        seconds = sum(row.seconds for row in history)
        images = sum(row.seconds * row.images_per_second for row in history)
        lines += [
            f"Epochs              {last.epoch}",
            f"Steps               {last.step}",
            f"Compiling           {compile_seconds:.1f} s",
            f"Training            {seconds:.1f} s, {images / seconds if seconds else 0:,.0f} images/s",
            f"Training loss       {last.train_loss:.4f}",
            f"Training accuracy   {last.train_accuracy:.2%}",
        ]
        validated = [row for row in history if row.validation_accuracy is not None]
        if validated:
            best = max(validated, key=lambda row: row.validation_accuracy or 0.0)
            lines += [
                f"Validation loss     {validated[-1].validation_loss:.4f}",
                f"Validation accuracy {validated[-1].validation_accuracy:.2%}"
                f" (best {best.validation_accuracy:.2%} after epoch {best.epoch})",
            ]
        lines.append("")
    if confusion is not None:
        lines += class_table(confusion, classes)
    return "\n".join(lines).rstrip() + "\n"


def class_table(confusion: np.ndarray, classes: Sequence[str] | None = None) -> list[str]:
    """Return one line a class: precision, recall, F1, number of images, and what it is most often taken for."""
    names = [str(name) for name in (classes or range(len(confusion)))]
    width = max(5, *(len(name) for name in names))
    lines = [f"{'class':<{width}}  precision  recall      F1  images  most often taken for"]
    for index, row in enumerate(per_class(confusion)):
        wrong = confusion[index].copy()
        wrong[index] = 0
        taken_for = f"{names[int(wrong.argmax())]} ({wrong.max()})" if wrong.any() else ""
        lines.append(
            f"{names[index]:<{width}}  {row.precision:>9.2%}  {row.recall:>6.1%}  {row.f1:>6.1%}  {row.support:>6}  "
            f"{taken_for}".rstrip()
        )
    return lines
