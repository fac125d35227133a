"""Element-by-element arithmetic, and the sum of everything."""

from .elementwise import elementwise, vectors
from .lowering import PLAIN, SAME, ceil_div, lowering
from .math import exp, log
from .native import Pointer, kernel
from .target import LANES
from .vector import load, load_first, reduce_add, splat, store, store_first


@elementwise("add")
def add(x, y):
    return x + y


@elementwise("subtract")
def subtract(x, y):
    return x - y


@elementwise("multiply")
def multiply(x, y):
    return x * y


@elementwise("divide")
def divide(x, y):
    return x / y


@elementwise("exp")
def exp_of(x):
    return exp(x)


@elementwise("log")
def log_of(x):
    return log(x)


@kernel
def scale(T):
    """y = x * factor + offset, a vector a unit."""

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, n: int, factor: float, offset: float):
        for i in range(begin, min(end, n // LANES)):
            store(y, i * LANES, load(x, i * LANES) * factor + offset)
        if end * LANES > n:
            i = n // LANES * LANES
            store_first(y, i, load_first(x, i, n - i) * factor + offset, n - i)

    return loop


@lowering("scale", inputs=(SAME,))
def lower_scale(program, node, inputs, outputs):
    y = outputs[0]
    constants = (y.elements, float(node.attrs["factor"]), float(node.attrs["offset"]))
    program.step(scale(y.dtype), inputs, outputs, constants, vectors(y))


SUM_UNIT = 8192  # elements that one unit of a sum adds up


@kernel
def partial_sums(T):
    """The sum of every ``SUM_UNIT`` elements; a unit is one of them."""

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, n: int):
        for unit in range(begin, end):
            total = splat(x, 0.0)
            for i in range(unit * SUM_UNIT, min(n, (unit + 1) * SUM_UNIT), LANES):
                total = total + load_first(x, i, n - i)
            y[unit] = reduce_add(total)

    return loop


@lowering("sum", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sum(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    while x.elements > SUM_UNIT:
        units = ceil_div(x.elements, SUM_UNIT)
        part = program.whole(x.dtype, units)
        program.step(partial_sums(x.dtype), (x,), (part,), (x.elements,), units)
        x = part
    program.step(partial_sums(x.dtype), (x,), (y,), (x.elements,), 1)
