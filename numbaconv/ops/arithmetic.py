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
    dtype_of,
    image_sizes,
    is_traced,
    operator,
    public,
    shape_of,
)
from .draw import nonzero
from .shape import expand


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


add_row, subtract_row = operator(Add), operator(Subtract)
multiply_row, divide_row = operator(Multiply), operator(Divide)
scale_row, sum_row = operator(Scale), operator(Sum)


def _number(value: Any) -> float | None:
    """``value`` as a number that is known now, or None."""
    if is_traced(value) or hasattr(value, "trainable"):
        return None
    return float(value) if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "fiub" else None


def _pair(function: str, row: Operator, x, y):
    x, y = as_input(x), as_input(y)
    check_floats(function, x=x, y=y)
    a, b = shape_of(x), shape_of(y)
    if a != b:
        if math.prod(b) == 1 and len(b) <= len(a):
            y = expand(_scalar(y), shape=a)
        elif math.prod(a) == 1 and len(a) <= len(b):
            x = expand(_scalar(x), shape=b)
        else:
            raise ValueError(f"{function}: shapes {a} and {b} differ (only single numbers are broadcast)")
    return apply(row, (x, y), {})


def _scalar(value):
    from .shape import reshape

    return reshape(value, ())


@public(
    Case({"x": (3, 4), "y": (3, 4)}), Case({"x": (17, 2, 3, 3), "y": (17, 2, 3, 3)}),
    sizes=image_sizes("x", "y"),
)  # fmt: skip
def add(x, y):
    """x + y for arrays of one shape, or an array and a number."""
    for a, b in ((x, y), (y, x)):
        if (number := _number(b)) is not None:
            return _scaled("add", a, 1.0, number)
    return _pair("add", add_row, x, y)


@public(Case({"x": (3, 4), "y": (3, 4)}), sizes=image_sizes("x", "y"))
def subtract(x, y):
    """x - y for arrays of one shape, or an array and a number."""
    if (number := _number(y)) is not None:
        return _scaled("subtract", x, 1.0, -number)
    if (number := _number(x)) is not None:
        return _scaled("subtract", y, -1.0, number)
    return _pair("subtract", subtract_row, x, y)


@public(
    Case({"x": (3, 4), "y": (3, 4)}), Case({"x": (17, 2, 3, 3), "y": (17, 2, 3, 3)}),
    sizes=image_sizes("x", "y"),
)  # fmt: skip
def multiply(x, y):
    """x * y for arrays of one shape, or an array and a number."""
    for a, b in ((x, y), (y, x)):
        if (number := _number(b)) is not None:
            return _scaled("multiply", a, number, 0.0)
    return _pair("multiply", multiply_row, x, y)


@public(Case({"x": (17, 2, 3), "y": (17, 2, 3)}, draw={"y": nonzero}), sizes=image_sizes("x", "y"))
def divide(x, y):
    """x / y for arrays of one shape, or an array and a number."""
    if (number := _number(y)) is not None:
        return _scaled("divide", x, float(np.float64(1.0) / number) if number else math.copysign(math.inf, number), 0.0)
    if (number := _number(x)) is not None:
        x = np.asarray(number, dtype_of(y))
    return _pair("divide", divide_row, x, y)


def _scaled(function: str, x, factor: float, offset: float):
    x = as_input(x)
    check_floats(function, x=x)
    return apply(scale_row, (x,), {"factor": factor, "offset": offset})


@public(Case({"x": (3, 4, 5)}), Case({"x": (17, 3)}), sizes=image_sizes())
def sum(x):
    """The sum of all elements, a scalar."""
    x = as_input(x)
    check_floats("sum", x=x)
    return apply(sum_row, (x,), {})


@public(Case({"x": (3, 4, 5)}), sizes=image_sizes())
def mean(x):
    """The mean of all elements, a scalar."""
    x = as_input(x)
    check_floats("mean", x=x)
    size = math.prod(shape_of(x))
    return apply(scale_row, (sum(x),), {"factor": 1.0 / size if size else math.nan, "offset": 0.0})
