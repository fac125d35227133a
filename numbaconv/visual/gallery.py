"""All pictures of a run, and the page that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import numbaconv.functional as F
from numbaconv import models
from numbaconv.nn import Conv2d, Module
from numbaconv.training import RunFolder, load, per_class

from .confusion import draw_confusion
from .curves import draw_curves
from .features import draw_features, draw_receptive_fields
from .filters import draw_filters
from .mistakes import draw_mistakes
from .page import picture, table, text, write_page

if TYPE_CHECKING:
    from numbaconv.data import Dataset
    from numbaconv.training import Trainer


def draw_run(run: RunFolder, trainer: Trainer, dataset: Dataset, image: np.ndarray | None = None) -> list[Path]:
    """Draw all pictures of a run, and write its page.

    Args:
        run: the run folder, where everything is written to.
        trainer: holds the run's network, and treats images as in training.
        dataset: the data that the run was on.
        image: whose feature maps to draw, ``uint8``, ``(C, H, W)``; the first test image by default.

    Returns:
        The files written; none without matplotlib.

    Raises:
        CheckpointError: if the folder is not that of a run.
    """
    history = run.read_metrics()
    if not draw_curves(history, run.curves_path):
        return []
    model = trainer.model.eval()
    result = trainer.evaluate(dataset.test)
    shown = dataset.test.images[0] if image is None else image
    drawn = [("Loss, accuracy and learning rate", run.curves_path)]

    def path(name: str, title: str) -> Path:
        drawn.append((title, run.picture_path(name)))
        return run.picture_path(name)

    draw_confusion(result["confusion"], dataset.classes, run.confusion_path)
    drawn.append(("Which classes are taken for which", run.confusion_path))
    images, labels = dataset.test.images, dataset.test.labels
    if result["accuracy"] < 1:
        draw_mistakes(
            images, labels, trainer.predict(images), dataset.classes, path("mistakes.png", "The worst mistakes")
        )
    filters = list(_filters(run, model))
    if filters:
        strip, animation = run.picture_path("filters.png"), run.picture_path("filters.gif")
        if draw_filters(filters, strip, animation):
            title = "Filters of the first layer during training"
            drawn += [(title, strip), (f"{title}, animated", animation)]
    x = F.take_images(shown[None], np.zeros(1, np.int64), trainer.mean or 0.0, trainer.std or 1.0, trainer.pad)
    draw_features(model, x, shown, path("features.png", "What the layers make of an image"))
    draw_receptive_fields(
        model, shown, trainer.pad, path("receptive-fields.png", "What the middle of a layer's output depends on")
    )
    last = history[-1]
    sections = [
        (
            "Result",
            table(
                ("", ""),
                (
                    ("Test accuracy", f"{result['accuracy']:.2%}"),
                    ("Test loss", f"{result['loss']:.4f}"),
                    ("Test images", f"{len(labels):,}"),
                    ("Epochs", last.epoch),
                    ("Steps", f"{last.step:,}"),
                    ("Training", f"{sum(row.seconds for row in history):,.1f} s"),
                    ("Parameters", f"{sum(parameter.size for parameter in model.parameters()):,}"),
                ),
            ),
        ),
        *((title, picture(file, title)) for title, file in drawn),
        (
            "Classes",
            table(
                ("class", "precision", "recall", "F1", "images"),
                (
                    (name, f"{m.precision:.2%}", f"{m.recall:.2%}", f"{m.f1:.2%}", m.support)
                    for name, m in zip(dataset.classes, per_class(result["confusion"]), strict=True)
                ),
            ),
        ),
        ("Configuration", text(run.config_path.read_text(encoding="utf-8"))),
    ]
    recipe = models.recipe_of(model)
    write_page(f"{recipe.name if recipe else type(model).__name__} on {dataset.name}", sections, run.page_path)
    return [*(file for _, file in drawn), run.page_path]


def _filters(run: RunFolder, model: Module) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the filters of the first convolution: as they were drawn, and after each epoch that is still there."""
    name = next((name for name, module in model.named_modules() if isinstance(module, Conv2d)), None)
    if name is None:
        return
    recipe = models.recipe_of(model)
    if recipe is not None:
        yield "at first", _weight(models.build(recipe.name, **recipe.arguments), name)
    for checkpoint in run.checkpoints():
        if "-step-" not in checkpoint.name:
            epoch = int(checkpoint.stem.removeprefix("epoch-"))
            yield f"epoch {epoch}", _weight(load(checkpoint), name)


def _weight(model: Module, name: str) -> np.ndarray:
    weight: np.ndarray = dict(model.named_modules())[name].weight.data
    return weight
