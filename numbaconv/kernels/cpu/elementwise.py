"""Functions applied element by element: written for one vector, run in chains over whole values in any layout.

A chain is data, so that passes over graphs can build it: values are numbered, first the operands, then what each
instruction ``(function, numbers of its arguments)`` gives.  y = relu(x * w + x) is

    operands "ee", program (("multiply", (0, 1)), ("add", (2, 0)), ("relu", (3,))), stores (4,)

and costs one pass over memory, however long it is.  An operand is of one of three kinds: ``ELEMENTS``, ``CHANNELS``
(one number for each channel, see ``channelwise.py``) and ``NUMBER`` (one for all).
"""

import inspect
from collections.abc import Callable

from numba import njit

from .lowering import Buffer, ceil_div
from .native import Pointers, kernel
from .target import LANES
from .vector import load, load_first, splat, store, store_first

ELEMENTS, CHANNELS, NUMBER = "e", "c", "n"

#: operator -> function of vectors
FUNCTIONS: dict[str, Callable] = {}
#: operators that take longer than reading their argument from memory: no result of theirs is calculated twice
COSTLY: set[str] = set()


def elementwise(name: str, costly: bool = False) -> Callable[[Callable], Callable]:
    """The decorated function is the operator ``name`` on every vector.

    Its parameters are the operator's inputs and behind them, by name, those of its attributes that it needs, numbers.
    """

    def register(function: Callable) -> Callable:
        FUNCTIONS[name] = njit(error_model="numpy")(function)
        if costly:
            COSTLY.add(name)
        return FUNCTIONS[name]

    return register


def attributes_of(name: str, inputs: int) -> list[str]:
    """The attributes that the function ``name`` takes behind its ``inputs`` vectors."""
    return list(inspect.signature(FUNCTIONS[name].py_func).parameters)[inputs:]  # type: ignore[attr-defined]


def homes_of(program) -> tuple[str, ...]:
    """The modules whose functions a program calls: its kernel is compiled anew when one of them changes."""
    return tuple(sorted({FUNCTIONS[name].py_func.__module__ for name, _ in program}))  # type: ignore[attr-defined]


def vectors(buffer: Buffer) -> int:
    """Units of an elementwise step: vectors in one copy of ``buffer``."""
    return ceil_div(buffer.elements, LANES)


# ------------------------------------------------------------------------------------------------ parts of kernels

# Numba knows no loop over a tuple whose length changes: these write the loops out, a function a turn.


@njit(error_model="numpy")
def nothing():
    """The empty tuple of values."""
    return ()


def reading(operands: str, element: Callable, channel: Callable | None = None) -> Callable:
    """The function ``(pointers, i, c, left) -> operands``.

    ``element(x, i, left)`` reads the vector at i, ``channel(x, c, left)`` the numbers of channel c.
    """

    def behind(before, k, kind):
        @njit(error_model="numpy")
        def elements(pointers, i, c, left):
            return before(pointers, i, c, left) + (element(pointers[k], i, left),)

        @njit(error_model="numpy")
        def channels(pointers, i, c, left):
            return before(pointers, i, c, left) + (channel(pointers[k], c, left),)

        @njit(error_model="numpy")
        def number(pointers, i, c, left):
            return before(pointers, i, c, left) + (splat(pointers[k], pointers[k][0]),)

        return {ELEMENTS: elements, CHANNELS: channels, NUMBER: number}[kind]

    @njit(error_model="numpy")
    def none(pointers, i, c, left):
        return ()

    result = none
    for k, kind in enumerate(operands):
        result = behind(result, k, kind)
    return result


def evaluating(program) -> Callable:
    """The function from the operands to all values of ``program``."""

    def behind(before, f, arguments):
        first, second, third = (*arguments, 0, 0)[:3]

        @njit(error_model="numpy")
        def of_one(values):
            known = before(values)
            return known + (f(known[first]),)

        @njit(error_model="numpy")
        def of_two(values):
            known = before(values)
            return known + (f(known[first], known[second]),)

        @njit(error_model="numpy")
        def of_three(values):
            known = before(values)
            return known + (f(known[first], known[second], known[third]),)

        return (of_one, of_two, of_three)[len(arguments) - 1]

    @njit(error_model="numpy")
    def operands(values):
        return values

    result = operands
    for name, arguments in program:
        result = behind(result, FUNCTIONS[name], arguments)
    return result


def writing(first: int, stores: tuple[int, ...], element: Callable) -> Callable:
    """The function ``(pointers, values, i, left)`` that writes values ``stores`` to the pointers from ``first`` on.

    ``element(y, i, v, left)`` writes the vector v to i.
    """

    def behind(before, k, position):
        @njit(error_model="numpy")
        def write(pointers, values, i, left):
            before(pointers, values, i, left)
            element(pointers[k], i, values[position], left)

        return write

    @njit(error_model="numpy")
    def nothing(pointers, values, i, left):
        return

    result = nothing
    for k, position in enumerate(stores):
        result = behind(result, first + k, position)
    return result


@njit(error_model="numpy")
def load_whole(x, i, left):
    return load(x, i)


@njit(error_model="numpy")
def store_whole(y, i, v, left):
    store(y, i, v)


@njit(error_model="numpy")
def store_some(y, i, v, left):
    store_first(y, i, v, left)


@njit(error_model="numpy")
def load_some(x, i, left):
    return load_first(x, i, left)


# ------------------------------------------------------------------------------------------------ without channels


@kernel
def pointwise(T, operands, program, stores, homes):
    """A program on every element, a vector a unit; the last one may be cut short by the end of the value.

    ``homes`` are the modules that register the program's functions.
    """
    evaluate, count = evaluating(program), len(operands)
    read, write = reading(operands, load_whole), writing(count, stores, store_whole)
    read_last, write_last = reading(operands, load_some), writing(count, stores, store_some)

    def loop(begin, end, block: int, first: int, pointers: Pointers(count + len(stores)), n: int):
        for i in range(begin, min(end, n // LANES)):
            write(pointers, evaluate(read(pointers, i * LANES, 0, LANES)), i * LANES, LANES)
        if end * LANES > n:
            i = n // LANES * LANES
            write_last(pointers, evaluate(read_last(pointers, i, 0, n - i)), i, n - i)

    return loop
