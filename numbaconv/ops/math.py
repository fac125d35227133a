"""Elementary functions, element by element."""

import builtins
from dataclasses import replace

import numpy as np

from .arithmetic import binary, divide_row, multiply_row, scale_row
from .core import (
    Case,
    Elementwise,
    apply,
    checked,
    dtype_of,
    image_sizes,
    number,
    operator,
    public,
)
from .draw import positive


class Exp(Elementwise):
    """e^x."""

    def gradient(self, grads, outputs, x):
        return (multiply_row(grads[0], outputs[0]),)


class Log(Elementwise):
    """Natural logarithm."""

    finite_at_zero = False

    def gradient(self, grads, outputs, x):
        return (divide_row(grads[0], x),)


class Sqrt(Elementwise):
    """The square root."""

    def gradient(self, grads, outputs, x):
        return (divide_row(scale_row(grads[0], factor=0.5, offset=0.0), outputs[0]),)


class Pow(Elementwise):
    """x^exponent for x of at least 0, NaN below."""

    finite_at_zero = False

    def gradient(self, grads, outputs, x, *, exponent):
        slope = multiply_row(grads[0], pow_row(x, exponent=exponent - 1.0))
        return (scale_row(slope, factor=exponent, offset=0.0),)


class Signed(Elementwise):
    """v times the sign of x, which is 0 at 0."""

    def gradient(self, grads, outputs, v, x):
        return signed(grads[0], x), None


class Maximum(Elementwise):
    """The larger of x and y; NaN if one is."""

    def gradient(self, grads, outputs, x, y):
        return not_below(grads[0], x, y), not_below(grads[0], y, x)


class Minimum(Elementwise):
    """The smaller of x and y; NaN if one is."""

    def gradient(self, grads, outputs, x, y):
        return not_below(grads[0], y, x), not_below(grads[0], x, y)


class NotBelow(Elementwise):
    """v, half of it where x = y, 0 where x < y."""

    def gradient(self, grads, outputs, v, x, y):
        return not_below(grads[0], x, y), None, None


exp_row, log_row, sqrt_row, pow_row = operator(Exp), operator(Log), operator(Sqrt), operator(Pow)
signed, not_below = operator(Signed), operator(NotBelow)
maximum_row, minimum_row = operator(Maximum), operator(Minimum)


@public(Case({"x": (3, 5)}), Case({"x": (17, 2, 3, 3)}), sizes=image_sizes())
def exp(x):
    """e^x of every element; error at most 1 unit in the last place.

    Source: PyTorch.
    """
    x = checked("exp", x)
    return apply(exp_row, (x,), {})


@public(
    Case({"x": (3, 5)}, draw={"x": positive}), Case({"x": (17, 2, 3, 3)}, draw={"x": positive}),
    sizes=[replace(case, draw={"x": positive}) for case in image_sizes()],
)  # fmt: skip
def log(x):
    """Natural logarithm of every element; -infinity at 0, NaN below; error at most 1 unit in the last place.

    Source: PyTorch.
    """
    x = checked("log", x)
    return apply(log_row, (x,), {})


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def abs(x):
    """|x| of every element; the gradient at 0 is 0.

    Source: PyTorch.
    """
    x = checked("abs", x)
    return apply(signed, (x, x), {})


@public(Case({"x": (3, 5)}), sizes=image_sizes())
def neg(x):
    """-x of every element.

    Source: PyTorch.
    """
    return apply(scale_row, (checked("neg", x),), {"factor": -1.0, "offset": 0.0})


@public(Case({"x": (3, 5)}), sizes=image_sizes())
def square(x):
    """x * x of every element.

    Source: PyTorch.
    """
    x = checked("square", x)
    return apply(multiply_row, (x, x), {})


_POSITIVE_SIZES = tuple(Case(case.shapes, draw={"x": positive}) for case in image_sizes())


@public(Case({"x": (3, 5)}, draw={"x": positive}), sizes=_POSITIVE_SIZES)
def sqrt(x):
    """The square root of every element, correctly rounded; NaN below 0.

    Source: PyTorch.
    """
    return apply(sqrt_row, (checked("sqrt", x),), {})


@public(
    Case({"x": (17, 3)}, {"exponent": 3}), Case({"x": (3, 5)}, {"exponent": 1.75}, draw={"x": positive}),
    sizes=tuple(Case(case.shapes, {"exponent": 1.75}, {"x": positive}) for case in image_sizes()),
)  # fmt: skip
def pow(x, exponent):
    """x^exponent of every element, the exponent being a number; whole ones from -16 to 16 by repeated products.

    Others: NaN for x < 0, and a relative error of about |exponent * log x| units in the last place.  TypeError for an
    exponent that is no number.
    Source: PyTorch.
    """
    x, exponent = checked("pow", x), number("pow", "exponent", exponent)
    if exponent != int(exponent) or not 0 < builtins.abs(exponent) <= 16:
        return apply(pow_row, (x,), {"exponent": exponent})
    power, square_of, left = None, x, int(builtins.abs(exponent))
    while left:
        if left % 2:
            power = square_of if power is None else apply(multiply_row, (power, square_of), {})
        left //= 2
        square_of = apply(multiply_row, (square_of, square_of), {}) if left else None
    return power if exponent > 0 else binary("pow", divide_row, np.ones((), dtype_of(x)), power)


@public(Case({"x": (17, 3), "y": (17, 3)}), sizes=tuple(
    Case({"x": case.shapes["x"], "y": case.shapes["x"]}) for case in image_sizes()
))  # fmt: skip
def maximum(x, y):
    """The larger of x and y, arrays of one shape or one of them a number; NaN if one is.  Equals share the gradient.

    Source: PyTorch.
    """
    return binary("maximum", maximum_row, x, y)


@public(Case({"x": (17, 3), "y": (17, 3)}), sizes=tuple(
    Case({"x": case.shapes["x"], "y": case.shapes["x"]}) for case in image_sizes()
))  # fmt: skip
def minimum(x, y):
    """The smaller of x and y, arrays of one shape or one of them a number; NaN if one is.  Equals share the gradient.

    Source: PyTorch.
    """
    return binary("minimum", minimum_row, x, y)
