"""The training step as one graph: batch, forward, loss, backward and update, planned once and then replayed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..graph import Graph, Spec, Tensor, Variable, compile_graph, gradients
from ..graph.runner import OnCompile


class _Step:
    """A graph from resident images, labels and the indices of a batch to its results."""

    def __init__(
        self,
        model: Any,
        loss: Callable,
        batch_size: int,
        images: Spec,
        labels: Spec,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        pad: int,
    ) -> None:
        self.graph = Graph()
        graph = self.graph
        self._inputs = [graph.input(*images), graph.input(*labels), graph.input((batch_size,), np.int64)]
        source, targets, indices = self._inputs
        self.x = F.take_images(source, indices, 0.0 if mean is None else mean, 1.0 if std is None else std, pad)
        self.targets = F.take_labels(targets, indices)
        self.model, self.loss = model, loss

    def _compile(self, on_compile: OnCompile | None) -> None:
        self.executable = compile_graph(self.graph, on_compile)


class TrainStep(_Step):
    """One step of training on one batch; parameters and optimizer slots are updated in place.

    ``slots`` holds the optimizer's arrays, one dictionary (slot name -> Variable) for each trainable parameter name.
    """

    def __init__(
        self,
        model: Any,
        loss: Callable,
        optimizer: Any,
        batch_size: int,
        images: Spec,
        labels: Spec,
        *,
        slots: dict[str, dict[str, Variable]],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad: int = 0,
        seed: int = 0,
        on_compile: OnCompile | None = None,
    ) -> None:
        super().__init__(model, loss, batch_size, images, labels, mean, std, pad)
        graph = self.graph
        self.optimizer = optimizer
        self.hyper = np.zeros_like(optimizer.hyper())
        self.key = np.array([seed, 0], np.int64)
        hyper = graph.leaf(self.hyper)
        graph.set_random_key(graph.leaf(self.key))
        logits = model.forward(self.x)
        value = loss(logits, self.targets)
        parameters = {name: p for name, p in model.named_parameters() if p.trainable}
        leaves: dict[str, Tensor] = {name: graph.leaf(p) for name, p in parameters.items()}
        for name, grad in zip(leaves, gradients(value, list(leaves.values())), strict=True):
            state = [graph.leaf(slots[name][slot]) for slot in optimizer.slots]
            new = optimizer.apply(leaves[name], grad, tuple(state), hyper)
            for leaf, tensor in zip((leaves[name], *state), new, strict=True):
                graph.update(leaf, tensor)
        graph.output(value, F.count_correct(logits, self.targets))
        self._compile(on_compile)

    def __call__(self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> tuple[float, float]:
        """Train on ``images[indices]``; gives the loss and how many predictions were right."""
        self.hyper[:] = self.optimizer.hyper()
        self.key[1] += 1
        loss, correct = self.executable.run([images, labels, indices])
        return float(loss), float(correct)


class EvalStep(_Step):
    """Loss (of the batch, as the loss function reduces it), number of right predictions and logits of a batch."""

    def __init__(
        self,
        model: Any,
        loss: Callable,
        batch_size: int,
        images: Spec,
        labels: Spec,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad: int = 0,
        on_compile: OnCompile | None = None,
    ) -> None:
        super().__init__(model, loss, batch_size, images, labels, mean, std, pad)
        logits = model.forward(self.x)
        self.graph.output(loss(logits, self.targets), F.count_correct(logits, self.targets), logits)
        self._compile(on_compile)

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray
    ) -> tuple[float, float, np.ndarray]:
        loss, correct, logits = self.executable.run([images, labels, indices])
        return float(loss), float(correct), logits
