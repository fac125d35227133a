"""Activations and their gradients as functions of vectors; softmax and its kin along an axis.

Convolutions and fully connected layers apply the functions named in ``ACTIVATIONS`` to their sums before these leave
the cache.
"""

import math

from .elementwise import elementwise
from .lowering import BATCH, PLAIN, lowering
from .math import exp, log
from .math import sigmoid as sigmoid_of
from .math import tanh as tanh_of
from .native import Pointer, kernel
from .target import LANES
from .vector import first_lanes, load_first, maximum, minimum, reduce_add, reduce_max, splat, store_first, where


@elementwise("tanh", costly=True)
def tanh(x):
    return tanh_of(x)


@elementwise("tanh_grad")
def tanh_grad(g, y):
    return g * (1.0 - y * y)


@elementwise("relu")
def relu(x):
    return maximum(0.0, x)  # NaN passes: maximum returns its second argument then


@elementwise("relu_grad")
def relu_grad(g, y):
    return where(y <= 0.0, 0.0, g)


@elementwise("relu6")
def relu6(x):
    return minimum(6.0, maximum(0.0, x))


@elementwise("sigmoid", costly=True)
def sigmoid(x):
    return sigmoid_of(x)


@elementwise("sigmoid_grad")
def sigmoid_grad(g, y):
    return g * (y * (1.0 - y))


ACTIVATIONS = {"tanh": tanh, "relu": relu, "relu6": relu6, "sigmoid": sigmoid}


# ------------------------------------------------------------------------------------------------ along an axis


@kernel
def along_axis(T, function, across):
    """Softmax and its kin over the middle dimension of (outer, n, inner); a unit is an outer index.

    ``across``: inner is 1 and the axis itself lies in lanes; else the lanes hold inner elements.
    """
    softmin = function.startswith("softmin")
    softmax, softmax_grad = function in ("softmax", "softmin"), function in ("softmax_grad", "softmin_grad")
    log_softmax, log_softmax_grad = function == "log_softmax", function == "log_softmax_grad"
    forward = softmax or log_softmax
    sign = -1.0 if softmin else 1.0
    infinity = math.inf

    def lanes_apart(begin, end, block: int, first: int, x: Pointer, other: Pointer, y: Pointer, n: int, inner: int):
        for unit in range(begin, end):
            for i in range(0, inner, LANES):
                at, left = unit * n * inner + i, inner - i
                top = splat(x, -infinity)
                if forward:
                    for c in range(n):
                        v = sign * load_first(x, at + c * inner, left)
                        top = where(v != v, v, maximum(top, v))
                total = splat(x, 0.0)
                for c in range(n):
                    v = load_first(x, at + c * inner, left)
                    if forward:
                        v = exp(sign * v - top)
                        if softmax:
                            store_first(y, at + c * inner, v, left)
                    elif softmax_grad:
                        v = v * load_first(other, at + c * inner, left)
                    total = total + v
                shift = top + log(total) if log_softmax else total
                if softmax:
                    shift = 1.0 / total
                for c in range(n):
                    v = load_first(y if softmax else x, at + c * inner, left)
                    if softmax:
                        v = v * shift
                    elif log_softmax:
                        v = v - shift
                    elif softmax_grad:
                        v = sign * load_first(other, at + c * inner, left) * (v - total)
                    elif log_softmax_grad:
                        v = v - exp(load_first(other, at + c * inner, left)) * total
                    else:
                        v = total
                    store_first(y, at + c * inner, v, left)

    def lanes_across(begin, end, block: int, first: int, x: Pointer, other: Pointer, y: Pointer, n: int, inner: int):
        for unit in range(begin, end):
            at = unit * n
            top = splat(x, -infinity)
            if forward:
                for c in range(0, n, LANES):
                    v = where(first_lanes(n - c), sign * load_first(x, at + c, n - c), -infinity)
                    top = where(v != v, v, maximum(top, v))
                top = splat(x, reduce_max(top))
            total = splat(x, 0.0)
            for c in range(0, n, LANES):
                v = load_first(x, at + c, n - c)
                if forward:
                    v = where(first_lanes(n - c), exp(sign * v - top), 0.0)
                elif softmax_grad:
                    v = v * load_first(other, at + c, n - c)
                total = total + v
            total = splat(x, reduce_add(total))
            shift = top + log(total) if log_softmax else total
            for c in range(0, n, LANES):
                v = load_first(x, at + c, n - c)
                if softmax:
                    v = exp(sign * v - top) / total
                elif log_softmax:
                    v = v - shift
                elif softmax_grad:
                    v = sign * load_first(other, at + c, n - c) * (v - total)
                elif log_softmax_grad:
                    v = v - exp(load_first(other, at + c, n - c)) * total
                else:
                    v = total
                store_first(y, at + c, v, n - c)

    return lanes_across if across else lanes_apart


def _along_batch_or_plain(node):
    """Blocks have room for the axis of channels; along any other axis the value stays in NumPy's order."""
    layout = BATCH if node.attrs["axis"] == 1 and len(node.inputs[0].shape) > 1 else PLAIN
    return (layout,)


@lowering(
    "softmax", "softmin", "softmin_grad", "log_softmax", "softmax_grad", "log_softmax_grad", "axis_sum",
    inputs=_along_batch_or_plain, outputs=_along_batch_or_plain,
)  # fmt: skip
def lower_along_axis(program, node, inputs, outputs):
    y = outputs[0]
    axis, shape = node.attrs["axis"], y.shape
    if y.layout == BATCH:
        outer, n, inner = y.pixels, y.channels, y.lanes
    else:
        outer, n, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    step = along_axis(y.dtype, function=node.op.name, across=inner == 1)
    program.step(step, (inputs[0], inputs[-1]), (y,), (n, inner), outer)
