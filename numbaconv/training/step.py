"""The training step as one graph: batch, forward, loss, backward and update, planned once and then replayed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functional as F
from ..graph import Graph, Spec, Tensor, compile_graph, gradients
from ..graph.runner import OnCompile
from ..kernels.device import DeviceArray, to_host
from ..optim import clip_grad_norm, clip_grad_value
from .augmentation import VIEWS, Augmentation, View
from .average import WeightAverage
from .scaling import LossScale


@dataclass(frozen=True)
class Penalties:
    """What keeps weights and gradients small, over all trained parameters.

    Attributes:
        l1, l2: the loss that is minimised has l1 times the sum of |w| and l2 / 2 times the sum of w² besides.
        clip_value: elements of gradients are cut off there, if given.
        clip_norm: the norm of all gradients together is at most this, if given; calculated after ``clip_value``.
    """

    l1: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    @property
    def clips(self) -> bool:
        """Whether gradients are changed."""
        return self.clip_value is not None or self.clip_norm is not None

    def added_to(self, loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """The loss with the penalties."""
        for factor, penalty in ((self.l1, F.l1_penalty), (self.l2, F.l2_penalty)):
            if factor:
                for parameter in parameters:
                    loss = loss + factor * penalty(parameter)
        return loss

    def clipped(self, found: Sequence[Tensor]) -> list[Tensor]:
        """Gradients, none of them too large."""
        found = list(found)
        if self.clip_value is not None and found:
            found = clip_grad_value(found, self.clip_value)
        if self.clip_norm is not None and found:
            found, _ = clip_grad_norm(found, self.clip_norm)
        return found


class _Step:
    """A graph from resident images, labels and the indices of a batch to its results."""

    def __init__(
        self, batch_size: int, images: Spec, labels: Spec, mean: Sequence[float], std: Sequence[float], pad: int
    ) -> None:
        self.graph = graph = Graph()
        self.images, self.labels = graph.input(*images), graph.input(*labels)
        self.indices = graph.input((batch_size,), np.int64)
        self.normalisation = tuple(mean), tuple(std), pad

    def take(self, indices: Any, *moved: Any, **how: Any) -> Any:
        """The images with these indices."""
        return F.take_images(self.images, indices, *self.normalisation, *moved, **how)

    def _compile(self, on_compile: OnCompile | None, device: str, precision: str) -> None:
        self.executable = compile_graph(self.graph, on_compile, device=device, precision=precision)


class TrainStep(_Step):
    """One step of training on one batch; parameters, the optimizer's arrays and averages are updated in place.

    With a ``scale`` of the loss, a step whose gradients are not finite changes neither of the first two.

    A model may return several scores in training: the first is its answer, the others are those of auxiliary
    classifiers, whose losses count ``model.auxiliary_weight``.
    """

    def __init__(
        self,
        model: Any,
        loss: Callable,
        optimizer: Any,
        batch_size: int,
        images: Spec,
        labels: Spec,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        pad: int = 0,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        on_compile: OnCompile | None = None,
        penalties: Penalties | None = None,
        average: WeightAverage | None = None,
        scale: LossScale | None = None,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        super().__init__(batch_size, images, labels, mean, std, pad)
        self.scale = scale
        self.key = np.array([seed, 0], np.int64)
        self.optimizer, self.augmentation = optimizer, augmentation or Augmentation()
        self.penalties = penalties or Penalties()
        self.average = average
        graph = self.graph
        graph.set_random_key(graph.leaf(self.key))
        targets = F.take_labels(self.labels, self.indices)
        x = self._augmented(self.indices)
        self.share = np.ones((), x.dtype)
        losses: list[tuple[Any, Any]] = [(None, targets)]
        if self.augmentation.mixup:
            partners = graph.input((batch_size,), np.int64)
            share, other = graph.leaf(self.share), self._augmented(partners)
            x = F.add(other, F.multiply(F.subtract(x, other), share))
            losses = [(share, targets), (1.0 - share, F.take_labels(self.labels, partners))]
        scores, *auxiliary = _as_tuple(model.forward(x))
        value = _mixed(loss, scores, losses)
        for other in auxiliary:
            value = value + _mixed(loss, other, losses) * model.auxiliary_weight
        self._update(value, [parameter for parameter in model.parameters() if parameter.trainable])
        if average is not None:
            average.append_to(graph)
        graph.output(value, F.count_correct(scores, targets))
        self._compile(on_compile, device, precision)

    def _augmented(self, indices: Any) -> Any:
        how = self.augmentation
        return how.colours(self.take(indices, how.shift, how.flip, cutout=how.cutout))

    def _update(self, value: Any, parameters: Sequence[Any]) -> None:
        """Append the update of all parameters; each reads the numbers of its group."""
        graph, optimizer = self.graph, self.optimizer
        groups = dict.fromkeys(optimizer.group_of(parameter) for parameter in parameters)
        self.hyper = {group: np.zeros_like(optimizer.hyper(group)) for group in groups}
        leaves = [graph.leaf(parameter) for parameter in parameters]
        grads, factor = self._gradients(self.penalties.added_to(value, leaves), leaves)
        for parameter, leaf, grad in zip(parameters, leaves, grads, strict=True):
            state = tuple(graph.leaf(slot) for slot in optimizer.slots_of(parameter))
            hyper = graph.leaf(self.hyper[optimizer.group_of(parameter)])
            for old, new in zip((leaf, *state), optimizer.apply(leaf, grad, state, hyper, **factor), strict=True):
                graph.update(old, new)

    def _gradients(self, loss: Tensor, leaves: Sequence[Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Gradients, clipped, and the factor that updates take of them, if there is one."""
        if self.scale is None or not leaves:
            return self.penalties.clipped(gradients(loss, leaves)), {}
        found, factor = self.scale.append_to(self.graph, loss, leaves)
        if not self.penalties.clips:
            return found, {"factor": factor}
        unscaled = self.penalties.clipped([F.multiply(gradient, factor) for gradient in found])
        return unscaled, {"factor": F.clamp(F.multiply(factor, 2.0**40), max=1.0)}  # 0 stays 0: skipped

    def read_optimizer(self) -> None:
        """Take over the optimizer's numbers for the next step."""
        for group, hyper in self.hyper.items():
            hyper[:] = self.optimizer.hyper(group)

    def __call__(self, images: Any, labels: Any, indices: np.ndarray) -> tuple[Any, Any]:
        """Train on ``images[indices]``; gives the loss and how many predictions were right.

        On the CPU these are numbers, on a device arrays there: ``float`` waits for the step.
        """
        step = self.optimizer.step_count
        self.read_optimizer()
        self.key[1] = step
        if self.average is not None:
            self.average.prepare(step + 1)
        inputs = [images, labels, indices]
        if self.augmentation.mixup:
            self.share[...] = self.augmentation.share(int(self.key[0]), step)
            inputs.append(np.roll(indices, 1))
        loss, correct = self.executable.run(inputs)
        return (loss, correct) if isinstance(loss, DeviceArray) else (float(loss), float(correct))


class EvalStep(_Step):
    """Loss times batch size, number of right predictions and logits of a batch; logits are means over views."""

    def __init__(
        self,
        model: Any,
        loss: Callable,
        batch_size: int,
        images: Spec,
        labels: Spec,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        pad: int = 0,
        views: Sequence[View] = VIEWS["one"],
        on_compile: OnCompile | None = None,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        super().__init__(batch_size, images, labels, mean, std, pad)
        targets = F.take_labels(self.labels, self.indices)
        logits: Any = None
        for weight, view in views:
            seen = model.forward(self.take(self.indices, view=view))
            seen = seen if weight == 1.0 else seen * weight
            logits = seen if logits is None else logits + seen
        self.graph.output(loss(logits, targets) * float(batch_size), F.count_correct(logits, targets), logits)
        self._compile(on_compile, device, precision)

    def __call__(
        self, images: Any, labels: Any, indices: np.ndarray
    ) -> tuple[float, float, np.ndarray]:
        loss, correct, logits = self.executable.run([images, labels, indices])
        return float(loss), float(correct), to_host(logits)


def _as_tuple(outputs: Any) -> tuple:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _mixed(loss: Callable, scores: Any, targets: Sequence[tuple[Any, Any]]) -> Any:
    """The loss against targets, each weighted by its share; ``None`` is all."""
    value = None
    for share, target in targets:
        part = loss(scores, target)
        part = part if share is None else part * share
        value = part if value is None else value + part
    return value
