"""One fit: the loop over epochs, and what it leaves in the run folder."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from numbaconv.optim import Schedule

from . import tensorfile, weights
from .callback import Callback, FitInfo, StepInfo
from .checkpoint import has_finite_weights, restore_checkpoint, save_checkpoint
from .errors import CheckpointError, Diverged, Interrupted
from .files import write_atomic
from .inputs import Arrays
from .interrupt import Interrupt, deferred_interrupt
from .metrics import EpochMetrics
from .order import epoch_order
from .report import render
from .run import RunFolder
from .step import Penalties

if TYPE_CHECKING:
    from .trainer import OnCompile, Trainer


#: Steps that are begun on a GPU before the first one's loss is waited for.
_UNSETTLED = 64


class _Stop(Exception):
    """Ctrl-C was pressed, and neither a step nor the compiling of a kernel is under way."""


def _used(penalties: Penalties) -> dict[str, float]:
    """The penalties that are used; runs of before there were any have none of these names."""
    return {name: value for name, value in asdict(penalties).items() if value != getattr(Penalties, name)}


class _Done(NamedTuple):
    """A training step that was begun: images, steps of the run so far, learning rate, and results, perhaps to come."""

    images: int
    step: int
    lr: float
    loss: Any
    correct: Any


class Fit:
    """The work of ``Trainer.fit``, whose arguments these are, checked."""

    def __init__(
        self,
        trainer: Trainer,
        train: Arrays,
        validation: Arrays | None,
        run: RunFolder | None,
        callbacks: Sequence[Callback],
        *,
        checkpoint_every_steps: int | None,
        keep_checkpoints: int | None,
        classes: list[str] | None,
        config: Mapping[str, Any],
    ) -> None:
        self.trainer = trainer
        self.train = train
        self.validation = validation
        self.run = run
        self.callbacks = callbacks
        self.checkpoint_every_steps = checkpoint_every_steps
        self.keep_checkpoints = keep_checkpoints
        self.classes = classes
        self.config = config
        # Checked on resumption: with another of these, the rest of the run would not be the rest of the same run.
        self.identity = {
            "training images": len(train.labels),
            "batch_size": trainer.batch_size,
            "seed": trainer.seed,
            "augmentation": asdict(trainer.augmentation),
            "label_smoothing": trainer.label_smoothing,
            "average": 0.0 if trainer.average is None else trainer.average.decay,
            **_used(trainer.penalties),
            **trainer.describe(),
        }
        self.metadata = {**trainer.describe(), "classes": classes}
        self.last_checkpoint: Path | None = None
        self.unsettled: deque[_Done] = deque()

    def run_to(self, epochs: int, resume: bool, on_compile: OnCompile | None) -> list[EpochMetrics]:
        """Open the run folder, train to an epoch (with ``resume``, else so many more) and close the run folder."""
        state = self.trainer.state
        if self.run is not None:
            self._open(self.run, epochs, resume)
            state = self.trainer.state
        elif resume:
            raise ValueError("fit: resume needs the run folder to go on with")
        if state.position > len(self.train.labels):
            raise ValueError(
                f"fit: the epoch in progress has seen {state.position:,} images, there are {len(self.train.labels):,}"
            )
        if self.trainer.optimizer.step_count == 0:
            self.trainer.begin(self.train.images)
        last = epochs if resume else state.epoch + epochs
        with deferred_interrupt() as interrupt:
            try:
                self._compile(on_compile, interrupt)
                self._tell_start(last)
                while state.epoch < last:
                    self._epoch(interrupt, is_last=state.epoch + 1 == last)
            except _Stop:
                raise self._interrupted() from None
        if self.validation is not None and self.trainer.validation is None:  # A finished run was resumed.
            self.trainer.validation = self.trainer.evaluate_arrays(self.validation)
        if self.run is not None:
            self._close(self.run)
        for callback in self.callbacks:
            callback.on_fit_end(list(state.history))
        return list(state.history)

    # -- before -------------------------------------------------------------------------------------------------------

    def _open(self, run: RunFolder, epochs: int, resume: bool) -> None:
        run.prepare()
        if resume:
            self._resume(run)
        elif run.checkpoints() and self.trainer.run_path != run.path:
            raise ValueError(f"{run.path}: already holds a run; resume it, or name another folder")
        self.trainer.run_path = run.path
        if not run.config_path.exists():
            run.write_config(self._config(epochs))

    def _resume(self, run: RunFolder) -> None:
        """Go on from the newest checkpoint that can be read; from the start if there is none at all."""
        trainer = self.trainer
        checkpoints = run.checkpoints()
        for path in reversed(checkpoints):
            try:
                file = tensorfile.read(path)
            except CheckpointError as error:
                if path == checkpoints[0]:
                    raise
                warnings.warn(f"{error}; going on from the checkpoint before it", stacklevel=2)
                continue
            trainer.state = restore_checkpoint(
                path, file, trainer.model, trainer.optimizer, self.identity, trainer.average, trainer.loss_scale
            )
            self.last_checkpoint = path
            break
        # The file may be ahead of the checkpoint, or behind it, by what was written when the run was killed.
        run.write_metrics(trainer.state.history)

    def _config(self, epochs: int) -> dict[str, Any]:
        trainer = self.trainer
        schedule = asdict(trainer.schedule) if isinstance(trainer.schedule, Schedule) else {}
        return {
            **self.config,
            **weights.describe(trainer.model),
            "optimizer": {"name": type(trainer.optimizer).__name__, **trainer.optimizer.settings()},
            "schedule": {"name": type(trainer.schedule).__name__, **schedule} if trainer.schedule else None,
            "training": {
                "epochs": epochs,
                "batch_size": trainer.batch_size,
                "seed": trainer.seed,
                "threads": trainer.threads,
                "label_smoothing": trainer.label_smoothing,
                "average": 0.0 if trainer.average is None else trainer.average.decay,
                **_used(trainer.penalties),
                **trainer.describe(),
            },
            "augmentation": asdict(trainer.augmentation),
        }

    def _compile(self, on_compile: OnCompile | None, interrupt: Interrupt) -> None:
        """Make all plans now, so that no epoch has compiling in its time."""
        thread = threading.current_thread()

        def between(done: int, total: int, name: str) -> None:
            if on_compile is not None:
                on_compile(done, total, name)
            # Kernels are compiled in several threads; the one that waits for all of them is to stop.
            if interrupt.requested and threading.current_thread() is thread:
                raise _Stop

        for size in self.trainer.batch_sizes(len(self.train.labels)):
            self.trainer.train_step(self.train, size, between)
        if self.validation is not None:
            for size in self.trainer.batch_sizes(len(self.validation.labels)):
                for views in sorted({"one", self.trainer.views}):
                    self.trainer.eval_step(self.validation, size, between, views)

    def _tell_start(self, last: int) -> None:
        trainer, state = self.trainer, self.trainer.state
        info = FitInfo(
            epochs=last,
            first_epoch=state.epoch + 1,
            first_step=self._steps(state.position),
            steps_per_epoch=self._steps(len(self.train.labels)),
            images=len(self.train.labels),
            validation_images=0 if self.validation is None else len(self.validation.labels),
            batch_size=trainer.batch_size,
            compile_seconds=trainer.compile_seconds,
        )
        for callback in self.callbacks:
            callback.on_fit_start(info)

    # -- an epoch -----------------------------------------------------------------------------------------------------

    def _epoch(self, interrupt: Interrupt, is_last: bool) -> None:
        """Do what is left of the epoch in progress."""
        trainer, state = self.trainer, self.trainer.state

        def stop_if_asked() -> None:
            if interrupt.requested:
                raise _Stop

        stop_if_asked()
        for callback in self.callbacks:
            callback.on_epoch_start(state.epoch + 1)
        self._train(stop_if_asked)
        result = None
        if self.validation is not None:
            views = trainer.views if is_last else "one"
            result = trainer.evaluate_arrays(self.validation, between=stop_if_asked, views=views)
            self._demand_finite("validation loss", result["loss"])
            trainer.validation = result
        images = len(self.train.labels)
        metrics = EpochMetrics(
            epoch=state.epoch + 1,
            step=trainer.optimizer.step_count,
            lr=trainer.optimizer.lr,
            train_loss=state.loss_sum / images,
            train_accuracy=state.correct_sum / images,
            validation_loss=None if result is None else result["loss"],
            validation_accuracy=None if result is None else result["accuracy"],
            seconds=state.seconds,
            images_per_second=images / state.seconds if state.seconds else 0.0,
        )
        state.history.append(metrics)
        state.epoch += 1
        state.position, state.loss_sum, state.correct_sum, state.seconds = 0, 0.0, 0.0, 0.0
        if self.run is not None:
            self._save(self.run, self.run.checkpoint_path(state.epoch))
            self.run.write_metrics(state.history)
        for callback in self.callbacks:
            callback.on_epoch_end(metrics)

    def _train(self, stop_if_asked: Callable[[], None]) -> None:
        """Train on the images of the epoch that are left."""
        trainer, state, train = self.trainer, self.trainer.state, self.train
        steps = {size: trainer.train_step(train, size) for size in trainer.batch_sizes(len(train.labels))}
        order = epoch_order(trainer.seed, state.epoch, len(train.labels))
        try:
            for indices in trainer.batches(order[state.position :]):
                start = time.perf_counter()
                loss, correct = trainer.advance(steps[len(indices)], train, indices)
                state.seconds += time.perf_counter() - start
                step = trainer.optimizer.step_count
                self.unsettled.append(_Done(len(indices), step, trainer.optimizer.lr, loss, correct))
                if len(self.unsettled) >= (1 if trainer.device == "cpu" else _UNSETTLED):
                    self._settle()
                stop_if_asked()
                if self.run is not None and self._is_checkpoint_due():
                    self._settle()
                    self._save(self.run, self._path_within_epoch(self.run))
        except _Stop:
            self._settle()
            raise
        self._settle()

    def _settle(self) -> None:
        """Count the steps whose results nobody has looked at yet; those of a GPU are waited for."""
        state = self.trainer.state
        while self.unsettled:
            done = self.unsettled.popleft()
            start = time.perf_counter()
            loss, correct = float(done.loss), float(done.correct)
            state.seconds += time.perf_counter() - start
            self._demand_finite("loss", loss)
            state.loss_sum += loss * done.images
            state.correct_sum += correct
            state.position += done.images
            self._tell_step(done, loss)

    def _tell_step(self, done: _Done, loss: float) -> None:
        if not self.callbacks:
            return
        state = self.trainer.state
        info = StepInfo(
            epoch=state.epoch + 1,
            step_in_epoch=self._steps(state.position),
            steps_per_epoch=self._steps(len(self.train.labels)),
            step=done.step,
            loss=loss,
            lr=done.lr,
        )
        for callback in self.callbacks:
            callback.on_step(info)

    def _demand_finite(self, name: str, value: float) -> None:
        if math.isfinite(value):
            return
        trainer = self.trainer
        kept = "" if self.last_checkpoint is None else f"; the last good checkpoint is {self.last_checkpoint}"
        raise Diverged(
            f"the {name} became {value} at step {trainer.optimizer.step_count} (epoch {trainer.state.epoch + 1}): "
            f"try a smaller learning rate than {trainer.optimizer.lr:g}, or a warm-up{kept}"
        )

    def _steps(self, images: int) -> int:
        return -(-images // self.trainer.batch_size)

    # -- the run folder -----------------------------------------------------------------------------------------------

    def _is_checkpoint_due(self) -> bool:
        every = self.checkpoint_every_steps
        # At the end of the epoch another one comes at once.
        position = self.trainer.state.position + sum(done.images for done in self.unsettled)
        at_end = position == len(self.train.labels) and self.validation is None
        return every is not None and self.trainer.optimizer.step_count % every == 0 and not at_end

    def _path_within_epoch(self, run: RunFolder) -> Path:
        return run.checkpoint_path(self.trainer.state.epoch + 1, self.trainer.optimizer.step_count)

    def _save(self, run: RunFolder, path: Path) -> None:
        """Write a checkpoint and delete those that are too old."""
        trainer = self.trainer
        if not has_finite_weights(trainer.model):
            self._demand_finite("largest weight", math.inf)
        save_checkpoint(
            path, trainer.model, trainer.optimizer, trainer.state, self.identity, self.metadata,
            trainer.average, trainer.loss_scale,
        )  # fmt: skip
        self.last_checkpoint = path
        run.prune(self.keep_checkpoints)
        for callback in self.callbacks:
            callback.on_checkpoint(path)

    def _interrupted(self) -> Interrupted:
        """Write a checkpoint of where the run is, unless it is just written, and return what to raise."""
        state = self.trainer.state
        place = f"in epoch {state.epoch + 1} after {self.trainer.optimizer.step_count} steps"
        if self.run is None:
            return Interrupted(f"interrupted {place}", None)
        if state.position > 0:
            self._save(self.run, self._path_within_epoch(self.run))
        kept = "before the first step" if self.last_checkpoint is None else f"saved to {self.last_checkpoint}"
        return Interrupted(f"interrupted {place}, {kept}", self.last_checkpoint)

    def _close(self, run: RunFolder) -> None:
        trainer = self.trainer
        run.write_metrics(trainer.state.history)
        with trainer.averaged():
            weights.save(trainer.model, run.final_path, self.metadata)
        confusion = None if trainer.validation is None else trainer.validation["confusion"]
        recipe = weights.describe(trainer.model).get("model")
        title = f"{recipe['name'] if recipe else type(trainer.model).__name__}, {type(trainer.optimizer).__name__}"
        report = render(title, trainer.state.history, trainer.compile_seconds, confusion, self.classes)
        write_atomic(run.report_path, report)
