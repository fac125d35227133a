"""What one sees of a training run: bars on a terminal, a plain line an epoch elsewhere.

Imported only when training begins, since it needs ``numbaconv.training``.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from numbaconv.training import Callback, EpochMetrics, FitInfo, StepInfo, Trainer

# A bar need not move more often than the eye sees, and moving it takes time from training.
_REDRAW_S = 0.1


class FitProgress(Callback):
    """Watches a fit; a context manager.

    Args:
        console: where to print.
        quiet: whether to print nothing.
        trainer: whose fit it is.

    Attributes:
        train_seconds: spent in the training steps of this process' epochs.
        evaluate_seconds: spent on the test images after each of them.
    """

    def __init__(self, console: Console, quiet: bool, trainer: Trainer) -> None:
        self.train_seconds = 0.0
        self.evaluate_seconds = 0.0
        self._quiet = quiet
        self._trainer = trainer
        self._epochs = 0
        self._steps = 0
        self._compiling: TaskID | None = None
        self._epoch: TaskID | None = None
        self._drawn_at = 0.0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(
            *columns,
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    def __enter__(self) -> FitProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def on_compile(self, done: int, total: int, name: str) -> None:
        """Show how far compiling has come."""
        if self._compiling is None:
            self._compiling = self._bars.add_task("Compiling kernels ...", total=total, note="")
            if self._bars.disable:
                self._print("Compiling kernels ...")
        self._bars.update(self._compiling, completed=done, total=total, note=name)

    def on_fit_start(self, fit: FitInfo) -> None:
        """Close the bar of compiling."""
        self._epochs = fit.epochs
        self._steps = fit.steps_per_epoch
        if self._compiling is not None:
            self._bars.remove_task(self._compiling)
        self._print(f"kernels ready after {fit.compile_seconds:.1f} s")
        if fit.first_epoch <= fit.epochs and (fit.first_epoch, fit.first_step) != (1, 0):
            self._print(f"going on in epoch {fit.first_epoch} after {fit.first_step} of {fit.steps_per_epoch} steps")

    def on_epoch_start(self, epoch: int) -> None:
        """Start the bar anew."""
        title = f"epoch {epoch}/{self._epochs}"
        if self._epoch is None:
            self._epoch = self._bars.add_task(title, total=self._steps, note="")
        self._bars.reset(self._epoch, description=title, total=self._steps, note="")

    def on_step(self, step: StepInfo) -> None:
        """Move the bar of the epoch."""
        now = time.perf_counter()
        if self._epoch is None or self._bars.disable or now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        self._bars.update(self._epoch, completed=step.step_in_epoch, note=f"loss {step.loss:.4f}")

    def on_epoch_end(self, metrics: EpochMetrics) -> None:
        """Print the epoch's line."""
        self.train_seconds += metrics.seconds
        line = f"epoch {metrics.epoch:>{len(str(self._epochs))}}/{self._epochs}  loss {metrics.train_loss:.4f}"
        if metrics.validation_accuracy is not None and self._trainer.validation is not None:
            self.evaluate_seconds += self._trainer.validation["seconds"]
            line += f"  test loss {metrics.validation_loss:.4f}  test accuracy {metrics.validation_accuracy:7.2%}"
        self._print(f"{line}  {metrics.seconds:.2f} s")

    def _print(self, line: str) -> None:
        if not self._quiet:
            self._bars.console.print(line)
