"""Chains of elementwise functions, one number a thread or four; ``kernels/elementwise.py`` says what a chain is.

The functions are those of ``kernels/cpu``: their Python code, with the names that stand for operations on vectors
replaced by those on a float32 (``VOCABULARY``).  So an activation is written once for both backends.
"""

import types
from collections.abc import Callable, Iterable
from typing import Any

from .. import elementwise as common
from ..cpu import math as cpu_math
from ..cpu import vector
from ..elementwise import CHANNELS, ELEMENTS, NUMBER, homes_of
from . import intrinsics, math
from .compiler import Pointer, block, kernel
from .intrinsics import block_x, read, read_if, read_vector_if, thread, write_if
from .lowering import ceil_div

THREADS = 256
#: Blocks that a multiprocessor shall hold: all 2048 threads, which leaves 32 registers a thread.
RESIDENT = 8

#: operation on vectors -> operation on a number
VOCABULARY: dict[Any, Any] = {
    vector.where: intrinsics.where,
    vector.maximum: intrinsics.maximum,
    vector.minimum: intrinsics.minimum,
    vector.fma: intrinsics.fma,
    vector.absolute: math.absolute,
    vector.nearest: math.nearest,
    vector.sqrt: math.sqrt,
    cpu_math.exp: math.exp,
    cpu_math.expm1: math.expm1,
    cpu_math.log: math.log,
    cpu_math.log1p: math.log1p,
    cpu_math.tanh: math.tanh,
    cpu_math.sigmoid: math.sigmoid,
    cpu_math.normal_cdf: math.normal_cdf,
    cpu_math.normal_cdf_and_density: math.normal_cdf_and_density,
}

_TRANSLATED: dict[Callable, Callable] = {}


def translated(function: Any) -> Callable:
    """A function of vectors as a function of numbers."""
    function = getattr(function, "py_func", function)
    if function not in _TRANSLATED:
        scope = dict(function.__globals__)
        for name in function.__code__.co_names:
            value = scope.get(name)
            if value is not None and _is_known(value):
                scope[name] = VOCABULARY[value]
            elif hasattr(value, "py_func"):
                scope[name] = translated(value)
        _TRANSLATED[function] = types.FunctionType(
            function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
        )
    return _TRANSLATED[function]


def _is_known(value: Any) -> bool:
    try:
        return value in VOCABULARY
    except TypeError:  # of a kind that cannot be a key
        return False


def functions_of(program: Iterable[tuple]) -> dict[str, Callable]:
    """The functions that a program calls, by name."""
    return {name: translated(common.FUNCTIONS[name]) for name, _ in program}


def names_of(operands: str, stores: int) -> tuple[list[str], list[str]]:
    """What a written-out kernel calls its operands and its stored values."""
    return [f"x{k}" for k in range(len(operands))], [f"y{k}" for k in range(stores)]


def values_of(operands: str, program: Iterable[tuple], width: int) -> list[str]:
    """Code that gives values v0, v1 ... at element i of channel c where ``inside``.

    ``width`` elements at once are v0_0, v0_1 ...
    """
    lines = []
    for k, kind in enumerate(operands):
        if kind == NUMBER:
            lines.append(f"v{k}_0 = read(x{k}, 0)")
            lines += [f"v{k}_{e} = v{k}_0" for e in range(1, width)]
            continue
        place = "i" if kind == ELEMENTS else "c"
        if width == 1:
            lines.append(f"v{k}_0 = read_if(inside, x{k}, {place})")
        else:
            lines.append(f"r{k} = read_vector_if(inside, x{k}, {place}, {width})")
            lines += [f"v{k}_{e} = r{k}[{e}]" for e in range(width)]
    for k, (name, arguments) in enumerate(program, len(operands)):
        for e in range(width):
            lines.append(f"v{k}_{e} = {name}({', '.join(f'v{a}_{e}' for a in arguments)})")
    return lines


def stores_of(stores: Iterable[int], width: int) -> list[str]:
    """Code that stores the values numbered ``stores`` at element i where ``inside``."""
    lines = []
    for k, position in enumerate(stores):
        values = ", ".join(f"v{position}_{e}" for e in range(width))
        lines.append(f"write_if(inside, y{k}, i, {values if width == 1 else f'({values})'})")
    return lines


def written_out(parameters: dict[str, Any], lines: Iterable[str], names: dict[str, Any]) -> Callable:
    """The function of ``lines``, with parameters and their annotations."""
    source = "\n    ".join([f"def loop({', '.join(parameters)}):", *lines, "return"])
    scope = dict(names)
    exec(source, scope)
    scope["loop"].__annotations__ = dict(parameters)
    return scope["loop"]


@kernel
def pointwise(T, operands, program, stores, width, homes):
    """A program on every element, ``width`` of them a thread; channels lie innermost.

    ``homes`` are the modules that register the program's functions.
    """
    reads, writes = names_of(operands, len(stores))
    parameters = {**dict.fromkeys([*reads, *writes], Pointer), "n": int, "channels": int}
    lines = [f"i = (block_x() * {THREADS} + thread()) * {width}", "inside = i < n"]
    if CHANNELS in operands:
        lines.append("c = i % channels")
    lines += [*values_of(operands, program, width), *stores_of(stores, width)]
    names = {
        "block_x": block_x, "thread": thread, "read": read, "read_if": read_if, "read_vector_if": read_vector_if,
        "write_if": write_if, **functions_of(program),
    }  # fmt: skip
    return block(THREADS, RESIDENT)(written_out(parameters, lines, names))


def width_of(*sizes: int) -> int:
    """Elements that a thread can take at once: four where that divides all sizes."""
    return 4 if all(size % 4 == 0 for size in sizes) else 1


def pointwise_step(program: Any, operands: list, outputs: list, like: Any, attrs: dict[str, Any]) -> None:
    """Append a chain without statistics."""
    channels = like.channels if CHANNELS in attrs["operands"] else 1
    width = width_of(like.elements, channels if CHANNELS in attrs["operands"] else 4)
    constants = {name: attrs[name] for name in ("operands", "program", "stores")}
    made = pointwise(like.dtype, width=width, homes=homes_of(attrs["program"]), **constants)
    grid = ceil_div(like.elements, THREADS * width)
    program.launch(made, grid, operands, outputs, (like.elements, channels))


__all__ = [
    "CHANNELS", "ELEMENTS", "NUMBER", "RESIDENT", "THREADS", "VOCABULARY", "functions_of", "homes_of", "names_of",
    "pointwise", "pointwise_step", "stores_of", "translated", "values_of", "width_of", "written_out",
]  # fmt: skip
