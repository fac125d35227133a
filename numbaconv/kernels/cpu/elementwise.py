"""Functions applied element by element: written for one vector, run in chains over whole values in any layout.

``kernels/elementwise.py`` says what a chain is; see ``channelwise.py`` for those with numbers for each channel.
"""

from collections.abc import Callable, Iterable

from .. import elementwise as common
from ..elementwise import CHANNELS, COSTLY, ELEMENTS, NUMBER, homes_of
from .compiler import inline
from .lowering import Buffer, ceil_div
from .native import Pointers, kernel
from .target import LANES
from .vector import load, load_first, splat, store, store_first

__all__ = [
    "CHANNELS", "ELEMENTS", "FUNCTIONS", "NUMBER", "elementwise", "functions_of", "homes_of", "lines_of", "pointwise",
    "read_first", "read_number", "read_whole", "vectors", "write_first", "write_whole", "written_out",
]  # fmt: skip

#: operator -> function of vectors
FUNCTIONS: dict[str, Callable] = {}


def elementwise(name: str, costly: bool = False) -> Callable[[Callable], Callable]:
    """The decorated function is the operator ``name`` on every vector.

    Its parameters are the operator's inputs and behind them, by name, those of its attributes that it needs, numbers.
    """

    def register(function: Callable) -> Callable:
        common.FUNCTIONS[name] = function
        FUNCTIONS[name] = inline(function)
        if costly:
            COSTLY.add(name)
        return FUNCTIONS[name]

    return register


def vectors(buffer: Buffer) -> int:
    """Units of an elementwise step: vectors in one copy of ``buffer``."""
    return ceil_div(buffer.elements, LANES)


# ------------------------------------------------------------------------------------------------ writing code


def written_out(parameters: str, lines: Iterable[str], names: dict[str, Callable]) -> Callable:
    """The function of ``lines``, which call ``names``, compiled.

    A program's code is written out as text, for Numba knows no loop over values of different kinds, and to compile a
    function for each of its instructions would take several times as long.
    """
    source = "\n    ".join([f"def code({parameters}):", *lines, "return"])
    namespace = dict(names)
    exec(source, namespace)
    return inline(namespace["code"])


def lines_of(operands: str, program, stores: tuple[int, ...]) -> list[str]:
    """The code of a program at element i of channel c, with its values in v0, v1 ...

    It calls ``read_e(x, i, left)``, ``read_c(x, c, left)``, ``read_n(x)``, ``write(y, i, v, left)`` and the program's
    functions.  ``pointers`` hold the operands and then the values to be stored.
    """
    place = {ELEMENTS: ", i, left", CHANNELS: ", c, left", NUMBER: ""}
    lines = [f"v{k} = read_{kind}(pointers[{k}]{place[kind]})" for k, kind in enumerate(operands)]
    for k, (name, arguments) in enumerate(program, len(operands)):
        lines.append(f"v{k} = {name}({', '.join(f'v{a}' for a in arguments)})")
    return lines + [f"write(pointers[{k}], i, v{position}, left)" for k, position in enumerate(stores, len(operands))]


def functions_of(program) -> dict[str, Callable]:
    return {name: FUNCTIONS[name] for name, _ in program}


@inline
def read_number(x):
    return splat(x, x[0])


@inline
def read_whole(x, i, left):
    return load(x, i)


@inline
def read_first(x, i, left):
    return load_first(x, i, left)


@inline
def write_whole(y, i, v, left):
    store(y, i, v)


@inline
def write_first(y, i, v, left):
    store_first(y, i, v, left)


# ------------------------------------------------------------------------------------------------ without channels


@kernel
def pointwise(T, operands, program, stores, homes):
    """A program on every element, a vector a unit; the last one may be cut short by the end of the value.

    ``homes`` are the modules that register the program's functions.
    """
    lines, names = lines_of(operands, program, stores), {"read_n": read_number, **functions_of(program)}
    whole = written_out("pointers, i, left", lines, {"read_e": read_whole, "write": write_whole, **names})
    last = written_out("pointers, i, left", lines, {"read_e": read_first, "write": write_first, **names})

    def loop(begin, end, block: int, first: int, pointers: Pointers(len(operands) + len(stores)), n: int):
        for i in range(begin, min(end, n // LANES)):
            whole(pointers, i * LANES, LANES)
        if end * LANES > n:
            i = n // LANES * LANES
            last(pointers, i, n - i)

    return loop
