"""Element-by-element arithmetic, and the sum of everything."""

from .compiler import inline
from .elementwise import elementwise
from .lowering import PLAIN, ceil_div, lowering
from .math import exp, log
from .native import Pointer, kernel
from .target import LANES
from .vector import (
    absolute,
    load,
    load_first,
    maximum,
    minimum,
    reduce_add,
    reduce_max,
    splat,
    sqrt,
    store_first,
    where,
)


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


@elementwise("exp", costly=True)
def exp_of(x):
    return exp(x)


@elementwise("log", costly=True)
def log_of(x):
    return log(x)


@elementwise("sqrt")
def sqrt_of(x):
    return sqrt(x)


@elementwise("pow", costly=True)
def pow_of(x, exponent):
    return exp(exponent * log(x))


@elementwise("signed")
def signed(v, x):
    return where(x < 0.0, -v, where(x == 0.0, 0.0, v))


@elementwise("maximum")
def larger(x, y):
    return where(x != x, x, maximum(x, y))


@elementwise("minimum")
def smaller(x, y):
    return where(x != x, x, minimum(x, y))


@elementwise("not_below")
def not_below(v, x, y):
    return where(x < y, 0.0, where(x == y, 0.5 * v, v))


@elementwise("x_log_x")
def x_log_x(x):
    return where(x == 0.0, 0.0, x * log(x))


@elementwise("binary_cross_entropy", costly=True)
def binary_cross_entropy(x, target):
    return (target - 1.0) * maximum(-100.0, log(1.0 - x)) - target * maximum(-100.0, log(x))


@elementwise("binary_cross_entropy_grad")
def binary_cross_entropy_grad(g, x, target):
    return g * (x - target) / maximum(1e-12, (1.0 - x) * x)


@elementwise("scale")
def scale(x, factor, offset):
    return x * factor + offset


@elementwise("inverse_deviation")
def inverse_deviation(variance, eps):
    return 1.0 / sqrt(variance + eps)


@kernel
def scale_rows(T):
    """Each row times a number of its own; a unit is a row."""

    def loop(begin, end, block: int, first: int, x: Pointer, factors: Pointer, y: Pointer, n: int):
        for row in range(begin, end):
            for i in range(0, n, LANES):
                store_first(y, row * n + i, load_first(x, row * n + i, n - i) * factors[row], n - i)

    return loop


@lowering("scale_filters", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_scale_filters(program, node, inputs, outputs):
    y = outputs[0]
    program.step(scale_rows(y.dtype), inputs, outputs, (y.elements // y.shape[0],), y.shape[0])


SUM_UNIT = 8192  # elements that one unit of a sum adds up


@kernel
def partial_sums(T, function):
    """The sum, the sum of squares or the largest magnitude of every ``SUM_UNIT`` elements; a unit is one of them."""
    squares, largest = function == "sum_of_squares", function == "largest"

    @inline
    def merged(a, b):
        return where(a != a, a, maximum(a, b)) if largest else a + b

    @inline
    def taken(total, v):
        return merged(total, absolute(v) if largest else v * v if squares else v)

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, n: int):
        for unit in range(begin, end):
            low, high = unit * SUM_UNIT, min(n, (unit + 1) * SUM_UNIT)
            t0 = t1 = t2 = t3 = splat(x, 0.0)  # sums that do not wait for each other
            whole = low + (high - low) // (4 * LANES) * (4 * LANES)
            for i in range(low, whole, 4 * LANES):
                t0, t1 = taken(t0, load(x, i)), taken(t1, load(x, i + LANES))
                t2, t3 = taken(t2, load(x, i + 2 * LANES)), taken(t3, load(x, i + 3 * LANES))
            for i in range(whole, high, LANES):
                t0 = taken(t0, load_first(x, i, high - i))
            total = merged(merged(t0, t1), merged(t2, t3))
            y[unit] = reduce_max(total) if largest else reduce_add(total)

    return loop


@lowering("sum", "sum_of_squares", "largest", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sum(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    function = node.op.name
    while x.elements > SUM_UNIT:
        units = ceil_div(x.elements, SUM_UNIT)
        part = program.whole(x.dtype, units)
        program.step(partial_sums(x.dtype, function=function), (x,), (part,), (x.elements,), units)
        x = part
        function = "largest" if function == "largest" else "sum"
    program.step(partial_sums(x.dtype, function=function), (x,), (y,), (x.elements,), 1)
