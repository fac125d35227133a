"""Functions applied element by element: written for one vector, run over whole values in any layout."""

import inspect
from collections.abc import Callable

from numba import njit

from .lowering import SAME, Buffer, ceil_div, lowering
from .native import Pointer, kernel
from .target import LANES
from .vector import load, load_first, store, store_first

#: operator -> function of vectors
FUNCTIONS: dict[str, Callable] = {}


def elementwise(name: str) -> Callable[[Callable], Callable]:
    """The decorated function of one or two vectors is the operator ``name`` on every vector."""

    def register(function: Callable) -> Callable:
        FUNCTIONS[name] = njit(error_model="numpy")(function)
        make = (unary, binary)[len(inspect.signature(function).parameters) - 1]

        @lowering(name, inputs=(SAME,))
        def lower(program, node, inputs, outputs):
            y = outputs[0]
            step = make(y.dtype, function=name, home=function.__module__)
            program.step(step, inputs, outputs, (y.elements,), vectors(y))

        return FUNCTIONS[name]

    return register


def vectors(buffer: Buffer) -> int:
    """Units of an elementwise step: vectors in one copy of ``buffer``."""
    return ceil_div(buffer.elements, LANES)


@kernel
def unary(T, function, home):
    """y = f(x), a vector a unit; the last one may be cut short by the end of the value.

    ``home`` is the module that registers the function.
    """
    f = FUNCTIONS[function]

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, n: int):
        for i in range(begin, min(end, n // LANES)):
            store(y, i * LANES, f(load(x, i * LANES)))
        if end * LANES > n:
            i = n // LANES * LANES
            store_first(y, i, f(load_first(x, i, n - i)), n - i)

    return loop


@kernel
def binary(T, function, home):
    """z = f(x, y), a vector a unit; see ``unary``."""
    f = FUNCTIONS[function]

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, z: Pointer, n: int):
        for i in range(begin, min(end, n // LANES)):
            store(z, i * LANES, f(load(x, i * LANES), load(y, i * LANES)))
        if end * LANES > n:
            i = n // LANES * LANES
            store_first(z, i, f(load_first(x, i, n - i), load_first(y, i, n - i)), n - i)

    return loop
