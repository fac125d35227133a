"""A running average of a network's weights, which is what is evaluated and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

import numbaconv.functional as F
from numbaconv.graph import Graph, Variable
from numbaconv.nn import Module


class WeightAverage:
    """Exponential moving average of all parameters and buffers of a network.

    The average moves towards the weights by ``1 - d`` after every step; d is ``decay``, and at most
    ``(1 + step) / (10 + step)``, that the beginning is soon forgotten.  It moves within the graph of the training step.

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim. 30, 1992;
    the exponential form and its start as in TensorFlow.

    Args:
        model: the network.
        decay: 0 or more and below 1.

    Raises:
        ValueError: if ``decay`` is out of range.
    """

    def __init__(self, model: Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"WeightAverage: decay must be 0 or more and below 1, got {decay}")
        self.decay = decay
        variables = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        #: by the names in ``Module.state_dict``: what is averaged, and its average
        self._pairs = {
            name: (variable, Variable(variable.data.copy(), trainable=False, name=name))
            for name, variable in variables.items()
        }
        self._hyper = np.zeros(1)
        self._is_in_use = False

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The averages by the names in ``Module.state_dict``; ask anew after every step, as for ``Variable.data``."""
        return {name: average.data for name, (_, average) in self._pairs.items()}

    def restart(self) -> None:
        """Begin anew with the network's weights as they are."""
        for variable, average in self._pairs.values():
            average.data[...] = variable.data

    def append_to(self, graph: Graph) -> None:
        """Have a training step, whose graph has all its other updates, move the averages."""
        new = {id(leaf): value for leaf, value in graph.updates}
        hyper = graph.leaf(self._hyper)
        for variable, average in self._pairs.values():
            weight, mean = graph.leaf(variable), graph.leaf(average)
            value = new.get(id(weight), weight)
            # a count has no average
            graph.update(mean, F.average_update(mean, value, hyper) if mean.dtype.kind == "f" else value)

    def prepare(self, step: int) -> None:
        """Get ready for a step, counted from 1."""
        self._hyper[0] = 1.0 - min(self.decay, (1 + step) / (10 + step))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Give the network the averages within the block: both change places, nothing is copied."""
        if self._is_in_use:
            yield
            return
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for variable, average in self._pairs.values():
            variable.exchange(average)
        self._is_in_use = not self._is_in_use
