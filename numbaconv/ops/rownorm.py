"""Normalisation within each image: layer, group and instance normalisation are one operator on rows of numbers.

In NumPy's order what is normalised together lies together: a row.  ``groups`` rows in turn share no weights; a row has
``parts`` weights, each for as many numbers that follow each other.
"""

import math
from typing import Any

import numpy as np

from .conv import channel_sum
from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    dtype_of,
    integers,
    operator,
    public,
    shape_of,
)
from .draw import positive
from .norm import move_running, normalize
from .shape import reshape


class RowNorm(Operator):
    """(x - mean) / sqrt(variance + eps) * weight + bias in each row; outputs: y, mean (rows,), variance (rows,)."""

    def shape(self, x: Spec, weight: Spec, bias: Spec, *, rows, **attrs) -> tuple[Spec, ...]:
        return x, Spec((rows,), x.dtype), Spec((rows,), x.dtype)

    def gradient(self, grads, outputs, x, weight, bias, **attrs):
        return row_norm_grad(grads[0], x, outputs[1], outputs[2], weight, **attrs)

    def flops(self, inputs, outputs, **attrs):
        return 7.0 * inputs[0].size


class RowNormGrad(Operator):
    """Gradients of x, weight and bias; the statistics are part of the function of x."""

    def shape(self, grad: Spec, x: Spec, mean: Spec, var: Spec, weight: Spec, **attrs) -> tuple[Spec, ...]:
        return x, weight, weight

    def flops(self, inputs, outputs, **attrs):
        return 9.0 * inputs[0].size


row_norm, row_norm_grad = operator(RowNorm), operator(RowNormGrad)


def _row_norm(x, weight, bias, *, shape: tuple[int, ...], rows: int, groups: int, eps: float):
    """``row_norm`` with weight and bias of ``shape``, or None, ``groups`` rows of them; all three outputs."""
    dtype, count = dtype_of(x), math.prod(shape)
    weight = np.ones(count, dtype) if weight is None else reshape(weight, (count,))
    bias = np.zeros(count, dtype) if bias is None else reshape(bias, (count,))
    attrs = {"rows": rows, "groups": groups, "parts": count // groups, "eps": float(eps)}
    return apply(row_norm, (x, weight, bias), attrs)


def _inputs(function: str, x: Any, shape_of_weights: tuple[int, ...], **weights: Any) -> list[Any]:
    """Checked weights, None where there are none."""
    given = {name: as_input(value) for name, value in weights.items()}
    check_floats(function, x=x, **{name: value for name, value in given.items() if value is not None})
    for name, value in given.items():
        if value is not None and shape_of(value) != shape_of_weights:
            raise ValueError(f"{function}: {name} must have shape {shape_of_weights}, its shape is {shape_of(value)}")
    return list(given.values())


def _layer_sizes() -> tuple[Case, ...]:
    return tuple(
        Case({"x": (n, *item), "weight": item, "bias": item}, {"normalized_shape": item})
        for n, item in ((64, (32, 32, 32)), (16, (64, 56, 56)), (4096, (256,)))
    )


def _channel_sizes(*, affine: bool, **arguments: Any) -> tuple[Case, ...]:
    weights = ("weight", "bias") if affine else ()
    return tuple(
        Case({"x": (n, c, *pixels), **{name: (c,) for name in weights}}, arguments)
        for n, c, *pixels in ((64, 32, 32, 32), (16, 64, 56, 56))
    )


@public(
    Case({"x": (17, 3, 5), "weight": (5,), "bias": (5,)}, {"normalized_shape": (5,)}),
    Case({"x": (3, 4, 5, 2)}, {"normalized_shape": (4, 5, 2)}),
    sizes=_layer_sizes(),
)
def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalise the last dimensions of x to mean 0 and variance 1, then times ``weight`` plus ``bias``.

    Args: x (..., *normalized_shape); weight and bias of ``normalized_shape``.  ValueError if they do not fit.
    Source: Ba et al., Layer Normalization, arXiv 1607.06450.
    """
    x = as_input(x)
    given = normalized_shape if isinstance(normalized_shape, (tuple, list, np.ndarray)) else (normalized_shape,)
    item = integers("layer_norm", "normalized_shape", tuple(given), len(given), 1) if len(given) else ()
    weight, bias = _inputs("layer_norm", x, item, weight=weight, bias=bias)
    shape = shape_of(x)
    if not item or shape[len(shape) - len(item) :] != item:
        raise ValueError(f"layer_norm: x must end with the dimensions {item}, its shape is {shape}")
    rows = math.prod(shape[: len(shape) - len(item)])
    return _row_norm(x, weight, bias, shape=item, rows=rows, groups=1, eps=eps)[0]


@public(
    Case({"x": (17, 6, 5, 3), "weight": (6,), "bias": (6,)}, {"num_groups": 2}),
    Case({"x": (5, 12)}, {"num_groups": 2}),
    sizes=_channel_sizes(affine=True, num_groups=8),
)
def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalise groups of channels of every image to mean 0 and variance 1, then times ``weight`` plus ``bias``.

    Args: x (N, C, ...); ``num_groups`` that divides C; weight and bias (C,).  ValueError if they do not fit, and for
    one value a group in a batch of one.
    Source: Wu & He, Group Normalization, arXiv 1803.08494.
    """
    x = as_input(x)
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"group_norm: x must have at least 2 dimensions, its shape is {shape}")
    weight, bias = _inputs("group_norm", x, (shape[1],), weight=weight, bias=bias)
    (groups,) = integers("group_norm", "num_groups", num_groups, 1, 1)
    if shape[1] % groups:
        raise ValueError(f"group_norm: {shape[1]} channels cannot be divided into {groups} groups")
    if math.prod(shape) == groups:
        raise ValueError(f"group_norm: more than one value a group is needed, x has shape {shape}")
    return _row_norm(x, weight, bias, shape=(shape[1],), rows=shape[0] * groups, groups=groups, eps=eps)[0]


@public(
    Case({"x": (17, 3, 4, 5), "weight": (3,), "bias": (3,)}),
    Case({"x": (5, 4, 6), "running_mean": (4,), "running_var": (4,)}, {"use_input_stats": False},
         {"running_var": positive}),
    sizes=_channel_sizes(affine=False),
)  # fmt: skip
def instance_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    """Normalise each channel of every image to mean 0 and variance 1, then times ``weight`` plus ``bias``.

    Args: x (N, C, ...) with more than one pixel; all others (C,).  With ``use_input_stats`` the running statistics, if
    given, move by ``momentum`` towards the mean of the images' (see ``batch_norm``), without it they are used.
    ValueError if shapes do not fit or statistics are missing.
    Source: Ulyanov et al., Instance Normalization, arXiv 1607.08022.
    """
    x = as_input(x)
    shape = shape_of(x)
    if len(shape) < 3:
        raise ValueError(f"instance_norm: x must have at least 3 dimensions, its shape is {shape}")
    n, channels, *pixels = shape
    running_mean, running_var, weight, bias = _inputs(
        "instance_norm", x, (channels,), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("instance_norm: running_mean and running_var are needed without use_input_stats")
        weight = np.ones(channels, dtype_of(x)) if weight is None else weight
        bias = np.zeros(channels, dtype_of(x)) if bias is None else bias
        return apply(normalize, (x, running_mean, running_var, weight, bias), {"eps": float(eps)})
    count = math.prod(pixels)
    if count <= 1:
        raise ValueError(f"instance_norm: more than one pixel is needed, x has shape {shape}")
    attrs = {"shape": (channels,), "rows": n * channels, "groups": channels, "eps": eps}
    y, mean, var = _row_norm(x, weight, bias, **attrs)
    for running, new, factor in ((running_mean, mean, 1.0), (running_var, var, count / (count - 1))):
        if running is not None and n:
            over_images = apply(channel_sum, (reshape(new, (n, channels)),), {})
            move_running(running, over_images, momentum, factor / n, x)
    return y
