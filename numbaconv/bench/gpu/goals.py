"""How long a recipe trains until it reaches an accuracy: data on the device, time without compiling and evaluating."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from numbaconv import data, recipes
from numbaconv.training import Callback, Trainer
from numbaconv.training.inputs import as_arrays
from numbaconv.training.metrics import EpochMetrics

from ..session import Session
from .item import Item
from .row import GpuRow


class Goal(NamedTuple):
    """An accuracy on the test images, and the recipe that is to reach it within so many seconds of training.

    ``pad`` is what the network needs around the images, in pixels.
    """

    recipe: str
    accuracy: float
    seconds: float
    pad: int = 0


GOALS = (Goal("mnist-lenet5", 0.99, 2.0, pad=2), Goal("cifar10-fast", 0.94, 15.0))

#: Seconds after which a run hangs.
LIMIT = 180.0


class _Reached(Exception):
    """The accuracy is reached."""


class _Until(Callback):
    """Ends a fit at an accuracy."""

    def __init__(self, accuracy: float) -> None:
        self.accuracy = accuracy
        self.history: list[EpochMetrics] = []

    def on_epoch_end(self, metrics: EpochMetrics) -> None:
        self.history.append(metrics)
        if (metrics.validation_accuracy or 0.0) >= self.accuracy:
            raise _Reached


def items(goals: Sequence[Goal], precisions: Sequence[str], data_dir: str | None) -> list[Item]:
    """A row for each goal and precision; the data are those that ``data_dir`` holds, nothing is downloaded."""
    return [_item(goal, precision, data_dir) for goal in goals for precision in precisions]


def _item(goal: Goal, precision: str, data_dir: str | None) -> Item:
    def made() -> tuple[Trainer, data.Dataset, int]:
        config = recipes.read(goal.recipe)
        dataset = data.load(config["data"]["name"], data_dir, download=False)
        trainer = recipes.build(config, dataset, goal.pad, "cuda", precision)
        return trainer, dataset, config["training"]["epochs"]

    def prepare(_: Any) -> None:
        trainer, dataset, _epochs = made()
        for split, make in ((dataset.train, trainer.train_step), (dataset.test, trainer.eval_step)):
            arrays = as_arrays("bench", split)
            for size in trainer.batch_sizes(len(arrays.labels)):
                make(arrays, size)
                if make == trainer.eval_step:
                    trainer.eval_step(arrays, size, views="one")

    def measure(session: Session) -> list[GpuRow]:
        trainer, dataset, epochs = made()
        until = _Until(goal.accuracy)
        with contextlib.suppress(_Reached):
            trainer.fit(dataset.train, dataset.test, epochs, callbacks=[until])
        last = until.history[-1]
        row = GpuRow(
            name=f"{goal.recipe}, {last.epoch} epochs",
            direction=f"goal {goal.accuracy:.1%}, {precision}",
            accuracy=last.validation_accuracy,
            train_seconds=sum(epoch.seconds for epoch in until.history),
        )
        return [row]

    return Item(f"{goal.recipe} to {goal.accuracy:.1%}, {precision}", prepare, measure, LIMIT)
