"""Deformable convolution: samples of some pixels make columns in the cache, the register tile multiplies them.

Channels lie in vectors here, whatever the layout (see ``turn.rows_of``).  A tile is some output pixels of one image;
its columns are [pixel][tap][channel].  Input gradients go the same way back: a product gives the columns' gradients,
which are added to the four neighbours of each sample, and whose products with these are the offsets' gradients.
"""

import math

import numpy as np

from .compiler import inline
from .filter import laid_out
from .lowering import BATCH, PLAIN, ceil_div, lowering
from .native import INT64, Ints, Pointer, kernel
from .panel import choose_tile, make_outer, make_panel
from .partial import add_partials
from .sampling import clear, gather, product_sum, scatter
from .target import LANES
from .turn import put_back, rows_for, rows_of
from .vector import at, load_first, store_first

#: Columns of a tile: a quarter of a second-level cache.
TILE_BYTES = 256 * 1024

#: Pixels of a tile at most and at least.
MOST_PIXELS, LEAST_PIXELS = 256, 16


@inline
def _neighbours(h, w, height, width, pixel, places, parts):
    """The pixels around a place that lie inside the image: how many, where, and the parts of their weights.

    ``parts`` gets four numbers each: the two factors of the weight, down and to the right, and their derivatives.
    """
    if not (h > -1.0 and w > -1.0 and h < height and w < width):  # what is not a number lies outside
        return 0
    low_h, low_w = math.floor(h), math.floor(w)
    down, right = h - low_h, w - low_w
    count = 0
    for i in range(2):
        for j in range(2):
            if 0 <= low_h + i < height and 0 <= low_w + j < width:
                places[count] = ((low_h + i) * width + low_w + j) * pixel
                parts[4 * count] = down if i else 1.0 - down
                parts[4 * count + 1] = right if j else 1.0 - right
                parts[4 * count + 2] = 1.0 if i else -1.0
                parts[4 * count + 3] = 1.0 if j else -1.0
                count += 1
    return count


@inline
def _start(p, geometry):
    """Where the first tap of output pixel ``p`` would read without an offset."""
    out_w, _, _, stride_h, stride_w, pad_h, pad_w, _, _, _ = geometry
    row = p // out_w
    return row * stride_h - pad_h, (p - row * out_w) * stride_w - pad_w


@inline
def _sample(offset, at_offset, lanes, start, tap, geometry, pixel, places, parts):
    """``_neighbours`` of the place that a tap reads; its offset stands at ``at_offset``."""
    _, height, width, _, _, _, _, dilation_h, dilation_w, taps_w = geometry
    row = tap // taps_w
    h = start[0] + row * dilation_h + offset[at_offset]
    w = start[1] + (tap - row * taps_w) * dilation_w + offset[at_offset + lanes]
    return _neighbours(h, w, height, width, pixel, places, parts)


def _make_columns(masked):
    """A function that writes the columns of ``count`` output pixels from ``p0`` on, for taps ``tap`` to ``end_tap``."""

    @inline
    def columns(x, offset, mask, column, places, parts, p0, count, tap, end_tap, taps, geometry, pixel, channels,
                offset_groups, lanes, image):  # fmt: skip
        depth = channels // offset_groups
        to = 0
        for p in range(p0, p0 + count):
            start = _start(p, geometry)
            for t in range(tap, end_tap):
                for group in range(offset_groups):
                    i = (p * offset_groups + group) * taps + t
                    found = _sample(offset, 2 * i * lanes + image, lanes, start, t, geometry, pixel, places, parts)
                    factor = mask[i * lanes + image] if masked else 1.0
                    for n in range(found):
                        parts[n] = parts[4 * n] * parts[4 * n + 1] * factor
                    gather(at(x, group * depth), places, parts, found, depth, at(column, to + group * depth))
                to += channels

    return columns


@kernel
def deform(T, masked, bias, rows, vectors, tail):
    """The output of an image's tile of pixels; a unit is one of them."""
    columns, panel = _make_columns(masked), make_panel(False, rows, vectors, tail)

    def loop(
        begin, end, block: int, first: int,
        x: Pointer, offset: Pointer, mask: Pointer, w: Pointer, b: Pointer,
        y: Pointer, column: Pointer, places: INT64, parts: Pointer,
        geometry: Ints(10), xs: Ints(2), ys: Ints(2), channels: int, outputs: int, taps: int, groups: int,
        offset_groups: int, lanes: int, pixels: int, tile: int, w_strides: Ints(4),
    ):  # fmt: skip
        depth, per_group = channels // groups, outputs // groups
        w_tap, w_depth, w_row, w_group = w_strides
        tiles = (pixels + tile - 1) // tile
        for unit in range(begin, end):
            image = unit // tiles
            p0 = (unit - image * tiles) * tile
            count = min(tile, pixels - p0)
            columns(at(x, image * xs[1]), offset, mask, column, places, parts, p0, count, 0, taps, taps, geometry,
                    xs[0], channels, offset_groups, lanes, image)  # fmt: skip
            to = at(y, image * ys[1] + p0 * ys[0])
            for group in range(groups):
                counts, x_strides, ws = (1, 1, taps, depth), (0, 0, channels, 1), (0, 0, w_tap, w_depth)
                if w_tap == depth * w_depth and groups == 1:
                    counts = (1, 1, 1, taps * depth)
                panel(at(column, group * depth), at(w, group * w_group), at(to, group * per_group), count,
                      counts, x_strides, ws, taps * channels, ys[0], w_row, per_group)  # fmt: skip
            if bias:
                for p in range(count):
                    for c in range(0, outputs, LANES):
                        i, left = p * ys[0] + c, outputs - c
                        store_first(to, i, load_first(to, i, left) + load_first(b, c, left), left)

    return loop


@kernel
def deform_input_grads(T, masked, rows, vectors, tail):
    """Gradients of input, offset and mask; a unit is an image, whose input's gradient one thread adds up."""
    panel = make_panel(False, rows, vectors, tail)

    def loop(
        begin, end, block: int, first: int,
        g: Pointer, x: Pointer, offset: Pointer, mask: Pointer, w: Pointer,
        by_x: Pointer, by_offset: Pointer, by_mask: Pointer, column: Pointer, places: INT64, parts: Pointer,
        geometry: Ints(10), xs: Ints(2), gs: Ints(2), channels: int, outputs: int, taps: int, groups: int,
        offset_groups: int, lanes: int, pixels: int, tile: int, w_strides: Ints(4),
    ):  # fmt: skip
        depth, per_group, shared = channels // groups, outputs // groups, channels // offset_groups
        w_tap, w_depth, w_row, w_group = w_strides
        for image in range(begin, end):
            source, target = at(x, image * xs[1]), at(by_x, image * xs[1])
            clear(target, geometry[1] * geometry[2], xs[0], channels)
            for p0 in range(0, pixels, tile):
                count = min(tile, pixels - p0)
                grad = at(g, image * gs[1] + p0 * gs[0])
                for t in range(taps):
                    for group in range(groups):
                        panel(at(grad, group * per_group), at(w, t * w_tap + group * w_group),
                              at(column, t * channels + group * depth), count, (1, 1, 1, per_group), (0, 0, 0, 1),
                              (0, 0, 0, w_depth), gs[0], taps * channels, w_row, depth)  # fmt: skip
                for p in range(p0, p0 + count):
                    start = _start(p, geometry)
                    for t in range(taps):
                        for group in range(offset_groups):
                            i = (p * offset_groups + group) * taps + t
                            factor = mask[i * lanes + image] if masked else 1.0
                            found = _sample(offset, 2 * i * lanes + image, lanes, start, t, geometry, xs[0], places,
                                            parts)  # fmt: skip
                            d = at(column, ((p - p0) * taps + t) * channels + group * shared)
                            down = right = value = 0.0
                            for n in range(found):
                                f_down, f_right = parts[4 * n], parts[4 * n + 1]
                                product = product_sum(d, at(source, group * shared), places[n], shared)
                                scatter(d, places[n], f_down * f_right * factor, shared, at(target, group * shared))
                                value += product * f_down * f_right
                                down += product * parts[4 * n + 2] * f_right
                                right += product * f_down * parts[4 * n + 3]
                            by_offset[2 * i * lanes + image] = down * factor
                            by_offset[(2 * i + 1) * lanes + image] = right * factor
                            if masked:
                                by_mask[i * lanes + image] = value

    return loop


@kernel
def deform_weights(T, masked, rows, vectors, row_tail, vector_tail):
    """Partial sums of the weight's gradient over a group of blocks, [output][tap][channel]; a unit is a tap."""
    columns, outer = _make_columns(masked), make_outer(rows, vectors, row_tail, vector_tail)

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, offset: Pointer, mask: Pointer,
        p: Pointer, column: Pointer, places: INT64, parts: Pointer,
        geometry: Ints(10), xs: Ints(2), gs: Ints(2), channels: int, outputs: int, taps: int, groups: int,
        offset_groups: int, lanes: int, pixels: int, tile: int, line: int,
    ):  # fmt: skip
        depth, per_group = channels // groups, outputs // groups
        for t in range(begin, end):
            again = 1 - first
            for image in range(lanes):
                for p0 in range(0, pixels, tile):
                    count = min(tile, pixels - p0)
                    columns(at(x, image * xs[1]), offset, mask, column, places, parts, p0, count, t, t + 1, taps,
                            geometry, xs[0], channels, offset_groups, lanes, image)  # fmt: skip
                    for group in range(groups):
                        outer(at(g, image * gs[1] + p0 * gs[0] + group * per_group), at(column, group * depth),
                              at(p, (group * per_group * taps + t) * line), per_group, line // LANES,
                              (1, 1, 1, count), (0, 0, 0, gs[0]), (0, 0, 0, channels), 1, taps * line,
                              again)  # fmt: skip
                    again = 1

    return loop


# ------------------------------------------------------------------------------------------------ lowering


def _tile(dtype, column: int) -> int:
    """Pixels of a tile whose columns have ``column`` elements each."""
    return min(max(TILE_BYTES // (column * dtype.itemsize), LEAST_PIXELS), MOST_PIXELS)


def _workspace(program, dtype, elements: int):
    """Columns, places and weights' parts."""
    return (
        program.per_thread(dtype, elements),
        program.per_thread(np.dtype(np.int64), 4),
        program.per_thread(dtype, 16),
    )


def _geometry(attrs, x, pixels_of, kernel_) -> tuple[int, ...]:
    return (
        pixels_of.spatial[1], *x.spatial, *attrs["stride"], *attrs["padding"], *attrs["dilation"], kernel_[1]
    )  # fmt: skip


def _layouts(node):
    mask = (BATCH,) if node.attrs["masked"] else ()
    return (BATCH, BATCH, PLAIN, *mask, PLAIN)


@lowering("deform_conv", inputs=_layouts, outputs=(BATCH,))
def lower_deform_conv(program, node, inputs, outputs):
    x, offset, weight, *rest = inputs
    y, masked = outputs[0], node.attrs["masked"]
    mask = rest.pop(0) if masked else offset
    kernel_, taps = weight.shape[2:], math.prod(weight.shape[2:])
    groups = x.channels // weight.shape[1]
    w, strides = laid_out(program, weight, 1, groups)
    source, target = rows_of(program, x), rows_for(program, y)
    tile, vectors_of = _tile(x.dtype, taps * x.channels), ceil_div(y.channels // groups, LANES)
    depth = taps * weight.shape[1]
    rows, vectors = choose_tile(x.dtype.itemsize, tile, [(vectors_of, 1)], depth, cut_rows=False, overlap=True)
    constants = (
        *_geometry(node.attrs, x, y, kernel_), source.pixel, source.image, target.pixel, target.image,
        x.channels, y.channels, taps, groups, offset.channels // (2 * taps), x.lanes, y.pixels, tile,
        strides.column, strides.depth, strides.output, strides.group,
    )  # fmt: skip
    kernel_of = deform(
        x.dtype, masked=masked, bias=bool(rest), rows=rows, vectors=vectors, tail=vectors_of % vectors
    )
    program.step(
        kernel_of, (source.buffer, offset, mask, w, rest[0] if rest else w),
        (target.buffer, *_workspace(program, x.dtype, tile * taps * x.channels)),
        constants, source.images * ceil_div(y.pixels, tile), flops=node.flops,
    )  # fmt: skip
    put_back(program, target, y)


def _input_grads_layouts(node):
    return (BATCH, BATCH, BATCH, PLAIN, BATCH)


@lowering("deform_conv_input_grads", inputs=_input_grads_layouts, outputs=(BATCH,))
def lower_deform_conv_input_grads(program, node, inputs, outputs):
    g, x, offset, weight, *rest = inputs
    by_x, by_offset, *by_mask = outputs
    kernel_, taps = weight.shape[2:], math.prod(weight.shape[2:])
    groups = x.channels // weight.shape[1]
    w, strides = laid_out(program, weight, 1, groups, transposed=True)
    source, grad, target = rows_of(program, x), rows_of(program, g), rows_for(program, by_x)
    tile, vectors_of = _tile(x.dtype, taps * x.channels), ceil_div(weight.shape[1], LANES)
    depth = g.channels // groups
    rows, vectors = choose_tile(x.dtype.itemsize, tile, [(vectors_of, 1)], depth, cut_rows=False, overlap=True)
    constants = (
        *_geometry(node.attrs, x, g, kernel_), source.pixel, source.image, grad.pixel, grad.image,
        x.channels, g.channels, taps, groups, offset.channels // (2 * taps), x.lanes, g.pixels, tile,
        strides.column, strides.depth, strides.output, strides.group,
    )  # fmt: skip
    masked = node.attrs["masked"]
    kernel_of = deform_input_grads(x.dtype, masked=masked, rows=rows, vectors=vectors, tail=vectors_of % vectors)
    # Without a mask its operands are still there, and not touched.
    program.step(
        kernel_of, (grad.buffer, source.buffer, offset, rest[0] if rest else offset, w),
        (target.buffer, by_offset, by_mask[0] if by_mask else by_offset,
         *_workspace(program, x.dtype, tile * taps * x.channels)),
        constants, source.images, flops=node.flops,
    )  # fmt: skip
    put_back(program, target, by_x)


@lowering("deform_conv_weight_grad", inputs=(BATCH,), outputs=(PLAIN,))
def lower_deform_conv_weight_grad(program, node, inputs, outputs):
    g, x, offset, *rest = inputs
    w = outputs[0]
    kernel_, taps, depth = w.shape[2:], math.prod(w.shape[2:]), w.shape[1]
    groups = x.channels // depth
    source, grad = rows_of(program, x), rows_of(program, g)
    tile, line, per_group = _tile(x.dtype, x.channels), ceil_div(depth, LANES) * LANES, g.channels // groups
    rows, vectors = choose_tile(x.dtype.itemsize, per_group, [(line // LANES, 1)], tile, cut_rows=True)
    partials = program.per_group(x, g.channels * taps * line)
    constants = (
        *_geometry(node.attrs, x, g, kernel_), source.pixel, source.image, grad.pixel, grad.image,
        x.channels, g.channels, taps, groups, offset.channels // (2 * taps), x.lanes, g.pixels, tile, line,
    )  # fmt: skip
    kernel_of = deform_weights(
        x.dtype, masked=bool(rest), rows=rows, vectors=vectors,
        row_tail=per_group % rows, vector_tail=line // LANES % vectors,
    )  # fmt: skip
    program.step(
        kernel_of, (grad.buffer, source.buffer, offset, rest[0] if rest else offset),
        (partials, *_workspace(program, x.dtype, tile * x.channels)), constants, taps, flops=node.flops,
    )  # fmt: skip
    add_partials(program, partials, w, (per_group, depth, taps), (per_group * taps * line, taps * line, 1, line))
