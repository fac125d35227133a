"""Patches as columns (im2col) and back (col2im), in any layout.

In NumPy's order a row of a tap's plane is a shifted row of the image; in a batch a position's patch is gathered pixel
by pixel, channel c of tap t at c * taps + t.  A dimension is (positions, size, filter size, stride, padding before,
dilation).
"""

import math

from .compiler import inline
from .geometry import inside, three
from .lowering import BATCH, PLAIN, SAME, lowering
from .native import Ints, Pointer, kernel
from .runs import add_run, copy_run, fill_run
from .target import LANES
from .vector import at, load, splat, store


@inline
def _met(dimension, tap):
    """The positions at which a tap meets the image: (first, end, where the tap of position 0 would be)."""
    count, size, _, stride, padding, dilation = dimension
    start = tap * dilation - padding
    low, high = inside(start, stride, count, size)
    return low, high, start


@kernel
def unfold_rows(T):
    """NumPy's order; a unit is the plane of a tap of a channel."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer, planes: Ints(6), heights: Ints(6), widths: Ints(6)
    ):
        taps = planes[2] * heights[2] * widths[2]
        row, stride = widths[0], widths[3]
        for unit in range(begin, end):
            t = unit % taps
            image = at(x, unit // taps * planes[1] * heights[1] * widths[1])
            low_d, high_d, start_d = _met(planes, t // (heights[2] * widths[2]))
            low_h, high_h, start_h = _met(heights, t // widths[2] % heights[2])
            low, high, start = _met(widths, t % widths[2])
            for d in range(planes[0]):
                for h in range(heights[0]):
                    to = at(y, ((unit * planes[0] + d) * heights[0] + h) * row)
                    if not (low_d <= d < high_d and low_h <= h < high_h):
                        fill_run(to, 0.0, row)
                        continue
                    line = ((start_d + d * planes[3]) * heights[1] + start_h + h * heights[3]) * widths[1] + start
                    for i in range(low):
                        to[i] = 0
                    if stride == 1:
                        copy_run(at(image, line + low), at(to, low), high - low)
                    else:
                        for i in range(low, high):
                            to[i] = image[line + i * stride]
                    for i in range(high, row):
                        to[i] = 0

    return loop


@kernel
def fold_rows(T, bias):
    """NumPy's order; a unit is a channel of an image."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, b: Pointer, y: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), channels: int,
    ):  # fmt: skip
        taps = planes[2] * heights[2] * widths[2]
        pixels = planes[1] * heights[1] * widths[1]
        row, stride = widths[0], widths[3]
        for unit in range(begin, end):
            image = at(y, unit * pixels)
            fill_run(image, b[unit % channels] if bias else 0.0, pixels)
            for t in range(taps):
                low_d, high_d, start_d = _met(planes, t // (heights[2] * widths[2]))
                low_h, high_h, start_h = _met(heights, t // widths[2] % heights[2])
                low, high, start = _met(widths, t % widths[2])
                for d in range(low_d, high_d):
                    for h in range(low_h, high_h):
                        source = at(x, (((unit * taps + t) * planes[0] + d) * heights[0] + h) * row)
                        line = ((start_d + d * planes[3]) * heights[1] + start_h + h * heights[3]) * widths[1] + start
                        if stride == 1:
                            add_run(at(source, low), at(image, line + low), high - low)
                        else:
                            for i in range(low, high):
                                image[line + i * stride] += source[i]

    return loop


@kernel
def unfold_pixels(T, images):
    """A batch; a unit is a position."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), channels: int,
    ):  # fmt: skip
        lanes = LANES if images else 1
        taps = planes[2] * heights[2] * widths[2]
        for unit in range(begin, end):
            d, h, w = unit // (heights[0] * widths[0]), unit // widths[0] % heights[0], unit % widths[0]
            to = at(y, unit * channels * taps * lanes)
            for t in range(taps):
                i = d * planes[3] + t // (heights[2] * widths[2]) * planes[5] - planes[4]
                j = h * heights[3] + t // widths[2] % heights[2] * heights[5] - heights[4]
                k = w * widths[3] + t % widths[2] * widths[5] - widths[4]
                found = 0 <= i < planes[1] and 0 <= j < heights[1] and 0 <= k < widths[1]
                pixel = at(x, ((i * heights[1] + j) * widths[1] + k) * channels * lanes)
                if images:
                    for c in range(channels):
                        v = splat(x, 0.0)
                        if found:
                            v = load(pixel, c * LANES)
                        store(to, (c * taps + t) * LANES, v)
                elif found:
                    for c in range(channels):
                        to[c * taps + t] = pixel[c]
                else:
                    for c in range(channels):
                        to[c * taps + t] = 0

    return loop


@kernel
def fold_pixels(T, images, bias):
    """A batch; a unit is a pixel."""

    @inline
    def position(dimension, pixel, tap):
        """The position whose tap meets a pixel, -1 if there is none."""
        count, _, _, stride, padding, dilation = dimension
        there = pixel + padding - tap * dilation
        if there < 0 or there % stride != 0 or there // stride >= count:
            return -1
        return there // stride

    def loop(
        begin, end, block: int, first: int, x: Pointer, b: Pointer, y: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), channels: int,
    ):  # fmt: skip
        lanes = LANES if images else 1
        taps = planes[2] * heights[2] * widths[2]
        for unit in range(begin, end):
            d, h, w = unit // (heights[1] * widths[1]), unit // widths[1] % heights[1], unit % widths[1]
            to = at(y, unit * channels * lanes)
            for c in range(channels):
                if images:
                    store(to, c * LANES, splat(x, b[c] if bias else 0.0))
                else:
                    to[c] = b[c] if bias else 0.0
            for t in range(taps):
                i = position(planes, d, t // (heights[2] * widths[2]))
                j = position(heights, h, t // widths[2] % heights[2])
                k = position(widths, w, t % widths[2])
                if i < 0 or j < 0 or k < 0:
                    continue
                patch = at(x, ((i * heights[0] + j) * widths[0] + k) * channels * taps * lanes)
                for c in range(channels):
                    if images:
                        store(to, c * LANES, load(to, c * LANES) + load(patch, (c * taps + t) * LANES))
                    else:
                        to[c] += patch[c * taps + t]

    return loop


def _dimensions(attrs, size, counts) -> tuple[int, ...]:
    """The three dimensions, one behind the other."""
    before = [p for p, _ in attrs["padding"]]
    values = ((counts, 1), (size, 1), (attrs["kernel"], 1), (attrs["stride"], 1), (before, 0), (attrs["dilation"], 1))
    return tuple(v for dimension in zip(*(three(*v) for v in values), strict=True) for v in dimension)


@lowering("unfold", inputs=(SAME,), outputs=(SAME,))
def lower_unfold(program, node, inputs, outputs):
    (x,), (y,) = inputs, outputs
    dimensions = _dimensions(node.attrs, x.spatial, y.spatial)
    if x.layout == BATCH:
        step = unfold_pixels(x.dtype, images=x.lanes > 1)
        program.step(step, (x,), (y,), (*dimensions, x.channels), y.pixels)
    else:
        program.step(unfold_rows(x.dtype), (x,), (y,), dimensions, math.prod(y.shape[:2]))


@lowering("fold", inputs=(SAME, PLAIN), outputs=(SAME,))
def lower_fold(program, node, inputs, outputs):
    x, *bias = inputs
    (y,) = outputs
    constants = (*_dimensions(node.attrs, y.spatial, x.spatial), y.channels)
    operands = (x, *(bias or inputs))
    if x.layout == BATCH:
        step = fold_pixels(x.dtype, images=x.lanes > 1, bias=bool(bias))
        program.step(step, operands, (y,), constants, y.pixels)
    else:
        program.step(fold_rows(x.dtype, bias=bool(bias)), operands, (y,), constants, math.prod(y.shape[:2]))
