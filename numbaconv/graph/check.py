"""Gradients against finite differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.arithmetic import add_row, multiply_row, sum_row
from .autodiff import flatten_tree, gradients
from .graph import Graph, Tensor
from .runner import compile_graph

#: Central differences of a smooth function are right to about the square of it.
STEP = 1e-5


class Potential:
    """A scalar made of a function and of its gradients: order k contains the gradients of order k.

    Order 0 is the sum of <y * y, c> over the results y, with fixed random numbers c; order k + 1 is the sum of
    <gradient of order k, c>.
    """

    def __init__(self, f: Callable, primals: Sequence[np.ndarray], order: int) -> None:
        self.graph = Graph()
        self.inputs = [self.graph.input(a.shape, a.dtype) for a in primals]
        self.floats = [t for t in self.inputs if t.dtype.kind == "f"]
        results, _ = flatten_tree(f(*self.inputs))
        squares = [multiply_row(y, y) for y in results if y.dtype.kind == "f"]
        self.value = self._against_weights(squares, 10)
        for k in range(order):
            self.value = self._against_weights(gradients(self.value, self.floats), 20 + k)

    def _against_weights(self, tensors: Sequence[Tensor], seed: int) -> Tensor:
        total: Any = None
        for i, t in enumerate(tensors):
            weights = np.random.default_rng(seed + 100 * i).standard_normal(t.shape).astype(t.dtype)
            part = sum_row(multiply_row(t, np.asarray(weights)))
            total = part if total is None else add_row(total, part)
        return total


def check_gradient(f: Callable, primals: Sequence[np.ndarray], order: int, tolerance: float) -> None:
    """The directional derivative of a ``Potential`` by central differences equals <its gradient, direction>.

    Raises AssertionError if it does not, relative to the gradient's length.
    """
    potential = Potential(f, primals, order)
    potential.graph.output(potential.value, *gradients(potential.value, potential.floats))
    run = compile_graph(potential.graph).run
    _, *found = run(list(primals))
    floats = [i for i, a in enumerate(primals) if a.dtype.kind == "f"]
    assert [g.shape for g in found] == [primals[i].shape for i in floats]
    size = np.sqrt(sum(float(np.vdot(g, g)) for g in found)) + 1.0
    for seed in range(2):
        directions = {
            i: np.random.default_rng(1000 + 10 * i + seed).standard_normal(primals[i].shape) for i in floats
        }  # fmt: skip

        def moved(step: float, directions: dict[int, np.ndarray] = directions) -> list[np.ndarray]:
            return [a + step * directions[i] if i in directions else a for i, a in enumerate(primals)]

        expected = (run(moved(STEP))[0] - run(moved(-STEP))[0]) / (2 * STEP)
        slope = sum(float(np.vdot(g, directions[i])) for g, i in zip(found, floats, strict=True))
        assert abs(slope - expected) <= tolerance * size, (
            f"the derivative of order {order + 1} along a random direction is {slope:.8g} by its rule, "
            f"{float(expected):.8g} by differences"
        )


def check_gradients(f: Callable, *primals: Any, order: int = 1, tolerance: float = 1e-7) -> None:
    """Compare the gradients of ``f`` with central differences, in float64, along random directions.

    Args:
        f: a function of arrays made of operators; its results may be a tuple, integers among them do not count.
        primals: arrays at which ``f`` is smooth; those of integers are passed on.
        order: up to which order; 2 checks gradients of gradients, too.
        tolerance: relative to the length of the gradient; ten times as much for every further order.

    Raises:
        AssertionError: if a gradient is wrong.
    """
    arrays = [np.asarray(a) for a in primals]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    for k in range(order):
        check_gradient(f, arrays, k, tolerance * 10**k)
