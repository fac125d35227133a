"""The training step as one graph: batch, forward, loss, backward and update, planned once and then replayed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functional as F
from ..graph import Graph, Spec, Tensor, compile_graph, gradients
from ..graph.runner import OnCompile
from ..optim import clip_grad_norm, clip_grad_value


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

    def gradients(self, loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Append the gradients of the loss and the penalties, clipped."""
        for factor, penalty in ((self.l1, F.l1_penalty), (self.l2, F.l2_penalty)):
            if factor:
                for parameter in parameters:
                    loss = loss + factor * penalty(parameter)
        found = gradients(loss, parameters)
        if self.clip_value is not None and found:
            found = clip_grad_value(found, self.clip_value)
        if self.clip_norm is not None and found:
            found, _ = clip_grad_norm(found, self.clip_norm)
        return found


class _Step:
    """A graph from resident images, labels and the indices of a batch to its results."""

    def __init__(
        self,
        model: Any,
        loss: Callable,
        batch_size: int,
        images: Spec,
        labels: Spec,
        mean: Sequence[float],
        std: Sequence[float],
        pad: int,
        shift: int = 0,
        flip: bool = False,
        key: np.ndarray | None = None,
    ) -> None:
        self.graph = graph = Graph()
        if key is not None:
            graph.set_random_key(graph.leaf(key))
        self._inputs = [graph.input(*images), graph.input(*labels), graph.input((batch_size,), np.int64)]
        source, targets, indices = self._inputs
        self.x = F.take_images(source, indices, mean, std, pad, shift, flip)
        self.targets = F.take_labels(targets, indices)
        self.model, self.loss = model, loss

    def _compile(self, on_compile: OnCompile | None) -> None:
        self.executable = compile_graph(self.graph, on_compile)


class TrainStep(_Step):
    """One step of training on one batch; parameters and the optimizer's arrays are updated in place."""

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
        shift: int = 0,
        flip: bool = False,
        on_compile: OnCompile | None = None,
        penalties: Penalties | None = None,
    ) -> None:
        self.key = np.array([seed, 0], np.int64)
        super().__init__(model, loss, batch_size, images, labels, mean, std, pad, shift, flip, self.key)
        graph = self.graph
        self.optimizer = optimizer
        self.hyper = np.zeros_like(optimizer.hyper())
        hyper = graph.leaf(self.hyper)
        logits = model.forward(self.x)
        value = loss(logits, self.targets)
        parameters = [p for p in model.parameters() if p.trainable]
        leaves = [graph.leaf(p) for p in parameters]
        grads = (penalties or Penalties()).gradients(value, leaves)
        for parameter, leaf, grad in zip(parameters, leaves, grads, strict=True):
            state = tuple(graph.leaf(slot) for slot in optimizer.slots_of(parameter))
            for old, new in zip((leaf, *state), optimizer.apply(leaf, grad, state, hyper), strict=True):
                graph.update(old, new)
        graph.output(value, F.count_correct(logits, self.targets))
        self._compile(on_compile)

    def __call__(self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> tuple[float, float]:
        """Train on ``images[indices]``; gives the loss and how many predictions were right."""
        self.hyper[:] = self.optimizer.hyper()
        self.key[1] = self.optimizer.step_count
        loss, correct = self.executable.run([images, labels, indices])
        return float(loss), float(correct)


class EvalStep(_Step):
    """Loss times batch size, number of right predictions and logits of a batch."""

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
        on_compile: OnCompile | None = None,
    ) -> None:
        super().__init__(model, loss, batch_size, images, labels, mean, std, pad)
        logits = model.forward(self.x)
        self.graph.output(loss(logits, self.targets) * float(batch_size), F.count_correct(logits, self.targets), logits)
        self._compile(on_compile)

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray
    ) -> tuple[float, float, np.ndarray]:
        loss, correct, logits = self.executable.run([images, labels, indices])
        return float(loss), float(correct), logits
