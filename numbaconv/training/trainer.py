"""The Trainer: a model, a loss and an optimizer, and what one does with them."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import numbaconv.functional as F
from numbaconv.graph import Graph, Spec
from numbaconv.graph.runner import OnCompile
from numbaconv.kernels.device import DeviceArray, check_precision, driver_for, to_device
from numbaconv.nn import Module, eager
from numbaconv.optim import SGD, Optimizer

from .augmentation import VIEWS, Augmentation
from .average import WeightAverage
from .callback import Callback
from .checkpoint import RunState
from .fit import Fit
from .inputs import Arrays, as_arrays, as_images, check_range
from .metrics import EpochMetrics, confusion_matrix
from .run import RunFolder
from .scaling import loss_scale_for
from .step import EvalStep, Penalties, TrainStep
from .threads import use_threads

_RESIDENT = 4  # arrays kept on the GPU: images and labels of training and validation
_SHOWN = 5000  # images that a model that asks for it is shown before the first step


class Trainer:
    """Trains a model.

    A trainer is one run: fitting again goes on where the last fit ended, with the next epoch.

    Args:
        model: from images ``(N, C, H, W)`` to logits ``(N, classes)``.
        loss: mean over the batch of logits and class indices; a function or a module.
        optimizer: whose learning rate ``schedule`` sets if there is one; ``SGD(lr=0.1, momentum=0.9)`` by default.
        batch_size: images a step; the last step of an epoch takes what is left.
        schedule: from the step, counted from 0 over the run, to the learning rate.
        seed: of the order of images and of dropout.
        threads: threads to use; Numba's setting by default.
        mean, std: per channel, of ``pixel / 255``; ``uint8`` images are normalised by them, ``float32`` ones are
            taken as they are. By default 0 and 1.
        pad: black pixels to add around each image.
        augmentation: what is done to the images in training, at random; nothing by default.
        label_smoothing: of the loss in training (not in evaluation), which must then be ``functional.cross_entropy`` or
            take an argument of that name.
        average: decay of a running average of the weights; evaluation, prediction and the final weights are those of
            the average then. 0 for none.
        views: what is averaged in evaluation and prediction: ``"one"`` looks at each image as it is, ``"flip"`` at its
            mirror image too, ``"shift"`` at it moved by a pixel, ``"flip-shift"`` at both. A fit looks at each image as
            it is until its last epoch, for the others cost time.
        l1, l2: l1 times the sum of |w| and l2 / 2 times the sum of w² are minimised along with the loss, w being all
            trained parameters; the loss that is reported is without them.
        clip_value: in training, elements of gradients are cut off at this size.
        clip_norm: in training, the norm of all gradients together is at most this, as in
            ``torch.nn.utils.clip_grad_norm_``.
        device: ``"cpu"``, or ``"cuda"`` for the GPU, where images, parameters and the optimizer's state then stay;
            arrays got from ``Variable.data`` before a step do not show what it changed.
        precision: of matrix products on the GPU, see ``numbaconv.compile``. With ``"fp16"`` the loss is scaled, so that
            small gradients do not vanish; steps whose gradients are not finite are skipped.

    Attributes:
        loss_scale: of fp16, None for other precisions.
        state: where the run is.
        validation: result of the last validation during a fit, as of ``evaluate``.
        compile_seconds: spent on planning and compiling so far.
        run_path: the run folder of the last fit.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Any] = F.cross_entropy,
        optimizer: Optimizer | None = None,
        batch_size: int = 64,
        schedule: Callable[[int], float] | None = None,
        seed: int = 0,
        threads: int | None = None,
        mean: Sequence[float] | np.ndarray | float | None = None,
        std: Sequence[float] | np.ndarray | float | None = None,
        pad: int = 0,
        augmentation: Augmentation | None = None,
        label_smoothing: float = 0.0,
        average: float = 0.0,
        views: str = "one",
        l1: float = 0.0,
        l2: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model must be an nn.Module, got {type(model).__name__}")
        if batch_size < 1:
            raise ValueError(f"Trainer: batch_size must be 1 or more, got {batch_size}")
        if not 0 <= seed < 2**63:
            raise ValueError(f"Trainer: seed must be 0 or more and below 2**63, got {seed}")
        if pad < 0:
            raise ValueError(f"Trainer: pad must be 0 or more, got {pad}")
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"Trainer: label_smoothing must lie between 0 and 1, got {label_smoothing}")
        if views not in VIEWS:
            raise ValueError(f"Trainer: views must be one of {', '.join(VIEWS)}, got {views!r}")
        self.model = model
        self.loss = loss
        self.optimizer = SGD(lr=0.1, momentum=0.9) if optimizer is None else optimizer
        self.batch_size = int(batch_size)
        self.schedule = schedule
        self.seed = int(seed)
        self.threads = threads
        self.mean = None if mean is None else [float(value) for value in np.atleast_1d(mean)]
        self.std = None if std is None else [float(value) for value in np.atleast_1d(std)]
        if self.std is not None and not min(self.std) > 0:
            raise ValueError(f"Trainer: std must be above 0 in every channel, got {self.std}")
        self.pad = int(pad)
        self.augmentation = Augmentation() if augmentation is None else augmentation
        self.label_smoothing = float(label_smoothing)
        self.average = WeightAverage(model, average) if average else None
        self.views = views
        for name, value in (("l1", l1), ("l2", l2), ("clip_norm", clip_norm), ("clip_value", clip_value)):
            if value is not None and not value >= 0:
                raise ValueError(f"Trainer: {name} must be 0 or more, got {value}")
        check_precision(device, precision)
        if device != "cpu":
            driver_for(device)  # says what is missing, before any data is read
        self.device, self.precision = device, precision
        self.loss_scale = loss_scale_for(precision)
        self.penalties = Penalties(float(l1), float(l2), clip_norm, clip_value)
        self.state = RunState()
        self.validation: dict[str, Any] | None = None
        self.compile_seconds = 0.0
        self.run_path: Path | None = None
        self._plans: dict[Any, Any] = {}
        self._resident: dict[int, tuple[np.ndarray, DeviceArray]] = {}
        self._structure = eager.structure()

    # -- what users call ----------------------------------------------------------------------------------------------

    def fit(
        self,
        train: Any,
        validation: Any = None,
        epochs: int = 10,
        run: RunFolder | str | os.PathLike[str] | None = None,
        callbacks: Sequence[Callback] = (),
        on_compile: OnCompile | None = None,
        *,
        resume: bool = False,
        checkpoint_every_steps: int | None = None,
        keep_checkpoints: int | None = None,
        classes: Sequence[str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> list[EpochMetrics]:
        """Train for a number of epochs.

        Args:
            train: ``data.Split``, or a pair of images (``uint8`` or ``float32``, ``(N, C, H, W)``) and class indices.
            validation: the same, looked at after every epoch.
            epochs: how many more; with ``resume`` how many in all.
            run: folder for configuration, metrics, checkpoints and final weights.
            callbacks: who else wants to know.
            on_compile: called with the number of kernels compiled, of those to compile, and the name of the next.
            resume: go on from the newest checkpoint in ``run``, from the start if there is none. The same bits come
                out as from an unbroken run.
            checkpoint_every_steps: write checkpoints within epochs too.
            keep_checkpoints: how many of the checkpoints after an epoch to keep, the last ones; all by default.
            classes: names of the classes, for the report and the files of weights.
            config: more for the run's configuration, such as which data these are.

        Returns:
            What each epoch of the run came to.

        Raises:
            TypeError, ValueError: if images or labels do not fit the model, or an argument is out of range.
            CheckpointError: if ``run`` cannot be resumed by this trainer.
            Diverged: if loss or weights are no longer finite. Checkpoints are from before that.
            Interrupted: on Ctrl-C, between two steps and after writing a checkpoint. A second Ctrl-C raises
                ``KeyboardInterrupt`` at once.
        """
        for name, value in (
            ("epochs", epochs),
            ("checkpoint_every_steps", checkpoint_every_steps),
            ("keep_checkpoints", keep_checkpoints),
        ):
            if value is not None and value < 1:
                raise ValueError(f"fit: {name} must be 1 or more, got {value}")
        train = self._checked("training", train)
        validation = None if validation is None else self._checked("validation", validation)
        num_classes = self.num_classes(train.images)
        if classes is not None and len(classes) != num_classes:
            raise ValueError(f"fit: the model has {num_classes} classes, {len(classes)} names are given")
        if run is not None and not isinstance(run, RunFolder):
            run = RunFolder(run)
        fit = Fit(
            self,
            train,
            validation,
            run,
            tuple(callbacks),
            checkpoint_every_steps=checkpoint_every_steps,
            keep_checkpoints=keep_checkpoints,
            classes=None if classes is None else [str(name) for name in classes],
            config=config or {},
        )
        with use_threads(self.threads):
            return fit.run_to(epochs, resume, on_compile)

    def step(self, x: Any, y: Any) -> float:
        """Do one training step on one batch and return its loss.

        Args:
            x: images, ``uint8`` or ``float32``, ``(B, C, H, W)``.
            y: class indices, ``(B,)``.

        Raises:
            TypeError, ValueError: if they do not fit the model.
        """
        batch = self._checked("batch", (x, y))
        with use_threads(self.threads):
            step = self.train_step(batch, len(batch.labels))
            return float(self.advance(step, batch, np.arange(len(batch.labels)))[0])

    def evaluate(self, split: Any) -> dict[str, Any]:
        """Look how well the model does.

        Args:
            split: ``data.Split``, or a pair of images and class indices.

        Returns:
            ``loss`` (mean), ``accuracy``, ``confusion`` (``int64``, ``(C, C)``, rows are true classes) and ``seconds``.

        Raises:
            TypeError, ValueError: if images or labels do not fit the model.
        """
        arrays = self._checked("evaluation", split)
        with use_threads(self.threads):
            return self.evaluate_arrays(arrays)

    def predict(self, images: Any) -> np.ndarray:
        """Return the logits ``(N, classes)`` of images, which are treated as in training.

        Raises:
            TypeError, ValueError: if they do not fit the model.
        """
        images = self._checked_images("prediction", images)
        arrays = Arrays(images, np.zeros(len(images), np.int64))  # The loss is computed along and not looked at.
        with use_threads(self.threads), self.averaged():
            return np.concatenate([logits for _, _, logits in self._evaluated_batches(arrays)])

    def num_classes(self, images: np.ndarray) -> int:
        """Return how many classes the model tells apart in such images.

        Raises:
            ValueError: if it cannot take them, or gives no logits ``(N, classes)``.
        """
        key = ("classes", images.shape[1:])
        if key not in self._current_plans():
            channels, height, width = images.shape[1:]
            shape = (self.batch_size, channels, height + 2 * self.pad, width + 2 * self.pad)
            try:
                with _mode(self.model, training=False):
                    logits = self.model(Graph().input(shape, np.dtype(np.float32)))
            except ValueError as error:
                padded = f" (padded to {shape[2]}×{shape[3]})" if self.pad else ""
                what = f"images of {channels} channel(s) and {height}×{width} pixels{padded}"
                raise ValueError(f"the model cannot take {what}: {error}") from error
            if logits.ndim != 2 or logits.shape[0] != self.batch_size:
                raise ValueError(f"the model must give logits (images, classes), it gives {logits.shape}")
            self._plans[key] = logits.shape[1]
        return self._plans[key]

    # -- what a fit is made of ----------------------------------------------------------------------------------------

    def train_step(self, arrays: Arrays, size: int, on_compile: OnCompile | None = None) -> Any:
        """Return the compiled training step for batches of a size, cut from such arrays."""
        frozen = tuple(parameter.trainable for parameter in self.model.parameters())
        return self._plan("train", arrays, size, on_compile, frozen)

    def eval_step(
        self, arrays: Arrays, size: int, on_compile: OnCompile | None = None, views: str | None = None
    ) -> Any:
        """Return the compiled evaluation step for batches of a size, cut from such arrays; by default of all views."""
        return self._plan("evaluate", arrays, size, on_compile, views or self.views)

    def advance(self, step: Any, arrays: Arrays, indices: np.ndarray) -> tuple[Any, Any]:
        """Do a training step with the learning rate of its turn; return mean loss and number of right answers.

        On the GPU these are arrays there, which ``float`` waits for.
        """
        if self.schedule is not None:
            self.optimizer.lr = self.schedule(self.optimizer.step_count)
        loss, correct = step(*self._on_device(arrays), indices)
        self.optimizer.step_count += 1
        return loss, correct

    def evaluate_arrays(
        self, arrays: Arrays, between: Callable[[], None] = lambda: None, views: str | None = None
    ) -> dict[str, Any]:
        """Evaluate checked arrays, as ``evaluate``; ``between`` is called after every batch and may raise."""
        classes = self.num_classes(arrays.images)
        confusion = np.zeros((classes, classes), np.int64)
        loss_sum = 0.0
        for size in self.batch_sizes(len(arrays.labels)):
            self.eval_step(arrays, size, views=views)  # So that the time below has no compiling in it.
        start = time.perf_counter()
        with self.averaged():
            for indices, loss, logits in self._evaluated_batches(arrays, views):
                loss_sum += loss
                confusion += confusion_matrix(logits.argmax(axis=1), arrays.labels[indices], classes)
                between()
        return {
            "loss": loss_sum / len(arrays.labels),
            "accuracy": float(confusion.trace() / confusion.sum()),
            "confusion": confusion,
            "seconds": time.perf_counter() - start,
        }

    def batches(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """Cut indices into batches; the last one may be smaller."""
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def batch_sizes(self, images: int) -> list[int]:
        """Return the sizes that batches have: the full one, that of the last one if it is smaller."""
        full, rest = divmod(images, self.batch_size)
        return [self.batch_size] * (full > 0) + [rest] * (rest > 0)

    def averaged(self) -> AbstractContextManager[None]:
        """Give the model the averaged weights within a block, if there are any."""
        return nullcontext() if self.average is None else self.average.in_use()

    def begin(self, images: np.ndarray) -> None:
        """Get ready for the first step on such images.

        A model with a method ``prepare`` is shown the first of them, as training sees them but for augmentation.
        """
        if hasattr(self.model, "prepare"):
            channels, sample = images.shape[1], images[:_SHOWN]
            mean = self._per_channel("mean", self.mean, channels, 0.0)
            std = self._per_channel("std", self.std, channels, 1.0)
            self.model.prepare(F.take_images(sample, np.arange(len(sample)), mean, std, self.pad))
        if self.average is not None:
            self.average.restart()

    def describe(self) -> dict[str, Any]:
        """Return what a file of weights says about how its images are treated."""
        return {
            "mean": self.mean,
            "std": self.std,
            "pad": self.pad,
            "views": self.views,
        }

    # -- inside -------------------------------------------------------------------------------------------------------

    def _evaluated_batches(
        self, arrays: Arrays, views: str | None = None
    ) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
        """Yield indices, summed loss and logits of every batch."""
        for indices in self.batches(np.arange(len(arrays.labels))):
            step = self.eval_step(arrays, len(indices), views=views)
            loss_sum, _, logits = step(*self._on_device(arrays), indices)
            yield indices, loss_sum, logits

    def _on_device(self, arrays: Arrays) -> tuple[Any, Any]:
        """Return images and labels where steps read them: of the last data sets on the GPU, a copy there."""
        if self.device == "cpu":
            return arrays
        for array in arrays:
            found = self._resident.pop(id(array), None) or (array, to_device(array, self.device))
            self._resident[id(array)] = found  # The host's array is held, so that its id stays its own.
        while len(self._resident) > _RESIDENT:
            del self._resident[next(iter(self._resident))]
        images, labels = (self._resident[id(array)][1] for array in arrays)
        return images, labels

    def _current_plans(self) -> dict[Any, Any]:
        """Return the plans, none if a module was changed since they were traced."""
        if self._structure != eager.structure():
            self._structure = eager.structure()
            self._plans.clear()
        return self._plans

    def _plan(self, kind: str, arrays: Arrays, size: int, on_compile: OnCompile | None, *more: Any) -> Any:
        images, labels = arrays
        key = (kind, size, images.shape, images.dtype, labels.shape, *more)
        if key not in self._current_plans():
            start = time.perf_counter()
            model, channels = self.model, images.shape[1]
            specs = Spec(images.shape, images.dtype), Spec(labels.shape, labels.dtype)
            common: dict[str, Any] = {
                "mean": self._per_channel("mean", self.mean, channels, 0.0),
                "std": self._per_channel("std", self.std, channels, 1.0),
                "pad": self.pad,
                "on_compile": on_compile,
                "device": self.device,
                "precision": self.precision,
            }
            with _mode(model, training=kind == "train"):
                self._plans[key] = (
                    TrainStep(
                        model,
                        self._smoothed_loss(),
                        self.optimizer,
                        size,
                        *specs,
                        seed=self.seed,
                        augmentation=self.augmentation,
                        penalties=self.penalties,
                        average=self.average,
                        scale=self.loss_scale,
                        **common,
                    )
                    if kind == "train"
                    else EvalStep(model, self.loss, size, *specs, views=VIEWS[more[0]], **common)
                )
            self.compile_seconds += time.perf_counter() - start
        return self._plans[key]

    def _smoothed_loss(self) -> Callable[..., Any]:
        if not self.label_smoothing:
            return self.loss
        return functools.partial(self.loss, label_smoothing=self.label_smoothing)

    def _checked(self, name: str, split: Any) -> Arrays:
        arrays = as_arrays(name, split)
        self._check_channels(arrays.images)
        check_range(name, arrays.labels, self.num_classes(arrays.images))
        return arrays

    def _checked_images(self, name: str, images: Any) -> np.ndarray:
        images = as_images(name, images)
        self._check_channels(images)
        self.num_classes(images)
        return images

    def _check_channels(self, images: np.ndarray) -> None:
        for what, values in (("mean", self.mean), ("std", self.std)):
            self._per_channel(what, values, images.shape[1], 0.0)

    @staticmethod
    def _per_channel(name: str, values: list[float] | None, channels: int, default: float) -> list[float]:
        if values is None:
            return [default] * channels
        if len(values) not in (1, channels):
            raise ValueError(f"{name} is given for {len(values)} channels, the images have {channels}")
        return values if len(values) == channels else values * channels


@contextmanager
def _mode(model: Module, training: bool) -> Iterator[None]:
    """Put a model into training mode or out of it while a plan is traced.

    The flags are set past ``__setattr__``: no plan traced before is the worse for it, since they are put back.
    """
    flags = [(module, module.training) for module in model.modules()]
    for module, _ in flags:
        module.__dict__["training"] = training
    try:
        yield
    finally:
        for module, flag in flags:
            module.__dict__["training"] = flag
