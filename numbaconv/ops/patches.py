"""Patches of images as columns of a matrix, and back: im2col and col2im (Chellapilla et al. 2006).

The row ``unfold_row`` keeps the positions in their dimensions, (N, C taps, *positions), where the public function
joins them: so a convolution is a 1x1 convolution of the patches.
"""

import math

from . import geometry
from .core import Case, Operator, Spec, checked, integers, operator, public, shape_of
from .shape import reshape


class UnfoldRow(Operator):
    """What a filter meets at each position: x (N, C, *size) -> (N, C taps, *positions)."""

    name = "unfold"

    def shape(self, x: Spec, *, kernel, stride, padding, dilation) -> Spec:
        sizes = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
        return Spec((x.shape[0], x.shape[1] * math.prod(kernel), *(geometry.output_size(*s) for s in sizes)), x.dtype)

    def gradient(self, grads, outputs, x, **attrs):
        return (fold_row(grads[0], size=x.shape[2:], **attrs),)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


class FoldRow(Operator):
    """The sum of all that patches (N, C taps, *positions) put into each place of (N, C, *size), plus bias (C,)."""

    name = "fold"

    def shape(self, patches: Spec, *bias: Spec, size, kernel, **attrs) -> Spec:
        return Spec((patches.shape[0], patches.shape[1] // math.prod(kernel), *size), patches.dtype)

    def gradient(self, grads, outputs, patches, *bias, size, **attrs):
        from .conv import channel_sum

        return unfold_row(grads[0], **attrs), *(channel_sum(grads[0]) for _ in bias)

    def flops(self, inputs, outputs, **attrs):
        return float(inputs[0].size)


unfold_row, fold_row = operator(UnfoldRow), operator(FoldRow)


def _geometry(function: str, size, kernel_size, dilation, padding, stride):
    """The attributes of both rows, and the number of positions in each dimension."""
    kernel = integers(function, "kernel_size", kernel_size, 2, 1)
    dilation = integers(function, "dilation", dilation, 2, 1)
    pairs = tuple((p, p) for p in integers(function, "padding", padding, 2, 0))
    stride = integers(function, "stride", stride, 2, 1)
    sizes = zip(size, kernel, stride, pairs, dilation, strict=True)
    counts = tuple(geometry.output_size(*s) for s in sizes)
    if min(counts) < 1:
        raise ValueError(f"{function}: a kernel of size {kernel} with dilation {dilation} does not fit into {size}")
    return {"kernel": kernel, "stride": stride, "padding": pairs, "dilation": dilation}, counts


@public(
    Case({"x": (17, 3, 5, 6)}, {"kernel_size": (2, 3), "padding": (0, 1)}),
    Case({"x": (3, 4, 7, 6)}, {"kernel_size": 3, "dilation": (2, 1), "stride": 2, "padding": 1}),
    sizes=tuple(
        Case({"x": shape}, {"kernel_size": 3, "padding": 1}) for shape in ((64, 32, 32, 32), (16, 64, 56, 56))
    ),
)
def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """Patches of images as columns (im2col): x (N, C, H, W) or (C, H, W) -> (N, C R S, positions).

    Column l holds what a filter of ``kernel_size`` (R, S) meets at its position l, row after row; ``padding`` (zeros,
    in pixels), ``stride`` and ``dilation`` are one whole number or two.  ``conv2d(x, w)`` is w (K, C R S) times the
    columns.  Raises ValueError if no position fits.

    Source: PyTorch; Chellapilla et al., High Performance Convolutional Neural Networks for Document Processing, 2006.
    """
    x = checked("unfold", x)
    shape = shape_of(x)
    if len(shape) == 3:
        y = unfold(reshape(x, (1, *shape)), kernel_size, dilation, padding, stride)
        return reshape(y, shape_of(y)[1:])
    if len(shape) != 4:
        raise ValueError(f"unfold: x must have 4 dimensions (or 3 without a batch), its shape is {shape}")
    attrs, counts = _geometry("unfold", shape[2:], kernel_size, dilation, padding, stride)
    return reshape(unfold_row(x, **attrs), (shape[0], shape[1] * math.prod(attrs["kernel"]), math.prod(counts)))


@public(
    Case({"x": (17, 18, 24)}, {"output_size": (5, 6), "kernel_size": (2, 3), "padding": (0, 1)}),
    Case({"x": (3, 9, 9)}, {"output_size": (7, 6), "kernel_size": 3, "dilation": (2, 1), "stride": 2, "padding": 1}),
    sizes=(
        Case({"x": (64, 288, 1024)}, {"output_size": (32, 32), "kernel_size": 3, "padding": 1}),
        Case({"x": (16, 576, 3136)}, {"output_size": (56, 56), "kernel_size": 3, "padding": 1}),
    ),
)
def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns put back into images and summed where they overlap (col2im): (N, C R S, positions) -> (N, C, H, W).

    The adjoint of ``unfold``, with its arguments; ``output_size`` is (H, W).  Raises ValueError if the columns are not
    those of such images.

    Source: PyTorch.
    """
    x = checked("fold", x)
    shape = shape_of(x)
    if len(shape) == 2:
        y = fold(reshape(x, (1, *shape)), output_size, kernel_size, dilation, padding, stride)
        return reshape(y, shape_of(y)[1:])
    if len(shape) != 3:
        raise ValueError(f"fold: x must have 3 dimensions (or 2 without a batch), its shape is {shape}")
    size = integers("fold", "output_size", output_size, 2, 1)
    attrs, counts = _geometry("fold", size, kernel_size, dilation, padding, stride)
    taps = math.prod(attrs["kernel"])
    if shape[1] % taps:
        raise ValueError(f"fold: {shape[1]} rows cannot be divided into filters of {taps} taps")
    if shape[2] != math.prod(counts):
        raise ValueError(f"fold: images of {size} have {math.prod(counts)} columns, x has {shape[2]}")
    return fold_row(reshape(x, (*shape[:2], *counts)), size=size, **attrs)
