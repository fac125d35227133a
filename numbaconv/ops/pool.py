"""Largest number and mean of windows, sliding and adaptive, in one to three dimensions (Goodfellow et al., 9.3)."""

import numpy as np

from .core import Case, Operator, Spec, apply, image_sizes, is_traced, operator, public, shape_of
from .plane import plane_pick, wide_indices
from .window import adaptive, as_batch, sliding, taps, without_batch


class WindowPool(Operator):
    """One number of each window."""

    def shape(self, x: Spec, *, size, **attrs) -> Spec:
        return Spec((*x.shape[:2], *size), x.dtype)

    def flops(self, inputs, outputs, **attrs):
        x = inputs[0].shape
        return float(x[0] * x[1] * taps(attrs, x[2:], outputs[0].shape[2:]))


class _PoolGrad(Operator):
    def shape(self, grad: Spec, *others: Spec, input_size, **attrs) -> Spec:
        return Spec((*grad.shape[:2], *input_size), grad.dtype)


class MaxPoolAlone(WindowPool):
    """The largest number in each window; padding counts as minus infinity, NaN wins."""

    label = "max_pool"


class MaxPool(WindowPool):
    """As max_pool_alone, and int32 where in its plane each number stands, counted row by row: the first of equals.

    The gradient reads these places alone.  Where nothing reads them, they are not made.
    """

    def shape(self, x: Spec, *, size, **attrs) -> tuple[Spec, ...]:
        shape = (*x.shape[:2], *size)
        return Spec(shape, x.dtype), Spec(shape, np.dtype(np.int32))

    def gradient(self, grads, outputs, x, **attrs):
        return (max_pool_grad(grads[0], outputs[1], input_size=x.shape[2:], **attrs),)


class MaxPoolGrad(_PoolGrad):
    """Each number of grad goes to the place that its window took its number from."""

    def gradient(self, grads, outputs, grad, indices, **attrs):
        return plane_pick(grads[0], indices), None


class AvgPool(WindowPool):
    """The mean of each window."""

    def gradient(self, grads, outputs, x, *, size, **attrs):
        return (avg_pool_grad(grads[0], input_size=x.shape[2:], size=size, **attrs),)


class AvgPoolGrad(_PoolGrad):
    """Each number of grad is shared among its window."""

    def gradient(self, grads, outputs, grad, *, input_size, **attrs):
        return (avg_pool(grads[0], **attrs),)


max_pool_alone, max_pool, max_pool_grad = operator(MaxPoolAlone), operator(MaxPool), operator(MaxPoolGrad)
MaxPool.alone = max_pool_alone
avg_pool, avg_pool_grad = operator(AvgPool), operator(AvgPoolGrad)


def largest(x, windows: dict, return_indices: bool):
    """The largest number of each window, and where they stand if asked for."""
    if not return_indices and not is_traced(x):
        return apply(max_pool_alone, (x,), windows)
    y, indices = apply(max_pool, (x,), windows)
    return (y, wide_indices(indices)) if return_indices else y


def _max(function: str, dimensions: int, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    x, single = as_batch(function, dimensions, x)
    windows = sliding(function, shape_of(x), kernel_size, stride, padding, dilation, ceil_mode)
    return without_batch(largest(x, windows, return_indices), single)


def _avg(
    function: str, dimensions: int, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
):
    if divisor_override is not None and (not isinstance(divisor_override, int) or divisor_override == 0):
        raise ValueError(f"{function}: divisor_override must be an integer other than 0, not {divisor_override!r}")
    x, single = as_batch(function, dimensions, x)
    windows = sliding(function, shape_of(x), kernel_size, stride, padding, 1, ceil_mode)
    how = {"count_include_pad": bool(count_include_pad), "divisor": divisor_override or 0}
    return without_batch(apply(avg_pool, (x,), {**windows, **how}), single)


def _adaptive_max(function: str, dimensions: int, x, output_size, return_indices):
    x, single = as_batch(function, dimensions, x)
    return without_batch(largest(x, adaptive(function, shape_of(x), output_size), return_indices), single)


def _adaptive_avg(function: str, dimensions: int, x, output_size):
    x, single = as_batch(function, dimensions, x)
    windows = adaptive(function, shape_of(x), output_size)
    return without_batch(apply(avg_pool, (x,), {**windows, "count_include_pad": True, "divisor": 0}), single)


#: Shapes at which functions of signals and of volumes are measured.
SIGNALS = ((64, 32, 1024), (16, 64, 3136))
VOLUMES = ((64, 8, 16, 16, 16), (16, 16, 28, 28, 14))


def sizes_of(shapes, **arguments) -> list[Case]:
    """Cases at which functions of signals or volumes are measured."""
    return [Case({"x": shape}, arguments) for shape in shapes]


@public(
    Case({"x": (2, 3, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": True}),
    sizes=sizes_of(SIGNALS, kernel_size=2),
)
def max_pool1d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """y[n, c, i] = max over taps t of x[n, c, i stride + t dilation - padding].

    Signals x (N, C, L) or (C, L) -> (N, C, L') or (C, L'); arguments as for ``max_pool2d``.

    Source: PyTorch; Goodfellow et al., Deep Learning, section 9.3.
    """
    return _max("max_pool1d", 1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public(
    Case({"x": (2, 3, 8, 8)}, {"kernel_size": 2}),
    Case({"x": (17, 5, 7, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Case({"x": (16, 2, 10, 9)}, {"kernel_size": (2, 3), "stride": (1, 2), "dilation": (2, 1), "ceil_mode": True}),
    Case({"x": (1, 20, 7, 6)}, {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    Case({"x": (17, 5, 7, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": True}),
    sizes=(*image_sizes(kernel_size=2), *image_sizes(kernel_size=3, stride=2, padding=1)),
)
def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """y[n, c, i, j] = max over taps (s, t) of x[n, c, i stride + s dilation - pad, j stride + t dilation - pad].

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  ``stride`` defaults to the kernel size;
    ``padding`` (at most half a kernel) counts as minus infinity; ``ceil_mode`` keeps windows that hang over the end.
    With ``return_indices`` also int64 positions in the plane, row by row, for ``max_unpool2d``.  Of equal numbers the
    first (row by row) is taken and gets the gradient; NaN counts as largest.  ValueError for windows that do not fit.

    Source: PyTorch; Goodfellow et al., Deep Learning, section 9.3.
    """
    return _max("max_pool2d", 2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public(
    Case({"x": (2, 3, 5, 6, 4)}, {"kernel_size": 2}),
    Case({"x": (16, 2, 4, 5, 5)}, {"kernel_size": 3, "padding": 1}),
    sizes=sizes_of(VOLUMES, kernel_size=2),
)
def max_pool3d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """y[n, c, i, j, k] = max over the taps of the window at (i, j, k) of x.

    Volumes x (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W'); arguments as for ``max_pool2d``.

    Source: PyTorch; Goodfellow et al., Deep Learning, section 9.3.
    """
    return _max("max_pool3d", 3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public(
    Case({"x": (2, 3, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    sizes=sizes_of(SIGNALS, kernel_size=2),
)
def avg_pool1d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """y[n, c, i] = mean over taps t of x[n, c, i stride + t - padding].

    Signals x (N, C, L) or (C, L) -> (N, C, L') or (C, L'); arguments as for ``avg_pool2d``.

    Source: PyTorch; LeCun et al. 1998 (subsampling).
    """
    return _avg("avg_pool1d", 1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@public(
    Case({"x": (2, 3, 8, 8)}, {"kernel_size": 2}),
    Case({"x": (17, 5, 7, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    Case({"x": (16, 2, 10, 9)}, {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0), "ceil_mode": True}),
    Case({"x": (1, 20, 7, 6)}, {"kernel_size": 3, "stride": 1, "divisor_override": 5}),
    sizes=(*image_sizes(kernel_size=2), *image_sizes(kernel_size=3, stride=2, padding=1)),
)
def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """y[n, c, i, j] = mean over taps (s, t) of x[n, c, i stride + s - padding, j stride + t - padding].

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  ``count_include_pad`` says whether padding
    counts as zeros in the mean, ``divisor_override`` replaces the number that sums are divided by.  Other arguments as
    for ``max_pool2d``.

    Source: PyTorch; LeCun et al. 1998 (subsampling).
    """
    return _avg("avg_pool2d", 2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@public(
    Case({"x": (2, 3, 5, 6, 4)}, {"kernel_size": 2}),
    Case({"x": (16, 2, 4, 5, 5)}, {"kernel_size": 3, "padding": 1}),
    sizes=sizes_of(VOLUMES, kernel_size=2),
)
def avg_pool3d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """y[n, c, i, j, k] = mean over the taps of the window at (i, j, k) of x.

    Volumes x (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W'); arguments as for ``avg_pool2d``.

    Source: PyTorch; LeCun et al. 1998 (subsampling).
    """
    return _avg("avg_pool3d", 3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@public(Case({"x": (3, 4, 11)}, {"output_size": 4}), sizes=sizes_of(SIGNALS, output_size=7))
def adaptive_max_pool1d(x, output_size, return_indices=False):
    """y[n, c, i] = max of x[n, c, floor(i L / L') : ceil((i + 1) L / L')].

    Signals x (N, C, L) or (C, L) -> (N, C, L') or (C, L') with L' = ``output_size``; arguments as for
    ``adaptive_max_pool2d``.

    Source: PyTorch.
    """
    return _adaptive_max("adaptive_max_pool1d", 1, x, output_size, return_indices)


@public(
    Case({"x": (17, 3, 7, 10)}, {"output_size": (3, 4), "return_indices": True}),
    Case({"x": (2, 4, 6, 9)}, {"output_size": (None, 3)}),
    Case({"x": (3, 20, 5, 4)}, {"output_size": 1}),
    sizes=(*image_sizes(output_size=7), *image_sizes(output_size=1)),
)
def adaptive_max_pool2d(x, output_size, return_indices=False):
    """y[n, c, i, j] = max of x[n, c, floor(i H / H') : ceil((i + 1) H / H'), floor(j W / W') : ceil((j + 1) W / W')].

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  ``output_size`` is (H', W') or one integer for
    both; None stands for the input's.  With ``return_indices`` also int64 positions in the plane, row by row.  Equal
    numbers and NaN as for ``max_pool2d``.  ValueError for sizes that cannot be.

    Source: PyTorch.
    """
    return _adaptive_max("adaptive_max_pool2d", 2, x, output_size, return_indices)


@public(Case({"x": (3, 2, 5, 4, 7)}, {"output_size": (2, None, 3)}), sizes=sizes_of(VOLUMES, output_size=7))
def adaptive_max_pool3d(x, output_size, return_indices=False):
    """y[n, c, i, j, k] = max of the window at (i, j, k), of D' H' W' windows that cover x.

    Volumes x (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W'); arguments as for
    ``adaptive_max_pool2d``.

    Source: PyTorch.
    """
    return _adaptive_max("adaptive_max_pool3d", 3, x, output_size, return_indices)


@public(Case({"x": (3, 4, 11)}, {"output_size": 4}), sizes=sizes_of(SIGNALS, output_size=7))
def adaptive_avg_pool1d(x, output_size):
    """y[n, c, i] = mean of x[n, c, floor(i L / L') : ceil((i + 1) L / L')].

    Signals x (N, C, L) or (C, L) -> (N, C, L') or (C, L') with L' = ``output_size``; arguments as for
    ``adaptive_max_pool2d``.

    Source: PyTorch.
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, x, output_size)


@public(
    Case({"x": (17, 3, 7, 10)}, {"output_size": (3, 4)}),
    Case({"x": (2, 4, 6, 9)}, {"output_size": (None, 3)}),
    Case({"x": (3, 20, 5, 4)}, {"output_size": 1}),
    Case({"x": (16, 2, 3, 2)}, {"output_size": (4, 5)}),
    sizes=(*image_sizes(output_size=7), *image_sizes(output_size=1)),
)
def adaptive_avg_pool2d(x, output_size):
    """y[n, c, i, j] = mean of x[n, c, floor(i H / H') : ceil((i + 1) H / H'), floor(j W / W') : ceil((j + 1) W / W')].

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').  ``output_size`` as for
    ``adaptive_max_pool2d``; 1 is global average pooling.

    Source: PyTorch; global: Lin et al., arXiv 1312.4400, section 3.2.
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, x, output_size)


@public(Case({"x": (3, 2, 5, 4, 7)}, {"output_size": (2, None, 3)}), sizes=sizes_of(VOLUMES, output_size=7))
def adaptive_avg_pool3d(x, output_size):
    """y[n, c, i, j, k] = mean of the window at (i, j, k), of D' H' W' windows that cover x.

    Volumes x (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W'); arguments as for
    ``adaptive_max_pool2d``.

    Source: PyTorch.
    """
    return _adaptive_avg("adaptive_avg_pool3d", 3, x, output_size)
