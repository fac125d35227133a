"""Transposed convolution: what a convolution's gradient does to the output's gradient, as a layer of its own.

    y[n, k, i * stride + t * dilation - padding] = b[k] + the sum of all x[n, c, i] * w[c, k, t] that fall there

It is the row ``conv_input_grad``; its gradients are a convolution and a weight gradient (Dumoulin & Visin, arXiv
1603.07285, chapter 4; Zeiler et al., Deconvolutional Networks, 2010).
"""

from .conv import as_product, check_algorithm, check_shapes, conv_input_grad
from .core import Case, apply, as_input, integers, public, shape_of
from .patches import fold_row
from .shape import reshape


def _conv_transpose(
    function: str, dimensions: int, x, weight, bias, stride, padding, output_padding, groups, dilation, algo
):
    x, weight, bias = as_input(x), as_input(weight), as_input(bias)
    if len(shape_of(x)) == dimensions + 1:
        options = (stride, padding, output_padding, groups, dilation, algo)
        batch = _conv_transpose(function, dimensions, reshape(x, (1, *shape_of(x))), weight, bias, *options)
        return reshape(batch, shape_of(batch)[1:])
    stride = integers(function, "stride", stride, dimensions, 1)
    padding = integers(function, "padding", padding, dimensions, 0)
    further = integers(function, "output_padding", output_padding, dimensions, 0)
    dilation = integers(function, "dilation", dilation, dimensions, 1)
    (groups,) = integers(function, "groups", groups, 1, 1)
    check_shapes(function, dimensions, x, weight, bias, groups, transposed=True)
    kernel = shape_of(weight)[2:]
    size = []
    for n, k, s, p, f, d in zip(shape_of(x)[2:], kernel, stride, padding, further, dilation, strict=True):
        if f >= max(s, d):
            raise ValueError(f"{function}: output_padding {f} must be less than stride {s} or dilation {d}")
        size.append((n - 1) * s - 2 * p + d * (k - 1) + f + 1)
        if n < 1 or size[-1] < 1:
            raise ValueError(f"{function}: size {n} with padding {p} has a result of size {size[-1]}")
    check_algorithm(function, algo, kernel, stride, dilation, groups)
    # the convolution whose input gradient this is ends where x does, whatever the further pixels
    pairs = tuple((p, p - f) for p, f in zip(padding, further, strict=True))
    geometry = {"stride": stride, "padding": pairs, "dilation": dilation}
    if algo != "im2col":
        attrs = {"size": tuple(size), **geometry, "groups": groups, "algo": algo}
        return apply(conv_input_grad, (x, weight) if bias is None else (x, weight, bias), attrs)
    weight, attrs = as_product(weight, groups)
    patches = conv_input_grad(x, weight, size=shape_of(x)[2:], **attrs)
    attrs = {"size": tuple(size), "kernel": kernel, **geometry}
    return apply(fold_row, (patches,) if bias is None else (patches, bias), attrs)


@public(
    Case({"x": (3, 4, 6), "weight": (4, 3, 3), "bias": (3,)}, {"stride": 2, "padding": 1, "output_padding": 1}),
    Case({"x": (17, 2, 5), "weight": (2, 3, 4)}, {"dilation": 2}),
)
def conv_transpose1d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, algo="auto"):
    """Transposed convolution of signals: x (N, C, L) or (C, L), weight (C, K / groups, k), bias (K,) -> (N, K, L').

    See ``conv_transpose2d`` for the arguments.

    Source: PyTorch.
    """
    options = (stride, padding, output_padding, groups, dilation, algo)
    return _conv_transpose("conv_transpose1d", 1, x, weight, bias, *options)


@public(
    Case({"x": (17, 5, 4, 5), "weight": (5, 3, 3, 3), "bias": (3,)}, {"stride": 2, "padding": 1, "output_padding": 1}),
    Case({"x": (8, 4, 5, 4), "weight": (4, 3, 2, 3)}, {"stride": (1, 2), "groups": 2}),
    Case({"x": (3, 6, 4, 3), "weight": (6, 5, 3, 3), "bias": (5,)}, {"padding": 2}),
    Case({"x": (17, 6, 3, 4), "weight": (6, 1, 3, 2), "bias": (6,)}, {"stride": 3, "groups": 6}),
    Case({"x": (3, 2, 4, 3), "weight": (2, 4, 3, 2)}, {"dilation": 3, "stride": 2, "output_padding": 2}),
    Case({"x": (17, 3, 4, 5), "weight": (3, 4, 1, 1), "bias": (4,)}, {"stride": 2}),
    Case({"x": (17, 4, 4, 5), "weight": (4, 2, 3, 2), "bias": (4,)}, {"stride": 2, "groups": 2, "algo": "im2col"}),
    sizes=(
        Case({"x": (64, 32, 32, 32), "weight": (32, 32, 3, 3)}, {"padding": 1}),
        Case({"x": (64, 64, 16, 16), "weight": (64, 32, 4, 4)}, {"padding": 1, "stride": 2}),
        Case({"x": (16, 64, 56, 56), "weight": (64, 64, 3, 3)}, {"padding": 1}),
        Case({"x": (16, 128, 28, 28), "weight": (128, 64, 2, 2)}, {"stride": 2}),
    ),
)
def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, algo="auto"):
    """Transposed convolution of images ("deconvolution"): the input gradient of ``conv2d`` as a function of its own.

    x (N, C, H, W) or (C, H, W), weight (C, K / groups, R, S), bias (K,).  Each pixel of x puts a copy of the filter
    into the result, ``stride`` pixels after its neighbour's; ``padding`` pixels are cut off at each border, and
    ``output_padding`` more are kept at the end.  Returns (N, K, H', W') with
    H' = (H - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1.  ``algo`` is that of ``conv2d``.  Raises
    ValueError for shapes that do not fit, no result, or output_padding of at least stride and dilation; TypeError for
    dtypes.

    Source: PyTorch; Dumoulin & Visin, arXiv 1603.07285, relationship 14.
    """
    options = (stride, padding, output_padding, groups, dilation, algo)
    return _conv_transpose("conv_transpose2d", 2, x, weight, bias, *options)


@public(
    Case({"x": (2, 2, 3, 4, 3), "weight": (2, 3, 2, 3, 2), "bias": (3,)}, {"stride": (1, 2, 2), "padding": (0, 1, 0)}),
    Case({"x": (17, 2, 2, 3, 3), "weight": (2, 2, 2, 2, 3)}, {"padding": (0, 0, 1)}),
)
def conv_transpose3d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, algo="auto"):
    """Transposed convolution of volumes: x (N, C, D, H, W), weight (C, K / groups, T, R, S), bias (K,).

    See ``conv_transpose2d`` for the arguments.

    Source: PyTorch.
    """
    options = (stride, padding, output_padding, groups, dilation, algo)
    return _conv_transpose("conv_transpose3d", 3, x, weight, bias, *options)
