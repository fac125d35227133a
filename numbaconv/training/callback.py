"""What a fit tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .metrics import EpochMetrics


@dataclass(frozen=True)
class FitInfo:
    """What a fit is about to do.

    Attributes:
        epochs: the last epoch it will reach.
        first_epoch: the epoch it starts in, counted from 1.
        first_step: steps of that epoch that are done already.
        steps_per_epoch: batches in an epoch.
        images, validation_images: numbers of images.
        batch_size: images a step.
        compile_seconds: spent on planning and compiling.
    """

    epochs: int
    first_epoch: int
    first_step: int
    steps_per_epoch: int
    images: int
    validation_images: int
    batch_size: int
    compile_seconds: float


@dataclass(frozen=True)
class StepInfo:
    """One step done.

    Attributes:
        epoch: counted from 1.
        step_in_epoch: counted from 1.
        steps_per_epoch: batches in an epoch.
        step: steps since the beginning of the run.
        loss: mean over the batch.
        lr: learning rate of the step.
    """

    epoch: int
    step_in_epoch: int
    steps_per_epoch: int
    step: int
    loss: float
    lr: float


class Callback:
    """Base of those who watch a fit; override what is wanted. What a method raises ends the fit."""

    def on_fit_start(self, fit: FitInfo) -> None:
        """Everything is compiled, the first step comes next."""

    def on_epoch_start(self, epoch: int) -> None:
        """An epoch (counted from 1) begins, or goes on after a resumption."""

    def on_step(self, step: StepInfo) -> None:
        """A training step is done."""

    def on_epoch_end(self, metrics: EpochMetrics) -> None:
        """An epoch is done, validated and saved."""

    def on_checkpoint(self, path: Path) -> None:
        """A checkpoint is written."""

    def on_fit_end(self, history: list[EpochMetrics]) -> None:
        """The last epoch is done and the run folder is complete."""
