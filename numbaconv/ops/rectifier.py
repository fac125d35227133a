"""Activations made of straight pieces (hardswish: and one parabola).

Most are a *choice*: a row of two inputs (v, x) that gives v times a number, or another number, as x says.  f(x) is the
choice of (x, x), and its gradient the choice of (grad, x): the same row, so that it can be differentiated for ever.
"""

import math

from .arithmetic import multiply_row, scale_row, subtract_row
from .core import (
    Case,
    Elementwise,
    Spec,
    apply,
    as_input,
    check_floats,
    checked,
    image_sizes,
    is_traced,
    number,
    operator,
    public,
    random_key,
    shape_of,
)
from .shape import channel_broadcast, expand, reshape


class _Choice(Elementwise):
    """v, times a number or replaced by one, as x says; linear in v, and constant in x but for jumps."""

    def attributes_of_gradient(self, **attrs):
        return attrs

    def gradient(self, grads, outputs, v, x, **attrs):
        return self(grads[0], x, **self.attributes_of_gradient(**attrs)), None


class Leaky(_Choice):
    """v where x > 0, else v * negative_slope."""


class Above(_Choice):
    """v, or ``value`` where x <= threshold."""

    def attributes_of_gradient(self, threshold, value):
        return {"threshold": threshold, "value": 0.0}


class Between(_Choice):
    """v, or ``at_low`` where x <= low and ``at_high`` where x >= high."""

    def attributes_of_gradient(self, low, high, **ends):
        return {"low": low, "high": high, "at_low": 0.0, "at_high": 0.0}


class Within(Between):
    """v, or ``at_low`` where x < low and ``at_high`` where x > high."""


class Outside(_Choice):
    """v, or 0 where -bound <= x <= bound."""


class NotAbove(_Choice):
    """v, or 0 where x > 0."""


leaky, above, between, within, outside = map(operator, (Leaky, Above, Between, Within, Outside))
not_above = operator(NotAbove)


class Prelu(Elementwise):
    """v where x > 0, else v * slope."""

    def gradient(self, grads, outputs, v, x, slope):
        return prelu_row(grads[0], x, slope), None, not_above(multiply_row(grads[0], v), x)


class Hardswish(Elementwise):
    """x min(max(x + 3, 0), 6) / 6."""

    def gradient(self, grads, outputs, x):
        return (hardswish_grad(grads[0], x),)


class HardswishGrad(Elementwise):
    """grad times 0 up to -3, 1 from 3 on, and x / 3 + 1 / 2 between."""

    def gradient(self, grads, outputs, grad, x):
        bend = between(multiply_row(grads[0], grad), x, low=-3.0, high=3.0, at_low=0.0, at_high=0.0)
        return hardswish_grad(grads[0], x), scale_row(bend, factor=1.0 / 3.0, offset=0.0)


class UniformLike(Elementwise):
    """Numbers between low and high for every element of x, from the counter-based generator; x is not read."""

    def shape(self, x: Spec, key: Spec, *, low, high, salt) -> Spec:
        return x

    def gradient(self, grads, outputs, x, key, **attrs):
        return None, None


prelu_row, uniform_like = operator(Prelu), operator(UniformLike)
hardswish_row, hardswish_grad = operator(Hardswish), operator(HardswishGrad)


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def leaky_relu(x, negative_slope=0.01):
    """x where x > 0, else negative_slope * x, of every element.

    Args: x of any shape; ``negative_slope``, a number.  TypeError for other things.
    Source: Maas et al., Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013.
    """
    x = checked("leaky_relu", x)
    return leaky(x, x, negative_slope=number("leaky_relu", "negative_slope", negative_slope))


@public(
    Case({"x": (17, 3, 5), "weight": (3,)}), Case({"x": (3, 5), "weight": (1,)}, batched=()),
    sizes=(Case({"x": (64, 32, 32, 32), "weight": (32,)}), Case({"x": (16, 64, 56, 56), "weight": (64,)})),
)  # fmt: skip
def prelu(x, weight):
    """x where x > 0, else weight * x, the weight being learned: one for all, or one a channel.

    Args: x (N, C, ...) or any shape; weight (1,), () or (C,).  ValueError for a weight of another size.
    Source: He et al., Delving Deep into Rectifiers, arXiv 1502.01852, equation 1.
    """
    x, weight = as_input(x), as_input(weight)
    check_floats("prelu", x=x, weight=weight)
    shape, given = shape_of(x), shape_of(weight)
    channels = shape[1] if len(shape) > 1 else 1
    if math.prod(given) not in (1, channels) or len(given) > 1:
        raise ValueError(f"prelu: weight must have shape (1,) or ({channels},), its shape is {given}")
    if len(shape) < 2:
        slopes = expand(reshape(weight, ()), shape=shape)
    else:  # through the channels also where there is one number: what they give back is summed as it is made
        per_channel = weight if given == (channels,) else expand(reshape(weight, ()), shape=(channels,))
        slopes = channel_broadcast(per_channel, shape=shape)
    return apply(prelu_row, (x, x, slopes), {})


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def rrelu(x, lower=1.0 / 8, upper=1.0 / 3, training=False, *, key=None):
    """x where x > 0, else slope * x: in ``training`` a slope between ``lower`` and ``upper`` drawn for every element.

    Otherwise it is their mean.  ``key``: an int64 array [seed, step] as for ``dropout``.  ValueError if lower > upper.
    Source: Xu et al., Empirical Evaluation of Rectified Activations, arXiv 1505.00853.
    """
    x = checked("rrelu", x)
    lower, upper = number("rrelu", "lower", lower), number("rrelu", "upper", upper)
    if lower > upper:
        raise ValueError(f"rrelu: lower must be at most upper, not {lower} and {upper}")
    if not training:
        return leaky(x, x, negative_slope=(lower + upper) / 2.0)
    key, salt = random_key("rrelu", key, x.graph if is_traced(x) else None)
    slopes = apply(uniform_like, (x, key), {"low": lower, "high": upper, "salt": salt})
    return apply(prelu_row, (x, x, slopes), {})


@public(Case({"x": (17, 3, 5)}, {"min_val": -0.5, "max_val": 0.75}), sizes=image_sizes())
def hardtanh(x, min_val=-1.0, max_val=1.0):
    """min(max(x, min_val), max_val) of every element; the gradient is zero at both ends and beyond.

    Args: x of any shape; numbers with min_val <= max_val, else ValueError.
    Source: Collobert, Large Scale Machine Learning, 2004; PyTorch.
    """
    x = checked("hardtanh", x)
    low, high = number("hardtanh", "min_val", min_val), number("hardtanh", "max_val", max_val)
    if low > high:
        raise ValueError(f"hardtanh: min_val must be at most max_val, not {low} and {high}")
    return between(x, x, low=low, high=high, at_low=low, at_high=high)


@public(Case({"x": (17, 3, 5)}, {"min": -0.5, "max": 0.75}), sizes=image_sizes(min=-1.0, max=1.0))
def clamp(x, min=None, max=None):
    """min(max(x, min), max) of every element; None is no bound.  The gradient passes at the bounds (torch.clamp).

    Args: x of any shape; numbers.  Where min > max the result is max, as in PyTorch.  ValueError without any bound.
    Source: PyTorch.
    """
    x = checked("clamp", x)
    if min is None and max is None:
        raise ValueError("clamp: min or max must be given")
    low = -math.inf if min is None else number("clamp", "min", min)
    high = math.inf if max is None else number("clamp", "max", max)
    low = low if low < high else high
    return within(x, x, low=low, high=high, at_low=low, at_high=high)


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def hardsigmoid(x):
    """min(max(x + 3, 0), 6) / 6 of every element.

    Source: Howard et al., Searching for MobileNetV3, arXiv 1905.02244, section 5.2.
    """
    raised = scale_row(checked("hardsigmoid", x), factor=1.0, offset=3.0)
    bounded = between(raised, raised, low=0.0, high=6.0, at_low=0.0, at_high=6.0)
    return scale_row(bounded, factor=1.0 / 6.0, offset=0.0)


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def hardswish(x):
    """x min(max(x + 3, 0), 6) / 6 of every element: 0 up to -3 (also at -infinity), x from 3 on.

    Source: Howard et al., Searching for MobileNetV3, arXiv 1905.02244, equation 2.
    """
    return hardswish_row(checked("hardswish", x))


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def hardshrink(x, lambd=0.5):
    """x of every element, or 0 where -lambd <= x <= lambd.

    Source: Donoho & Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994 (hard threshold); PyTorch.
    """
    x = checked("hardshrink", x)
    return outside(x, x, bound=number("hardshrink", "lambd", lambd))


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def softshrink(x, lambd=0.5):
    """x - lambd where x > lambd, x + lambd where x < -lambd, else 0, of every element.

    ValueError for a negative lambd.
    Source: Donoho, De-noising by soft-thresholding, 1995; PyTorch.
    """
    bound = number("softshrink", "lambd", lambd)
    if bound < 0.0:
        raise ValueError(f"softshrink: lambd must be at least 0, not {lambd}")
    x = checked("softshrink", x)
    return subtract_row(x, within(x, x, low=-bound, high=bound, at_low=-bound, at_high=bound))


@public(Case({"x": (17, 3, 5)}, {"threshold": 0.25, "value": -3.0}), sizes=image_sizes(threshold=0.1, value=20.0))
def threshold(x, threshold, value):
    """x where x > threshold, else ``value``, of every element; NaN stays.

    Source: PyTorch.
    """
    x = checked("threshold", x)
    attrs = {"threshold": number("threshold", "threshold", threshold), "value": number("threshold", "value", value)}
    return above(x, x, **attrs)


