"""Power-average pooling, y = (sum of x^p)^(1 / p) over windows, with p fixed or learned (Gulcehre et al. 2014)."""

import math

import numpy as np

from .activation import relu_row
from .arithmetic import add_row, multiply_row, scale_row
from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    image_sizes,
    is_traced,
    operator,
    public,
    shape_of,
)
from .draw import positive
from .pool import SIGNALS, VOLUMES, WindowPool, avg_pool, avg_pool_grad, largest, sizes_of
from .shape import expand
from .window import as_batch, over_channels, sliding, without_batch


class LpPool(WindowPool):
    """(sum of x^p over each window)^(1 / p); a window that hangs over counts as if it were full of its mean."""

    def gradient(self, grads, outputs, x, *, size, exponent, **windows):
        (g,), (y,) = grads, outputs
        h = g if exponent == 1.0 else multiply_row(g, abs_power(y, _number(y, 1.0 - exponent), slopes=0, logs=0))
        h = scale_row(h, factor=float(math.prod(windows["kernel"])), offset=0.0)
        spread = avg_pool_grad(h, input_size=x.shape[2:], size=size, **windows, **_MEAN)
        return (spread if exponent == 1.0 else multiply_row(spread, _raised(x, exponent - 1.0)),)


class AbsPower(Operator):
    """|x|^(p - slopes) sign(x)^slopes log(|x|)^logs, element by element; 0 where x is 0.

    With ``slopes`` and ``logs`` 0 that is |x|^p, and its derivatives of any order by x and p are such terms, too.
    """

    def shape(self, x: Spec, p: Spec, *, slopes, logs) -> Spec:
        return x

    def gradient(self, grads, outputs, x, p, *, slopes, logs):
        g = grads[0]
        factor = scale_row(p, factor=1.0, offset=-float(slopes))
        by_x = multiply_row(factor, abs_power(x, p, slopes=slopes + 1, logs=logs))
        if logs:
            more = abs_power(x, p, slopes=slopes + 1, logs=logs - 1)
            by_x = add_row(by_x, scale_row(more, factor=float(logs), offset=0.0))
        return multiply_row(g, by_x), multiply_row(g, abs_power(x, p, slopes=slopes, logs=logs + 1))


lp_pool_row, abs_power = operator(LpPool), operator(AbsPower)

_MEAN = {"count_include_pad": True, "divisor": 0}


def _number(like, value: float):
    """A number in all places of a traced tensor."""
    return expand(like.graph.leaf(np.asarray(value, like.dtype)), shape=like.shape)


def _raised(x, exponent: float):
    """x to a power; small whole ones by multiplication, which is exact for negative x."""
    if exponent in (1.0, 2.0, 3.0):
        result = x
        for _ in range(int(exponent) - 1):
            result = multiply_row(result, x)
        return result
    odd = int(exponent % 2 == 1.0)
    return abs_power(x, _number(x, exponent + odd), slopes=odd, logs=0)


def _lp(function: str, dimensions: int, x, norm_type, kernel_size, stride, ceil_mode):
    x, single = as_batch(function, dimensions, x)
    windows = sliding(function, shape_of(x), kernel_size, stride, 0, 1, ceil_mode)
    if is_traced(norm_type) or isinstance(norm_type, (np.ndarray, list, tuple)) or hasattr(norm_type, "trainable"):
        return without_batch(_learned(function, x, norm_type, windows), single)
    if not isinstance(norm_type, (int, float, np.number)) or not norm_type:
        raise ValueError(f"{function}: norm_type must be an array or a number other than 0, not {norm_type!r}")
    p = float(norm_type)
    if math.isinf(p):
        size = add_row(relu_row(x), relu_row(scale_row(x, factor=-1.0, offset=0.0)))  # |x|
        sign = math.copysign(1.0, p)
        y = largest(scale_row(size, factor=sign, offset=0.0), windows, False)
        return without_batch(scale_row(y, factor=sign, offset=0.0), single)
    return without_batch(apply(lp_pool_row, (x,), {**windows, "exponent": p}), single)


def _learned(function: str, x, p, windows):
    """As ``LpPool`` of |x| with an array of powers, one or one for each channel."""
    p = as_input(p)
    check_floats(function, x=x, norm_type=p)
    inverse = abs_power(p, apply(expand, (np.asarray(-1.0, p.dtype),), {"shape": shape_of(p)}), slopes=0, logs=0)
    powers = abs_power(x, over_channels(function, "norm_type", p, shape_of(x)), slopes=0, logs=0)
    total = apply(avg_pool, (powers,), {**windows, **_MEAN})
    total = scale_row(total, factor=float(math.prod(windows["kernel"])), offset=0.0)
    return abs_power(total, over_channels(function, "norm_type", inverse, shape_of(total)), slopes=0, logs=0)


@public(
    Case({"x": (2, 3, 9)}, {"norm_type": 2, "kernel_size": 3, "stride": 2}),
    sizes=sizes_of(SIGNALS, norm_type=2.0, kernel_size=2),
)
def lp_pool1d(x, norm_type, kernel_size, stride=None, ceil_mode=False):
    """y[n, c, i] = (sum over taps t of x[n, c, i stride + t]^p)^(1 / p).

    Signals x (N, C, L) or (C, L) -> (N, C, L') or (C, L'); arguments as for ``lp_pool2d``.

    Source: PyTorch; Gulcehre et al., arXiv 1311.1780.
    """
    return _lp("lp_pool1d", 1, x, norm_type, kernel_size, stride, ceil_mode)


@public(
    Case({"x": (17, 3, 7, 6)}, {"norm_type": 3.5, "kernel_size": 3, "stride": 2, "ceil_mode": True}, {"x": positive}),
    Case({"x": (2, 20, 6, 6)}, {"norm_type": 2, "kernel_size": 2}),
    Case({"x": (3, 2, 4, 6)}, {"norm_type": 1, "kernel_size": (2, 3)}),
    Case({"x": (3, 2, 4, 6)}, {"norm_type": math.inf, "kernel_size": 2}),
    Case({"x": (17, 3, 5, 6), "norm_type": (3,)}, {"kernel_size": 3, "stride": 2}, {"norm_type": positive}),
    Case({"x": (2, 3, 4, 4), "norm_type": (1,)}, {"kernel_size": 2}, {"norm_type": positive}),
    sizes=(*image_sizes(norm_type=2.0, kernel_size=2), *image_sizes(norm_type=3.0, kernel_size=3, stride=2)),
)
def lp_pool2d(x, norm_type, kernel_size, stride=None, ceil_mode=False):
    """y[n, c, i, j] = (sum over taps (s, t) of x[n, c, i stride + s, j stride + t]^p)^(1 / p).

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  ``norm_type`` is p: a number (infinity: the
    largest |x|), or an array, one for all or one for each channel (C,), all above 0, which has a gradient; then x is
    taken without its sign.  A sum of 0 has a gradient of 0.  With ``ceil_mode`` a window that hangs over counts as if
    it were full of its mean.  Other arguments as for ``max_pool2d``.

    Source: PyTorch; learned p: Gulcehre et al., arXiv 1311.1780, equation 2, without its division by the window's size.
    """
    return _lp("lp_pool2d", 2, x, norm_type, kernel_size, stride, ceil_mode)


@public(
    Case({"x": (3, 2, 3, 4, 5)}, {"norm_type": 4, "kernel_size": 2}),
    sizes=sizes_of(VOLUMES, norm_type=2.0, kernel_size=2),
)
def lp_pool3d(x, norm_type, kernel_size, stride=None, ceil_mode=False):
    """y[n, c, i, j, k] = (sum of x^p over the window at (i, j, k))^(1 / p).

    Volumes x (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W'); arguments as for ``lp_pool2d``.

    Source: PyTorch; Gulcehre et al., arXiv 1311.1780.
    """
    return _lp("lp_pool3d", 3, x, norm_type, kernel_size, stride, ceil_mode)
