"""Convolution in one to three dimensions.

What deep learning calls convolution is cross-correlation (Goodfellow et al., Deep Learning, equation 9.6):

    y[n, k, p] = b[k] + sum over c and taps t of  x[n, c, p * stride + t * dilation - padding] * w[k, c, t]

Convolution in the mathematical sense turns the filter by 180 degrees, x[n, c, p * stride - t * dilation + ...]: the
``convolve`` functions.  The gradients are convolutions again: the input gradient correlates the output gradient with
the transposed filter, the weight gradient correlates input and output gradient (Dumoulin & Visin, arXiv 1603.07285).
"""

import math
from collections.abc import Callable
from typing import Any

from .core import Case, Operator, Spec, apply, as_input, check_floats, integers, operator, public, shape_of
from .geometry import output_size
from .patches import unfold_row
from .remap import remap
from .shape import reshape

#: The algorithms that may be asked for, and what they need of (filter size, stride, dilation, groups), if anything.
ALGORITHMS: dict[str, tuple[Callable[..., bool], str] | None] = {
    "auto": None,
    "direct": None,
    "fft": (
        lambda kernel, stride, dilation, groups: (
            len(kernel) < 3 and kernel[-1] > 1 and max(kernel) <= 64 and {*stride, *dilation, groups} == {1}
        ),
        "filters of one or two dimensions, wider than 1 and at most 64, stride 1, dilation 1 and one group",
    ),
    "im2col": None,
    "winograd": (
        lambda kernel, stride, dilation, groups: kernel == (3, 3) and {*stride, *dilation, groups} == {1},
        "3x3 filters, stride 1, dilation 1 and one group",
    ),
}


class Conv(Operator):
    """Cross-correlation of x (N, C, *spatial) with weight (K, C / groups, *kernel), plus bias (K,)."""

    def shape(self, x: Spec, weight: Spec, *bias: Spec, stride, padding, dilation, **attrs) -> Spec:
        sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
        return Spec((x.shape[0], weight.shape[0], *(output_size(*s) for s in sizes)), x.dtype)

    def gradient(self, grads, outputs, x, weight, *bias, **attrs):
        return (
            conv_input_grad(grads[0], weight, size=x.shape[2:], **attrs),
            conv_weight_grad(grads[0], x, kernel=weight.shape[2:], **attrs),
            *(channel_sum(grads[0]) for _ in bias),
        )

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * outputs[0].size * (inputs[1].size // inputs[1].shape[0])


class ConvInputGrad(Operator):
    """Gradient of a convolution with respect to its input: a transposed convolution of grad (N, K, *out).

    A bias for each channel of the result, if there is one, is added.
    """

    def shape(self, grad: Spec, weight: Spec, *bias: Spec, size, groups, **attrs) -> Spec:
        return Spec((grad.shape[0], weight.shape[1] * groups, *size), grad.dtype)

    def gradient(self, grads, outputs, grad, weight, *bias, size, **attrs):
        return (
            conv(grads[0], weight, **attrs),
            conv_weight_grad(grad, grads[0], kernel=weight.shape[2:], **attrs),
            *(channel_sum(grads[0]) for _ in bias),
        )

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * inputs[0].size * (inputs[1].size // inputs[1].shape[0])


class ConvWeightGrad(Operator):
    """Gradient of a convolution with respect to its weight."""

    def shape(self, grad: Spec, x: Spec, *, kernel, groups, **attrs) -> Spec:
        return Spec((grad.shape[1], x.shape[1] // groups, *kernel), grad.dtype)

    def gradient(self, grads, outputs, grad, x, *, kernel, **attrs):
        return conv(x, grads[0], **attrs), conv_input_grad(grad, grads[0], size=x.shape[2:], **attrs)

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * inputs[0].size * (outputs[0].size // outputs[0].shape[0])


class ChannelSum(Operator):
    """Sum over all dimensions but the channels': the gradient of a bias."""

    def shape(self, x: Spec) -> Spec:
        return Spec((x.shape[1],), x.dtype)

    def gradient(self, grads, outputs, x):
        from .shape import channel_broadcast

        return (channel_broadcast(grads[0], shape=x.shape),)


class ScaleFilters(Operator):
    """weight (K, ...) with the filter of each output times its number in scale (K,)."""

    def shape(self, weight: Spec, scale: Spec) -> Spec:
        return weight


conv = operator(Conv)
conv_input_grad = operator(ConvInputGrad)
conv_weight_grad = operator(ConvWeightGrad)
channel_sum = operator(ChannelSum)
scale_filters = operator(ScaleFilters)


def padding_pairs(function: str, padding: Any, kernel, dilation, stride) -> tuple[tuple[int, int], ...]:
    """Padding before and after each dimension from an integer, integers, pairs, "same", "valid" or "full"."""
    dimensions = len(kernel)
    if isinstance(padding, str):
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        if padding == "valid":
            return ((0, 0),) * dimensions
        if padding == "full":
            return tuple((r, r) for r in reach)
        if padding != "same":
            raise ValueError(f'{function}: padding must be "same", "valid", "full" or integers, not {padding!r}')
        if any(s != 1 for s in stride):
            raise ValueError(f'{function}: padding "same" needs stride 1, not {stride}')
        return tuple((r // 2, r - r // 2) for r in reach)
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != dimensions:
            raise ValueError(f"{function}: padding needs {dimensions} pairs, not {padding!r}")
        return tuple(integers(function, "padding", p, 2, 0) for p in padding)  # type: ignore[misc]
    return tuple((p, p) for p in integers(function, "padding", padding, dimensions, 0))


def check_shapes(function: str, dimensions: int, x, weight, bias, groups: int, transposed: bool = False) -> None:
    """Whether x (N, C, *spatial), weight and bias fit; ``transposed``: weight (C, K / groups, ...)."""
    check_floats(function, x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    x_shape, w_shape = shape_of(x), shape_of(weight)
    if len(w_shape) != dimensions + 2:
        raise ValueError(f"{function}: weight must have {dimensions + 2} dimensions, its shape is {w_shape}")
    if len(x_shape) != dimensions + 2:
        raise ValueError(
            f"{function}: x must have {dimensions + 2} dimensions (or {dimensions + 1} without a batch), "
            f"its shape is {x_shape}"
        )
    summed, outputs = (w_shape[0], w_shape[1] * groups) if transposed else (w_shape[1] * groups, w_shape[0])
    if x_shape[1] != summed:
        split = f" ({groups} groups of {summed // groups})" if groups > 1 else ""
        raise ValueError(f"{function}: weight expects {summed} input channels{split}, x has {x_shape[1]}")
    if w_shape[0] % groups:
        which = "input" if transposed else "output"
        raise ValueError(f"{function}: {w_shape[0]} {which} channels cannot be divided into {groups} groups")
    if bias is not None and shape_of(bias) != (outputs,):
        raise ValueError(f"{function}: bias must have shape ({outputs},), its shape is {shape_of(bias)}")
    if min(w_shape) < 1:
        raise ValueError(f"{function}: weight has an empty dimension, its shape is {w_shape}")


def check_algorithm(function: str, algo: Any, *geometry: Any) -> None:
    """Whether an algorithm of that name serves a geometry (filter size, stride, dilation, groups)."""
    if algo not in ALGORITHMS:
        raise ValueError(f"{function}: algo must be one of {', '.join(ALGORITHMS)}, not {algo!r}")
    needs = ALGORITHMS[algo]
    if needs is not None and not needs[0](*geometry):
        raise ValueError(f"{function}: algo {algo!r} needs {needs[1]}")


def _conv(
    function: str, dimensions: int, x, weight, bias, stride, padding, dilation, groups, algo, turned: bool = False
):
    x, weight, bias = as_input(x), as_input(weight), as_input(bias)
    if len(shape_of(x)) == dimensions + 1:
        x = reshape(x, (1, *shape_of(x)))
        batch = _conv(function, dimensions, x, weight, bias, stride, padding, dilation, groups, algo, turned)
        return reshape(batch, shape_of(batch)[1:])
    stride = integers(function, "stride", stride, dimensions, 1)
    dilation = integers(function, "dilation", dilation, dimensions, 1)
    (groups,) = integers(function, "groups", groups, 1, 1)
    check_shapes(function, dimensions, x, weight, bias, groups)
    kernel = shape_of(weight)[2:]
    pairs = padding_pairs(function, padding, kernel, dilation, stride)
    for size, k, d, p in zip(shape_of(x)[2:], kernel, dilation, pairs, strict=True):
        if size + sum(p) < d * (k - 1) + 1:
            raise ValueError(
                f"{function}: a kernel of size {d * (k - 1) + 1} (with dilation) does not fit into "
                f"{size + sum(p)} (input {size} and padding)"
            )
    check_algorithm(function, algo, kernel, stride, dilation, groups)
    if turned:
        weight = remap(weight, tuple(tuple(range(k))[::-1] for k in kernel))
    attrs = {"stride": stride, "padding": pairs, "dilation": dilation, "groups": groups, "algo": algo}
    if algo == "im2col":
        x = unfold_row(x, kernel=kernel, stride=stride, padding=pairs, dilation=dilation)
        weight, attrs = as_product(weight, groups)
    return apply(conv, (x, weight) if bias is None else (x, weight, bias), attrs)


def as_product(weight, groups: int) -> tuple[Any, dict[str, Any]]:
    """A filter (K, C, *kernel) as one of 1x1 that is applied to patches, and the attributes of that convolution."""
    outputs, depth, *kernel = shape_of(weight)
    ones = (1,) * len(kernel)
    attrs = {"stride": ones, "padding": ((0, 0),) * len(kernel), "dilation": ones, "groups": groups, "algo": "direct"}
    return reshape(weight, (outputs, depth * math.prod(kernel), *ones)), attrs


@public(
    Case({"x": (3, 2, 9), "weight": (4, 2, 3), "bias": (4,)}, {"stride": 2, "padding": 1}),
    Case({"x": (17, 3, 8), "weight": (5, 3, 4)}, {"padding": "same"}),
    Case({"x": (16, 3, 13), "weight": (3, 1, 3), "bias": (3,)}, {"stride": 2, "padding": 1, "groups": 3}),
    sizes=(Case({"x": (64, 32, 1024), "weight": (32, 32, 3), "bias": (32,)}, {"padding": 1}),),
)
def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, algo="auto"):
    """Cross-correlation over signals: x (N, C, L) or (C, L), weight (K, C / groups, k), bias (K,) -> (N, K, L').

    See ``conv2d`` for the arguments.

    Source: PyTorch; Goodfellow et al., Deep Learning, section 9.1.
    """
    return _conv("conv1d", 1, x, weight, bias, stride, padding, dilation, groups, algo)


@public(
    Case({"x": (16, 1, 12, 12), "weight": (6, 1, 5, 5), "bias": (6,)}),
    Case({"x": (3, 6, 9, 8), "weight": (16, 6, 5, 5), "bias": (16,)}),
    Case({"x": (17, 3, 7, 9), "weight": (5, 3, 3, 3), "bias": (5,)}, {"padding": 1}),
    Case({"x": (8, 4, 9, 9), "weight": (6, 2, 3, 3)}, {"stride": 2, "padding": (1, 0), "groups": 2}),
    Case({"x": (2, 4, 11, 10), "weight": (8, 1, 3, 2)}, {"dilation": (2, 3), "padding": "same", "groups": 4}),
    Case({"x": (33, 2, 8, 7), "weight": (3, 2, 2, 3), "bias": (3,)}, {"padding": ((1, 0), (2, 1)), "stride": (3, 2)}),
    Case({"x": (16, 20, 6, 6), "weight": (18, 20, 1, 1)}),
    Case({"x": (16, 16, 2, 3), "weight": (4, 16, 1, 1)}, {"padding": ((0, 0), (0, 1))}),
    Case({"x": (17, 16, 7, 6), "weight": (9, 16, 3, 3)}, {"padding": ((0, 1), (2, 1)), "stride": 2}),
    Case({"x": (8, 3, 9, 9), "weight": (5, 3, 3, 3)}, {"padding": 2, "dilation": (2, 1), "stride": (1, 3)}),
    Case({"x": (17, 18, 7, 8), "weight": (18, 1, 3, 3), "bias": (18,)}, {"padding": 1, "groups": 18}),
    Case({"x": (3, 18, 8, 9), "weight": (18, 1, 3, 3)}, {"padding": ((0, 1), (1, 2)), "stride": 2, "groups": 18}),
    Case({"x": (8, 3, 9, 13), "weight": (3, 1, 3, 5)}, {"padding": 1, "stride": (3, 1), "dilation": 2, "groups": 3}),
    Case({"x": (1, 5, 6, 6), "weight": (19, 5, 3, 3), "bias": (19,)}, {"padding": 2, "dilation": 2, "stride": 2}),
    Case({"x": (17, 5, 7, 9), "weight": (6, 5, 3, 3), "bias": (6,)}, {"padding": (1, 2), "algo": "winograd"}),
    Case({"x": (33, 18, 4, 4), "weight": (9, 18, 3, 3)}, {"algo": "winograd"}),
    Case({"x": (2, 16, 8, 6), "weight": (32, 16, 3, 3)}, {"padding": ((2, 0), (0, 1)), "algo": "winograd"}),
    sizes=(
        Case({"x": (64, 32, 32, 32), "weight": (32, 32, 7, 7)}, {"padding": 3}),
        Case({"x": (64, 32, 32, 32), "weight": (32, 32, 11, 11)}, {"padding": 5}),
        Case({"x": (16, 64, 56, 56), "weight": (64, 64, 11, 11)}, {"padding": 5}),
        Case({"x": (16, 16, 56, 56), "weight": (16, 16, 31, 31)}, {"padding": 15}),
        Case({"x": (64, 32, 32, 32), "weight": (32, 32, 3, 3), "bias": (32,)}, {"padding": 1}),
        Case({"x": (16, 64, 56, 56), "weight": (64, 64, 3, 3), "bias": (64,)}, {"padding": 1}),
    ),
)
def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, algo="auto"):
    """Cross-correlation over images: x (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S), bias (K,).

    ``padding`` (zeros, in pixels) is an integer, one for each dimension, a pair (before, after) for each, "valid"
    (none), "same" (as many results as pixels; the odd one behind) or "full" (wherever filter and input meet).  Returns
    (N, K, H', W') with H' = (H + padding - dilation (R - 1) - 1) // stride + 1.

    ``algo``, with relative errors in float32: "direct" (1e-6), "im2col" (1e-6; an explicit matrix of patches, much
    memory), "winograd" (4e-6 to 3e-5; 3x3 filters at stride 1 with fewer multiplications), "fft" (2e-6; large filters
    at stride 1 by products of spectra), or "auto", which takes what is expected to be fastest.  Raises ValueError for
    shapes that do not fit, TypeError for dtypes other than float32 and float64 or mixed ones.

    Source: Goodfellow et al., Deep Learning, equation 9.6.
    """
    return _conv("conv2d", 2, x, weight, bias, stride, padding, dilation, groups, algo)


@public(
    Case({"x": (2, 2, 5, 6, 4), "weight": (3, 2, 3, 3, 2), "bias": (3,)}, {"padding": 1, "stride": (1, 2, 1)}),
    Case({"x": (16, 2, 4, 5, 6), "weight": (4, 1, 2, 3, 3)}, {"groups": 2, "dilation": (1, 1, 2)}),
    Case({"x": (8, 3, 4, 5, 6), "weight": (3, 1, 3, 2, 3)}, {"groups": 3, "padding": 1, "stride": (2, 1, 1)}),
    sizes=(Case({"x": (16, 16, 8, 32, 32), "weight": (16, 16, 3, 3, 3), "bias": (16,)}, {"padding": 1}),),
)
def conv3d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, algo="auto"):
    """Cross-correlation over volumes: x (N, C, D, H, W), weight (K, C / groups, T, R, S), bias (K,).

    See ``conv2d`` for the arguments.

    Source: PyTorch; Goodfellow et al., Deep Learning, section 9.1.
    """
    return _conv("conv3d", 3, x, weight, bias, stride, padding, dilation, groups, algo)


def _convolve(function: str, dimensions: int, x, weight, bias, stride, padding, dilation, groups, algo):
    return _conv(function, dimensions, x, weight, bias, stride, padding, dilation, groups, algo, turned=True)


@public(Case({"x": (3, 2, 9), "weight": (4, 2, 3), "bias": (4,)}, {"padding": "full"}))
def convolve1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, algo="auto"):
    """Convolution over signals in the mathematical sense: x (N, C, L) or (C, L), weight (K, C / groups, k), bias (K,).

    See ``convolve2d``.

    Source: Goodfellow et al., Deep Learning, equation 9.3.
    """
    return _convolve("convolve1d", 1, x, weight, bias, stride, padding, dilation, groups, algo)


@public(
    Case({"x": (17, 3, 7, 9), "weight": (5, 3, 3, 2)}, {"padding": "full"}),
    Case({"x": (3, 4, 7, 6), "weight": (6, 2, 3, 3), "bias": (6,)}, {"stride": 2, "padding": 1, "groups": 2}),
)
def convolve2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, algo="auto"):
    """Convolution in the mathematical sense, y = x * w: cross-correlation with the filter turned by 180 degrees.

    x (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S), bias (K,): ``conv2d(x, weight[..., ::-1, ::-1])``, whose
    arguments and errors it has.  With padding "full" it is commutative in x and w.

    Source: Goodfellow et al., Deep Learning, equation 9.4.
    """
    return _convolve("convolve2d", 2, x, weight, bias, stride, padding, dilation, groups, algo)


@public(Case({"x": (2, 2, 4, 5, 4), "weight": (3, 2, 2, 3, 2)}, {"padding": "same"}))
def convolve3d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, algo="auto"):
    """Convolution over volumes in the mathematical sense: x (N, C, D, H, W) or (C, D, H, W).

    weight (K, C / groups, T, R, S), bias (K,).  See ``convolve2d``.

    Source: Goodfellow et al., Deep Learning, equation 9.4.
    """
    return _convolve("convolve3d", 3, x, weight, bias, stride, padding, dilation, groups, algo)
