"""Pooling in one to three dimensions: windows over vectors of channels (and images), both layouts alike."""

import math

from numba import njit

from .geometry import inside, three
from .lowering import BATCH, ceil_div, lowering
from .native import Ints, Pointer, kernel
from .target import LANES
from .vector import load, load_first, splat, store, store_first, where


@njit(error_model="numpy")
def _window(dimension, o):
    """(first tap inside the input, end of taps, input position of tap 0) for output position ``o``."""
    _, size, kernel, stride, pad, dilation = dimension
    start = o * stride - pad
    low, high = inside(start, dilation, kernel, size)
    return low, high, start


@njit(error_model="numpy")
def _padded_length(dimension, o):
    """Positions of a window that lie inside the input or its padding (PyTorch's divisor with padding counted)."""
    _, size, kernel, stride, pad, dilation = dimension
    start = o * stride - pad
    return min(start + kernel, size + pad) - start


@njit(error_model="numpy")
def _divisor(planes, heights, widths, od, oh, ow, include_pad, taps):
    """What the sum of a window is divided by; ``taps`` is how many of its positions lie inside the input."""
    if include_pad:
        return _padded_length(planes, od) * _padded_length(heights, oh) * _padded_length(widths, ow)
    return max(1, taps)


@njit(error_model="numpy")
def _first_hit(rest, v, top):
    """What of ``rest`` belongs to an input v that is the largest, ``top``, and what is left for later inputs."""
    hit = (v == top) | (v != v)
    return where(hit, rest, 0.0), where(hit, 0.0, rest)


@kernel
def pool(T, largest, include_pad, window):
    """Largest number or mean of every window; a unit is a row of outputs.

    ``window`` is the kernel's (planes, rows, columns): windows that lie inside the input have loops of known length.
    """
    lowest = -math.inf
    full_d, full_h, full_w = window
    full = full_d * full_h * full_w

    @njit(error_model="numpy")
    def take(result, v):
        return where((v > result) | (v != v), v, result) if largest else result + v

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), line: int, divisor: int,
    ):  # fmt: skip
        x_column = widths[5] * line
        x_row = heights[5] * widths[1] * line
        x_plane = planes[5] * heights[1] * widths[1] * line
        whole = line // LANES * LANES
        for unit in range(begin, end):
            od, oh = unit // heights[0], unit % heights[0]
            d_low, d_high, d_start = _window(planes, od)
            h_low, h_high, h_start = _window(heights, oh)
            for ow in range(widths[0]):
                w_low, w_high, w_start = _window(widths, ow)
                taps = (d_high - d_low) * (h_high - h_low) * (w_high - w_low)
                count = divisor
                if not largest and count == 0:
                    count = _divisor(planes, heights, widths, od, oh, ow, include_pad, taps)
                scale = 1.0 / count
                start = ((d_start * heights[1] + h_start) * widths[1] + w_start) * line
                to = (unit * widths[0] + ow) * line
                c = 0
                if taps == full:
                    while c < whole:
                        result = splat(x, lowest if largest else 0.0)
                        for d in range(full_d):
                            for h in range(full_h):
                                for w in range(full_w):
                                    at = start + d * x_plane + h * x_row + w * x_column + c
                                    result = take(result, load(x, at))
                        store(y, to + c, result if largest else result * scale)
                        c += LANES
                while c < line:
                    result = splat(x, lowest if largest else 0.0)
                    for d in range(d_low, d_high):
                        for h in range(h_low, h_high):
                            for w in range(w_low, w_high):
                                at = start + d * x_plane + h * x_row + w * x_column + c
                                result = take(result, load_first(x, at, line - c))
                    store_first(y, to + c, result if largest else result * scale, line - c)
                    c += LANES

    return loop


@kernel
def pool_grad(T, largest, include_pad):
    """Each number of g goes to the first largest place of its window, or is shared among the window.

    A unit is one vector of channels; windows may overlap.
    """

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, y: Pointer, out: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), line: int, divisor: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            c = unit * LANES
            left = line - c
            for i in range(planes[1] * heights[1] * widths[1]):
                store_first(out, i * line + c, splat(g, 0.0), left)
            for od in range(planes[0]):
                d_low, d_high, d_start = _window(planes, od)
                for oh in range(heights[0]):
                    h_low, h_high, h_start = _window(heights, oh)
                    for ow in range(widths[0]):
                        w_low, w_high, w_start = _window(widths, ow)
                        at = ((od * heights[0] + oh) * widths[0] + ow) * line + c
                        rest = load_first(g, at, left)
                        top = load_first(y, at, left)
                        if not largest:
                            taps = (d_high - d_low) * (h_high - h_low) * (w_high - w_low)
                            count = divisor
                            if count == 0:
                                count = _divisor(planes, heights, widths, od, oh, ow, include_pad, taps)
                            rest = rest * (1.0 / count)
                        for d in range(d_low, d_high):
                            for h in range(h_low, h_high):
                                row = (d_start + d * planes[5]) * heights[1] + h_start + h * heights[5]
                                for w in range(w_low, w_high):
                                    to = (row * widths[1] + w_start + w * widths[5]) * line + c
                                    part = rest
                                    if largest:
                                        part, rest = _first_hit(rest, load_first(x, to, left), top)
                                    store_first(out, to, load_first(out, to, left) + part, left)

    return loop


@kernel
def pool_grad_apart(T, largest, window):
    """As ``pool_grad`` for windows that tile the input: every place is written once; a unit is a row of windows."""
    full_d, full_h, full_w = window

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, y: Pointer, out: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), line: int, divisor: int,
    ):  # fmt: skip
        scale = 1.0 / (divisor if divisor else full_d * full_h * full_w)
        row = widths[1] * line
        for unit in range(begin, end):
            od, oh = unit // heights[0], unit % heights[0]
            corner = (od * full_d * heights[1] + oh * full_h) * row
            for ow in range(widths[0]):
                at = (unit * widths[0] + ow) * line
                for c in range(0, line, LANES):
                    left = line - c
                    rest = load_first(g, at + c, left)
                    top = load_first(y, at + c, left)
                    if not largest:
                        rest = rest * scale
                    for d in range(full_d):
                        for h in range(full_h):
                            for w in range(full_w):
                                to = corner + (d * heights[1] + h) * row + (ow * full_w + w) * line + c
                                part = rest
                                if largest:
                                    part, rest = _first_hit(rest, load_first(x, to, left), top)
                                store_first(out, to, part, left)

    return loop


@kernel
def pool_pick(T):
    """From each window of ``values``, what stands where x is first largest; a unit is a vector of channels."""

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
                                    hit, waiting = _first_hit(waiting, load_first(x, to, left), top)
                                    result = where(hit > 0.0, load_first(values, to, left), result)
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
        y.dtype,
        largest=node.op.name == "max_pool",
        include_pad=attrs.get("count_include_pad", False),
        window=three(attrs["kernel"], 1),
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
    largest = node.op.name == "max_pool_grad"
    if apart:
        step = pool_grad_apart(g.dtype, largest=largest, window=three(attrs["kernel"], 1))
    else:
        step = pool_grad(g.dtype, largest=largest, include_pad=attrs.get("count_include_pad", False))
    line = g.channels * g.lanes
    constants = (*dimensions[0], *dimensions[1], *dimensions[2], line, attrs.get("divisor", 0))
    x, y = (inputs[1], inputs[2]) if largest else (g, g)
    units = dimensions[0][0] * dimensions[1][0] if apart else ceil_div(line, LANES)
    program.step(step, (g, x, y), outputs, constants, units)


@lowering("max_pool_pick", inputs=(BATCH,), outputs=(BATCH,))
def lower_pool_pick(program, node, inputs, outputs):
    x, y = inputs[1], outputs[0]
    dimensions = _dimensions(node.attrs, y.spatial, x.spatial)
    line = y.channels * y.lanes
    constants = (*dimensions[0], *dimensions[1], *dimensions[2], line)
    program.step(pool_pick(y.dtype), inputs, outputs, constants, ceil_div(line, LANES))
