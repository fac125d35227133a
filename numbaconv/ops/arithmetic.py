"""Sums, products and means, element by element or over everything."""

import math
from typing import Any

import numpy as np

from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    checked,
    dtype_of,
    image_sizes,
    is_traced,
    operator,
    public,
    shape_of,
)
from .draw import nonzero
from .shape import channel_broadcast, expand


class Add(Operator):
    """x + y of one shape."""

    def shape(self, x: Spec, y: Spec) -> Spec:
        return x

    def gradient(self, grads, outputs, x, y):
        return grads[0], grads[0]


class Subtract(Operator):
    """x - y of one shape."""

    def shape(self, x: Spec, y: Spec) -> Spec:
        return x

    def gradient(self, grads, outputs, x, y):
        return grads[0], scale_row(grads[0], factor=-1.0, offset=0.0)


class Multiply(Operator):
    """x * y of one shape."""

    def shape(self, x: Spec, y: Spec) -> Spec:
        return x

    def gradient(self, grads, outputs, x, y):
        return multiply_row(grads[0], y), multiply_row(grads[0], x)


class Divide(Operator):
    """x / y of one shape."""

    finite_at_zero = False

    def shape(self, x: Spec, y: Spec) -> Spec:
        return x

    def gradient(self, grads, outputs, x, y):
        by_y = divide_row(grads[0], y)
        return by_y, scale_row(multiply_row(by_y, outputs[0]), factor=-1.0, offset=0.0)


class Scale(Operator):
    """x * factor + offset, with numbers known beforehand."""

    def shape(self, x: Spec, *, factor, offset) -> Spec:
        return x

    def gradient(self, grads, outputs, x, *, factor, offset):
        return (scale_row(grads[0], factor=factor, offset=0.0),)


class Sum(Operator):
    """The sum of everything, a scalar."""

    def shape(self, x: Spec) -> Spec:
        return Spec((), x.dtype)

    def gradient(self, grads, outputs, x):
        return (expand(grads[0], shape=x.shape),)

    def flops(self, inputs, outputs, **attrs):
        return float(inputs[0].size)


class SumOfSquares(Operator):
    """The sum of all squares, a scalar."""

    def shape(self, x: Spec) -> Spec:
        return Spec((), x.dtype)

    def gradient(self, grads, outputs, x):
        return (scale_row(multiply_row(x, expand(grads[0], shape=x.shape)), factor=2.0, offset=0.0),)

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * inputs[0].size


class Largest(Operator):
    """The largest |x| of everything, a scalar; NaN if one is."""

    def shape(self, x: Spec) -> Spec:
        return Spec((), x.dtype)


add_row, subtract_row = operator(Add), operator(Subtract)
multiply_row, divide_row = operator(Multiply), operator(Divide)
scale_row, sum_row = operator(Scale), operator(Sum)
sum_of_squares, largest = operator(SumOfSquares), operator(Largest)


def _number(value: Any) -> float | None:
    """``value`` as a number that is known now, or None."""
    if is_traced(value) or hasattr(value, "trainable"):
        return None
    return float(value) if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "fiub" else None


def binary(function: str, row: Operator, x, y):
    """An elementwise row of two inputs, of which one may be a number or one number for each channel."""
    x, y = as_input(x), as_input(y)
    check_floats(function, x=x, y=y)
    shape, other = shape_of(x), shape_of(y)
    if shape != other:
        wide_x, wide_y = broadcast(x, other), broadcast(y, shape)
        if wide_x is None and wide_y is None:
            differ = "(only single numbers and one number a channel are broadcast)"
            raise ValueError(f"{function}: shapes {shape} and {other} differ {differ}")
        x, y = (x, wide_y) if wide_y is not None else (wide_x, y)
    return apply(row, (x, y), {})


def broadcast(value, shape: tuple[int, ...]):
    """``value``, a single number or one for each channel, in all places of ``shape``; None if it is neither.

    As in NumPy, dimensions are compared from the last one on.
    """
    from .shape import reshape

    given = shape_of(value)
    if given == shape:
        return value
    if len(given) > len(shape):
        return None
    if math.prod(given) == 1:
        return apply(expand, (reshape(value, ()),), {"shape": shape})
    if len(shape) > 1 and (1,) * (len(shape) - len(given)) + given == (1, shape[1], *(1,) * (len(shape) - 2)):
        return apply(channel_broadcast, (reshape(value, (shape[1],)),), {"shape": shape})
    return None


@public(
    Case({"x": (3, 4), "y": (3, 4)}), Case({"x": (17, 2, 3, 3), "y": (17, 2, 3, 3)}),
    sizes=image_sizes("x", "y"),
)  # fmt: skip
def add(x, y):
    """x + y for arrays of one shape, or an array and a number, or one number a channel.

    Source: PyTorch.
    """
    for a, b in ((x, y), (y, x)):
        if (number := _number(b)) is not None:
            return _scaled("add", a, 1.0, number)
    return binary("add", add_row, x, y)


@public(Case({"x": (3, 4), "y": (3, 4)}), sizes=image_sizes("x", "y"))
def subtract(x, y):
    """x - y for arrays of one shape, or an array and a number, or one number a channel.

    Source: PyTorch.
    """
    if (number := _number(y)) is not None:
        return _scaled("subtract", x, 1.0, -number)
    if (number := _number(x)) is not None:
        return _scaled("subtract", y, -1.0, number)
    return binary("subtract", subtract_row, x, y)


@public(
    Case({"x": (3, 4), "y": (3, 4)}), Case({"x": (17, 2, 3, 3), "y": (17, 2, 3, 3)}),
    sizes=image_sizes("x", "y"),
)  # fmt: skip
def multiply(x, y):
    """x * y for arrays of one shape, or an array and a number, or one number a channel.

    Source: PyTorch.
    """
    for a, b in ((x, y), (y, x)):
        if (number := _number(b)) is not None:
            return _scaled("multiply", a, number, 0.0)
    return binary("multiply", multiply_row, x, y)


@public(Case({"x": (17, 2, 3), "y": (17, 2, 3)}, draw={"y": nonzero}), sizes=image_sizes("x", "y"))
def divide(x, y):
    """x / y for arrays of one shape, or an array and a number, or one number a channel.

    Source: PyTorch.
    """
    if (number := _number(y)) is not None:
        return _scaled("divide", x, float(np.float64(1.0) / number) if number else math.copysign(math.inf, number), 0.0)
    if (number := _number(x)) is not None:
        x = np.asarray(number, dtype_of(y))
    return binary("divide", divide_row, x, y)


def _scaled(function: str, x, factor: float, offset: float):
    x = checked(function, x)
    return apply(scale_row, (x,), {"factor": factor, "offset": offset})


@public(Case({"x": (3, 4, 5)}), Case({"x": (17, 3)}), sizes=image_sizes())
def sum(x):
    """The sum of all elements, a scalar.

    Source: PyTorch.
    """
    x = checked("sum", x)
    return apply(sum_row, (x,), {})


@public(Case({"x": (3, 4, 5)}), sizes=image_sizes())
def mean(x):
    """The mean of all elements, a scalar.

    Source: PyTorch.
    """
    x = checked("mean", x)
    size = math.prod(shape_of(x))
    return apply(scale_row, (sum(x),), {"factor": 1.0 / size if size else math.nan, "offset": 0.0})


# ------------------------------------------------------------------------------------------------ reductions of losses

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(function: str, reduction: Any, known: tuple[str, ...] = REDUCTIONS) -> None:
    """ValueError unless ``reduction`` is one of those known."""
    if reduction not in known:
        *others, last = (f'"{name}"' for name in known)
        raise ValueError(f"{function}: reduction must be {', '.join(others)} or {last}, not {reduction!r}")


def total(x):
    """The sum of everything, by channels first: that goes along with the elementwise work that makes x."""
    from .conv import channel_sum

    return sum(apply(channel_sum, (x,), {}) if len(shape_of(x)) > 1 else x)


def reduced(losses, reduction: str):
    """Losses, their sum or their mean."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return total(losses)
    size = math.prod(shape_of(losses))
    return apply(scale_row, (total(losses),), {"factor": 1.0 / size if size else math.nan, "offset": 0.0})
