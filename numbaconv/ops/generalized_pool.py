"""Pooling that learns between maximum and mean, and learns its filters (Lee et al., arXiv 1509.08985)."""

import numpy as np

from .activation import sigmoid_row
from .arithmetic import add_row, multiply_row, subtract_row
from .conv import conv
from .core import Case, apply, as_input, check_floats, dtype_of, image_sizes, is_traced, public, shape_of
from .join import split_row
from .pool import avg_pool, largest
from .shape import channel_repeat, reshape_row
from .window import as_batch, over_channels, sliding, without_batch


def _max_and_mean(x, windows):
    return largest(x, windows, False), apply(avg_pool, (x,), {**windows, "count_include_pad": False, "divisor": 0})


def _between(share, a, b):
    """share a + (1 - share) b."""
    return apply(add_row, (b, apply(multiply_row, (share, apply(subtract_row, (a, b), {})), {})), {})


def _responses(function: str, name: str, x, weights, count: int, windows):
    """Products of every window with ``count`` filters (count, [C,] *kernel), each of the shape of the pooled x."""
    kernel, channels = windows["kernel"], shape_of(x)[1]
    given = shape_of(weights)
    if given == (count, *kernel):
        weights = apply(channel_repeat, (weights,), {"channels": channels})
    elif given != (count, channels, *kernel):
        raise ValueError(
            f"{function}: {name} must have shape {(count, *kernel)} or {(count, channels, *kernel)}, not {given}"
        )
    filters = apply(split_row, (weights,), {"sizes": (1,) * count, "dim": 0}) if count > 1 else (weights,)
    attrs = {
        "stride": windows["stride"], "padding": tuple((p, p) for p in windows["padding"]),
        "dilation": windows["dilation"], "groups": channels, "algo": "auto",
    }  # fmt: skip
    shaped = (apply(reshape_row, (f,), {"shape": (channels, 1, *kernel)}) for f in filters)
    return [apply(conv, (x, f), attrs) for f in shaped]


@public(
    Case({"x": (17, 3, 7, 6), "mix": (3,)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Case({"x": (2, 20, 4, 6), "mix": (1,)}, {"kernel_size": 2}),
    sizes=[
        Case({**case.shapes, "mix": (case.shapes["x"][1],)}, {"kernel_size": 2})  # type: ignore[arg-type,dict-item]
        for case in image_sizes()
    ],
)
def mixed_pool2d(x, mix, kernel_size, stride=None, padding=0, ceil_mode=False):
    """y = a max_pool2d(x) + (1 - a) avg_pool2d(x), with a learned.

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  ``mix`` is a: one number, or one for each
    channel (C,).  Padding counts in neither the maximum nor the mean.  Other arguments as for ``max_pool2d``.

    Source: Lee et al., arXiv 1509.08985, equation 3.
    """
    x, single = as_batch("mixed_pool2d", 2, x)
    mix = as_input(mix)
    mix = np.asarray(mix, dtype_of(x)) if not is_traced(mix) and np.ndim(mix) == 0 else mix
    check_floats("mixed_pool2d", x=x, mix=mix)
    windows = sliding("mixed_pool2d", shape_of(x), kernel_size, stride, padding, 1, ceil_mode)
    top, mean = _max_and_mean(x, windows)
    return without_batch(_between(over_channels("mixed_pool2d", "mix", mix, shape_of(top)), top, mean), single)


@public(
    Case({"x": (17, 3, 7, 6), "weight": (3, 3)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Case({"x": (2, 20, 4, 6), "weight": (20, 2, 2)}, {"kernel_size": 2}),
    sizes=[
        Case({**case.shapes, "weight": (2, 2)}, {"kernel_size": 2})  # type: ignore[arg-type]
        for case in image_sizes()
    ],
)
def gated_pool2d(x, weight, kernel_size, stride=None, padding=0):
    """y = s max_pool2d(x) + (1 - s) avg_pool2d(x), with s = sigmoid(sum of weight times x over the window).

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  ``weight`` has the shape of a window, (R, S)
    for all channels or (C, R, S).  Padding counts in neither the maximum nor the mean, and as zeros in the gate.  Other
    arguments as for ``max_pool2d``.

    Source: Lee et al., arXiv 1509.08985, equation 4.
    """
    x, single = as_batch("gated_pool2d", 2, x)
    weight = as_input(weight)
    check_floats("gated_pool2d", x=x, weight=weight)
    windows = sliding("gated_pool2d", shape_of(x), kernel_size, stride, padding)
    one = apply(reshape_row, (weight,), {"shape": (1, *shape_of(weight))})
    (response,) = _responses("gated_pool2d", "weight (1 filter)", x, one, 1, windows)
    gate = apply(sigmoid_row, (response,), {})
    return without_batch(_between(gate, *_max_and_mean(x, windows)), single)


@public(
    Case({"x": (17, 3, 7, 6), "leaves": (4, 3, 3), "gates": (3, 3, 3)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Case({"x": (2, 3, 4, 6), "leaves": (2, 3, 2, 2), "gates": (1, 3, 2, 2)}, {"kernel_size": 2}),
    sizes=[
        Case({**case.shapes, "leaves": (4, 2, 2), "gates": (3, 2, 2)}, {"kernel_size": 2})  # type: ignore[arg-type]
        for case in image_sizes()
    ],
)
def tree_pool2d(x, leaves, gates, kernel_size, stride=None, padding=0):
    """y = f_0, f_i = s_i f_2i+1 + (1 - s_i) f_2i+2 at inner nodes with s_i = sigmoid(gates_i . x), leaves_j . x below.

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  A window is multiplied with the pooling
    filters ``leaves`` (2^d, R, S), one set for all channels, or (2^d, C, R, S), and mixed along a binary tree of depth
    d with ``gates`` (2^d - 1, ...) of the same shape.  Other arguments as for ``max_pool2d``.

    Source: Lee et al., arXiv 1509.08985, equation 5.
    """
    x, single = as_batch("tree_pool2d", 2, x)
    leaves, gates = as_input(leaves), as_input(gates)
    check_floats("tree_pool2d", x=x, leaves=leaves, gates=gates)
    windows = sliding("tree_pool2d", shape_of(x), kernel_size, stride, padding)
    count = shape_of(leaves)[0] if shape_of(leaves) else 0
    if count < 2 or count & (count - 1):
        raise ValueError(f"tree_pool2d: leaves must be a power of two of filters, at least two, not {count}")
    values = _responses("tree_pool2d", "leaves", x, leaves, count, windows)
    shares = [
        apply(sigmoid_row, (r,), {}) for r in _responses("tree_pool2d", "gates", x, gates, count - 1, windows)
    ]
    while len(values) > 1:  # a level of the tree at a time, from its leaves to its root
        level, shares = shares[-(len(values) // 2) :], shares[: -(len(values) // 2)]
        values = [_between(s, a, b) for s, a, b in zip(level, values[::2], values[1::2], strict=True)]
    return without_batch(values[0], single)
