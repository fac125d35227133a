"""Pooling over windows in one to three dimensions (Goodfellow et al., section 9.3)."""

from .core import Case, Operator, Spec, apply, as_input, check_floats, integers, operator, public, shape_of
from .geometry import output_size
from .shape import reshape


class _Pool(Operator):
    def shape(self, x: Spec, *, size, **attrs) -> Spec:
        return Spec((*x.shape[:2], *size), x.dtype)

    def flops(self, inputs, outputs, *, kernel, **attrs):
        window = 1
        for k in kernel:
            window *= k
        return float(outputs[0].size * window)


class _PoolGrad(Operator):
    def shape(self, grad: Spec, *others: Spec, input_size, **attrs) -> Spec:
        return Spec((*grad.shape[:2], *input_size), grad.dtype)


class MaxPool(_Pool):
    """The largest number in each window; padding counts as minus infinity, NaN wins."""

    def gradient(self, grads, outputs, x, *, size, **attrs):
        return (max_pool_grad(grads[0], x, outputs[0], input_size=x.shape[2:], size=size, **attrs),)


class MaxPoolGrad(_PoolGrad):
    """Each number of grad goes to the first largest input of its window."""

    def gradient(self, grads, outputs, grad, x, y, *, input_size, **attrs):
        return max_pool_pick(grads[0], x, y, **attrs), None, None


class MaxPoolPick(Operator):
    """From each window of the first input, what stands where the second input is largest."""

    def shape(self, values: Spec, x: Spec, y: Spec, **attrs) -> Spec:
        return y

    def gradient(self, grads, outputs, values, x, y, **attrs):
        return max_pool_grad(grads[0], x, y, input_size=x.shape[2:], **attrs), None, None


class AvgPool(_Pool):
    """The mean of each window."""

    def gradient(self, grads, outputs, x, *, size, **attrs):
        return (avg_pool_grad(grads[0], input_size=x.shape[2:], size=size, **attrs),)


class AvgPoolGrad(_PoolGrad):
    """Each number of grad is shared among its window."""

    def gradient(self, grads, outputs, grad, *, input_size, **attrs):
        return (avg_pool(grads[0], **attrs),)


max_pool, max_pool_grad, max_pool_pick = operator(MaxPool), operator(MaxPoolGrad), operator(MaxPoolPick)
avg_pool, avg_pool_grad = operator(AvgPool), operator(AvgPoolGrad)


def _pool(function: str, row: Operator, dimensions: int, x, kernel_size, stride, padding, dilation, ceil_mode, **attrs):
    x = as_input(x)
    check_floats(function, x=x)
    shape = shape_of(x)
    if len(shape) == dimensions + 1:
        x = reshape(x, (1, *shape))
        y = _pool(function, row, dimensions, x, kernel_size, stride, padding, dilation, ceil_mode, **attrs)
        return reshape(y, shape_of(y)[1:])
    if len(shape) != dimensions + 2:
        wanted = f"{dimensions + 2} dimensions (or {dimensions + 1} without a batch)"
        raise ValueError(f"{function}: x must have {wanted}, its shape is {shape}")
    kernel = integers(function, "kernel_size", kernel_size, dimensions, 1)
    stride = kernel if stride is None else integers(function, "stride", stride, dimensions, 1)
    before = integers(function, "padding", padding, dimensions, 0)
    dilation = integers(function, "dilation", dilation, dimensions, 1)
    size = []
    for length, k, s, p, d in zip(shape[2:], kernel, stride, before, dilation, strict=True):
        if 2 * p > k:
            raise ValueError(f"{function}: padding {p} is more than half of kernel size {k}")
        positions = output_size(length, k, s, (p, p), d)
        if ceil_mode:
            positions = -(-(length + 2 * p - d * (k - 1) - 1) // s) + 1
            if (positions - 1) * s >= length + p:  # a window must start inside the input or its padding before
                positions -= 1
        if positions < 1:
            room = f"{length + 2 * p} (input {length} and padding)"
            raise ValueError(f"{function}: a window of size {d * (k - 1) + 1} does not fit into {room}")
        size.append(positions)
    return apply(
        row,
        (x,),
        {"size": tuple(size), "kernel": kernel, "stride": stride, "padding": before, "dilation": dilation, **attrs},
    )


def _max(function: str, dimensions: int, x, kernel_size, stride, padding, dilation, ceil_mode):
    return _pool(function, max_pool, dimensions, x, kernel_size, stride, padding, dilation, ceil_mode)


def _avg(
    function: str, dimensions: int, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
):
    if divisor_override is not None and (not isinstance(divisor_override, int) or divisor_override == 0):
        raise ValueError(f"{function}: divisor_override must be an integer other than 0, not {divisor_override!r}")
    return _pool(
        function, avg_pool, dimensions, x, kernel_size, stride, padding, 1, ceil_mode,
        count_include_pad=bool(count_include_pad), divisor=divisor_override or 0,
    )  # fmt: skip


@public(Case({"x": (2, 3, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1}))
def max_pool1d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The largest number in each window of signals x (N, C, L) or (C, L).  See ``max_pool2d``."""
    return _max("max_pool1d", 1, x, kernel_size, stride, padding, dilation, ceil_mode)


@public(
    Case({"x": (2, 3, 8, 8)}, {"kernel_size": 2}),
    Case({"x": (17, 5, 7, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Case({"x": (16, 2, 10, 9)}, {"kernel_size": (2, 3), "stride": (1, 2), "dilation": (2, 1), "ceil_mode": True}),
    Case({"x": (1, 20, 7, 6)}, {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
)
def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The largest number in each window of images x (N, C, H, W) or (C, H, W).

    ``stride`` defaults to the kernel size; ``padding`` (at most half a kernel) counts as minus infinity; ``ceil_mode``
    keeps windows that hang over the end.  Of equal numbers the first (row by row) takes the gradient; NaN counts as
    largest.
    """
    return _max("max_pool2d", 2, x, kernel_size, stride, padding, dilation, ceil_mode)


@public(
    Case({"x": (2, 3, 5, 6, 4)}, {"kernel_size": 2}),
    Case({"x": (16, 2, 4, 5, 5)}, {"kernel_size": 3, "padding": 1}),
)
def max_pool3d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The largest number in each window of volumes x (N, C, D, H, W) or (C, D, H, W).  See ``max_pool2d``."""
    return _max("max_pool3d", 3, x, kernel_size, stride, padding, dilation, ceil_mode)


@public(Case({"x": (2, 3, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1}))
def avg_pool1d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window of signals x (N, C, L) or (C, L).  See ``avg_pool2d``."""
    return _avg("avg_pool1d", 1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@public(
    Case({"x": (2, 3, 8, 8)}, {"kernel_size": 2}),
    Case({"x": (17, 5, 7, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    Case({"x": (16, 2, 10, 9)}, {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0), "ceil_mode": True}),
    Case({"x": (1, 20, 7, 6)}, {"kernel_size": 3, "stride": 1, "divisor_override": 5}),
)
def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """The mean of each window of images x (N, C, H, W) or (C, H, W).

    ``count_include_pad`` says whether padding counts as zeros in the mean, ``divisor_override`` replaces the number
    that sums are divided by.  Other arguments as for ``max_pool2d``.
    """
    return _avg("avg_pool2d", 2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@public(
    Case({"x": (2, 3, 5, 6, 4)}, {"kernel_size": 2}),
    Case({"x": (16, 2, 4, 5, 5)}, {"kernel_size": 3, "padding": 1}),
)
def avg_pool3d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """The mean of each window of volumes x (N, C, D, H, W) or (C, D, H, W).  See ``avg_pool2d``."""
    return _avg("avg_pool3d", 3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
