"""A running average of a network's weights, which is what is evaluated and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from numbaconv.nn import Module


class WeightAverage:
    """Exponential moving average of all parameters and buffers of a network.

    The average moves towards the weights by ``1 - d`` after every step; d is ``decay``, and at most
    ``(1 + step) / (10 + step)``, that the beginning is soon forgotten.

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim. 30, 1992;
    the exponential form and its start as in TensorFlow.

    Args:
        model: the network.
        decay: 0 or more and below 1.

    Attributes:
        arrays: the averages by the names in ``Module.state_dict``.

    Raises:
        ValueError: if ``decay`` is out of range.
    """

    def __init__(self, model: Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"WeightAverage: decay must be 0 or more and below 1, got {decay}")
        self.decay = decay
        self._variables = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.arrays = {name: variable.data.copy() for name, variable in self._variables.items()}

    def restart(self) -> None:
        """Begin anew with the network's weights as they are."""
        for name, array in self.arrays.items():
            array[...] = self._variables[name].data

    def update(self, step: int) -> None:
        """Move towards the weights after a step, counted from 1."""
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, array in self.arrays.items():
            value = self._variables[name].data
            if array.dtype.kind == "f":
                array += (value - array) * np.asarray(1.0 - kept, array.dtype)
            else:
                array[...] = value  # A count has no average.

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Give the network the averages within the block."""
        own = {name: variable.data.copy() for name, variable in self._variables.items()}
        for name, array in self.arrays.items():
            self._variables[name].data[...] = array
        try:
            yield
        finally:
            for name, array in own.items():
                self._variables[name].data[...] = array
