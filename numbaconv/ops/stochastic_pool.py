"""Stochastic pooling (Zeiler & Fergus, arXiv 1301.3557): a window gives one of its numbers, drawn by their size."""

import numpy as np

from .activation import relu_grad, relu_row
from .arithmetic import multiply_row, scale_row, subtract_row
from .core import Case, Spec, apply, image_sizes, is_traced, operator, public, random_key, shape_of
from .plane import plane_add
from .pool import SIGNALS, VOLUMES, WindowPool, avg_pool_grad, sizes_of
from .window import as_batch, sliding, without_batch


class StochasticPool(WindowPool):
    """A number of each window, drawn with probability x / sum of x over what is above 0, and int32 where it stood.

    A window with nothing above 0 gives 0, from place -1.
    """

    def shape(self, x: Spec, key: Spec, *, size, **attrs) -> tuple[Spec, ...]:  # type: ignore[override]
        shape = (*x.shape[:2], *size)
        return Spec(shape, x.dtype), Spec(shape, np.dtype(np.int32))

    def gradient(self, grads, outputs, x, key, **attrs):
        return plane_add(grads[0], outputs[1], size=x.shape[2:]), None


class ProbabilityPool(WindowPool):
    """The mean of what ``stochastic_pool`` draws, sum of x^2 / sum of x over what is above 0, and 1 / sum of x or 0."""

    def shape(self, x: Spec, *, size, **attrs) -> tuple[Spec, ...]:
        y = Spec((*x.shape[:2], *size), x.dtype)
        return y, y

    def gradient(self, grads, outputs, x, **windows):
        (g, by_inverse), (y, inverse) = grads, outputs
        r = relu_row(x)

        def spread(h):
            return avg_pool_grad(h, input_size=x.shape[2:], **windows, count_include_pad=True, divisor=1)

        found = None
        if g is not None:
            h = multiply_row(g, inverse)
            squares = scale_row(multiply_row(r, spread(h)), factor=2.0, offset=0.0)
            found = subtract_row(squares, spread(multiply_row(h, y)))
        if by_inverse is not None:
            fall = spread(multiply_row(by_inverse, multiply_row(inverse, inverse)))
            found = scale_row(fall, factor=-1.0, offset=0.0) if found is None else subtract_row(found, fall)
        return (relu_grad(found, r),)

    def flops(self, inputs, outputs, **attrs):
        return 4.0 * super().flops(inputs, outputs[:1], **attrs)


stochastic_pool, probability_pool = operator(StochasticPool), operator(ProbabilityPool)


def _stochastic(function: str, dimensions: int, x, kernel_size, stride, padding, ceil_mode, training, key):
    x, single = as_batch(function, dimensions, x)
    windows = sliding(function, shape_of(x), kernel_size, stride, padding, 1, ceil_mode)
    if not training:
        return without_batch(apply(probability_pool, (x,), windows)[0], single)
    key, salt = random_key(function, key, x.graph if is_traced(x) else None)
    return without_batch(apply(stochastic_pool, (x, key), {**windows, "salt": salt})[0], single)


KEY = np.array([7, 3], np.int64)


@public(
    Case({"x": (17, 3, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1, "key": KEY}),
    sizes=sizes_of(SIGNALS, kernel_size=2),
)
def stochastic_pool1d(x, kernel_size, stride=None, padding=0, ceil_mode=False, training=True, *, key=None):
    """y = x[l] with l drawn from the window's taps with probabilities x_i / sum of x.

    Signals x (N, C, L) or (C, L) -> (N, C, L') or (C, L'); arguments as for ``stochastic_pool2d``.

    Source: Zeiler & Fergus, arXiv 1301.3557, equations 4 and 5.
    """
    return _stochastic("stochastic_pool1d", 1, x, kernel_size, stride, padding, ceil_mode, training, key)


@public(
    Case({"x": (17, 3, 7, 6)}, {"kernel_size": 3, "stride": 2, "padding": 1, "key": KEY}),
    Case({"x": (2, 20, 6, 6)}, {"kernel_size": 2, "key": KEY}),
    Case({"x": (17, 3, 7, 6)}, {"kernel_size": 3, "stride": 2, "padding": 1, "training": False}),
    Case({"x": (2, 20, 6, 6)}, {"kernel_size": 2, "training": False}),
    sizes=(*image_sizes(kernel_size=2), *image_sizes(kernel_size=3, stride=2, training=False)),
)
def stochastic_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, training=True, *, key=None):
    """y = x[l], l drawn from the window's taps with probabilities p_i = x_i / sum of x; outside training sum p_i x_i.

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  Numbers not above 0 have no chance, as behind
    a ReLU; a window without any others gives 0.  The gradient goes to the place that was drawn.  ``key`` is an int64
    array [seed, step] (default: numbaconv's global seed, a new step each call); the same key draws the same places in
    every layout, on every backend.  Other arguments as for ``max_pool2d``.

    Source: Zeiler & Fergus, arXiv 1301.3557, equations 4 to 6.
    """
    return _stochastic("stochastic_pool2d", 2, x, kernel_size, stride, padding, ceil_mode, training, key)


@public(
    Case({"x": (3, 2, 3, 4, 5)}, {"kernel_size": 2, "key": KEY}),
    sizes=sizes_of(VOLUMES, kernel_size=2),
)
def stochastic_pool3d(x, kernel_size, stride=None, padding=0, ceil_mode=False, training=True, *, key=None):
    """y = x[l] with l drawn from the window's taps with probabilities x_i / sum of x.

    Volumes x (N, C, D, H, W) or (C, D, H, W); arguments as for ``stochastic_pool2d``.

    Source: Zeiler & Fergus, arXiv 1301.3557, equations 4 and 5.
    """
    return _stochastic("stochastic_pool3d", 3, x, kernel_size, stride, padding, ceil_mode, training, key)
