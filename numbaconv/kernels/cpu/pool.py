"""Pooling in one to three dimensions: windows over vectors of channels (and images), both layouts alike."""

import math

from numba import njit

from .conv import three
from .lowering import BATCH, ceil_div, lowering
from .native import Ints, Pointer, kernel
from .target import LANES
from .vector import load_first, splat, store_first, where


@njit(error_model="numpy")
def _window(dimension, o):
    """(first tap inside the input, end of taps, input position of tap 0) for output position ``o``."""
    _, size, kernel, stride, pad, dilation = dimension
    start = o * stride - pad
    low = 0 if start >= 0 else (-start + dilation - 1) // dilation
    high = min(kernel, (size - start + dilation - 1) // dilation)
    return low, high, start


@njit(error_model="numpy")
def _padded_length(dimension, o):
    """Positions of a window that lie inside the input or its padding (PyTorch's divisor with padding counted)."""
    _, size, kernel, stride, pad, dilation = dimension
    start = o * stride - pad
    return min(start + kernel, size + pad) - start


@kernel
def pool(T, largest, include_pad):
    """Largest number or mean of every window; a unit is a row of outputs."""
    lowest = -math.inf

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), line: int, divisor: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            d_low, d_high, d_start = _window(planes, unit // heights[0])
            h_low, h_high, h_start = _window(heights, unit % heights[0])
            for o in range(widths[0]):
                w_low, w_high, w_start = _window(widths, o)
                if divisor:
                    count = divisor
                elif include_pad:
                    count = (
                        _padded_length(planes, unit // heights[0])
                        * _padded_length(heights, unit % heights[0])
                        * _padded_length(widths, o)
                    )
                else:
                    count = max(1, (d_high - d_low) * (h_high - h_low) * (w_high - w_low))
                scale = 1.0 / count
                for c in range(0, line, LANES):
                    result = splat(x, lowest if largest else 0.0)
                    for d in range(d_low, d_high):
                        for h in range(h_low, h_high):
                            row = (d_start + d * planes[5]) * heights[1] + h_start + h * heights[5]
                            for w in range(w_low, w_high):
                                v = load_first(x, (row * widths[1] + w_start + w * widths[5]) * line + c, line - c)
                                if largest:
                                    result = where((v > result) | (v != v), v, result)
                                else:
                                    result = result + v
                    if not largest:
                        result = result * scale
                    store_first(y, (unit * widths[0] + o) * line + c, result, line - c)

    return loop


@kernel
def pool_grad(T, largest, include_pad, apart):
    """Each number of g goes to the first largest place of its window, or is shared among the window.

    A unit is one vector of channels, whose windows may overlap; ``apart``: they do not, and cover every place.
    """

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, y: Pointer, out: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), line: int, divisor: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            c = unit * LANES
            left = line - c
            if not apart:
                for i in range(planes[1] * heights[1] * widths[1]):
                    store_first(out, i * line + c, splat(g, 0.0), left)
            for od in range(planes[0]):
                d_low, d_high, d_start = _window(planes, od)
                for oh in range(heights[0]):
                    h_low, h_high, h_start = _window(heights, oh)
                    for o in range(widths[0]):
                        w_low, w_high, w_start = _window(widths, o)
                        if divisor:
                            count = divisor
                        elif include_pad:
                            count = (
                                _padded_length(planes, od) * _padded_length(heights, oh) * _padded_length(widths, o)
                            )
                        else:
                            count = max(1, (d_high - d_low) * (h_high - h_low) * (w_high - w_low))
                        at = ((od * heights[0] + oh) * widths[0] + o) * line + c
                        rest = load_first(g, at, left)
                        if largest:
                            top = load_first(y, at, left)
                        else:
                            rest = rest * (1.0 / count)
                        for d in range(d_low, d_high):
                            for h in range(h_low, h_high):
                                row = (d_start + d * planes[5]) * heights[1] + h_start + h * heights[5]
                                for w in range(w_low, w_high):
                                    to = (row * widths[1] + w_start + w * widths[5]) * line + c
                                    if largest:
                                        v = load_first(x, to, left)
                                        hit = (v == top) | (v != v)
                                        part = where(hit, rest, 0.0)
                                        rest = where(hit, 0.0, rest)
                                    else:
                                        part = rest
                                    if apart:
                                        store_first(out, to, part, left)
                                    else:
                                        store_first(out, to, load_first(out, to, left) + part, left)

    return loop


@kernel
def pool_pick(T):
    """From each window of ``values``, what stands at the first place where x is largest; a unit is a vector of channels."""

    def loop(
        begin, end, block: int, first: int, values: Pointer, x: Pointer, y: Pointer, out: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), line: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            c = unit * LANES
            left = line - c
            for od in range(planes[0]):
                d_low, d_high, d_start = _window(planes, od)
                for oh in range(heights[0]):
                    h_low, h_high, h_start = _window(heights, oh)
                    for o in range(widths[0]):
                        w_low, w_high, w_start = _window(widths, o)
                        at = ((od * heights[0] + oh) * widths[0] + o) * line + c
                        top = load_first(y, at, left)
                        waiting = splat(x, 1.0)
                        result = splat(x, 0.0)
                        for d in range(d_low, d_high):
                            for h in range(h_low, h_high):
                                row = (d_start + d * planes[5]) * heights[1] + h_start + h * heights[5]
                                for w in range(w_low, w_high):
                                    to = (row * widths[1] + w_start + w * widths[5]) * line + c
                                    v = load_first(x, to, left)
                                    hit = ((v == top) | (v != v)) & (waiting > 0.0)
                                    result = where(hit, load_first(values, to, left), result)
                                    waiting = where(hit, 0.0, waiting)
                        store_first(out, at, result, left)

    return loop


def _dimensions(attrs, out_spatial, in_spatial) -> list[tuple[int, ...]]:
    """(output size, input size, kernel, stride, padding, dilation) of planes, heights and widths."""
    return list(
        zip(
            three(out_spatial, 1), three(in_spatial, 1), three(attrs["kernel"], 1), three(attrs["stride"], 1),
            three(attrs["padding"], 0), three(attrs["dilation"], 1), strict=True,
        )
    )  # fmt: skip


@lowering("max_pool", "avg_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    attrs = node.attrs
    dimensions = _dimensions(attrs, y.spatial, x.spatial)
    step = pool(
        y.dtype, largest=node.op.name == "max_pool", include_pad=attrs.get("count_include_pad", False)
    )
    constants = (*dimensions[0], *dimensions[1], *dimensions[2], x.channels * x.lanes, attrs.get("divisor", 0))
    program.step(step, inputs, outputs, constants, dimensions[0][0] * dimensions[1][0])


@lowering("max_pool_grad", "avg_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_pool_grad(program, node, inputs, outputs):
    g, out = inputs[0], outputs[0]
    attrs = node.attrs
    dimensions = _dimensions(attrs, g.spatial, out.spatial)
    apart = all(
        kernel_ == stride and pad == 0 and dilation == 1 and size_out * stride == size_in
        for size_out, size_in, kernel_, stride, pad, dilation in dimensions
    )
    step = pool_grad(
        g.dtype, largest=node.op.name == "max_pool_grad", include_pad=attrs.get("count_include_pad", False), apart=apart
    )
    line = g.channels * g.lanes
    constants = (*dimensions[0], *dimensions[1], *dimensions[2], line, attrs.get("divisor", 0))
    program.step(step, (g, inputs[-2] if len(inputs) > 1 else g, inputs[-1]), outputs, constants, ceil_div(line, LANES))


@lowering("max_pool_pick", inputs=(BATCH,), outputs=(BATCH,))
def lower_pool_pick(program, node, inputs, outputs):
    x, y = inputs[1], outputs[0]
    dimensions = _dimensions(node.attrs, y.spatial, x.spatial)
    line = y.channels * y.lanes
    constants = (*dimensions[0], *dimensions[1], *dimensions[2], line)
    program.step(pool_pick(y.dtype), inputs, outputs, constants, ceil_div(line, LANES))
