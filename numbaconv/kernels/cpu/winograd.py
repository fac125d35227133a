"""Winograd convolution: 3 x 3 filters at stride 1 by minimal filtering (Lavin & Gray, arXiv 1509.09308).

The output is cut into m x m tiles.  A tile's input, n = m + 2 pixels in each direction, is transformed, multiplied by
the transformed filters in n x n independent matrix products over the channels, and transformed back:

    y = A [sum over c of (G w G') * (B x B')] A'        36 products for 16 outputs instead of 144 (m = 4)

The tiles of a strip are transformed together, so that the register tile of ``tile.py`` reads a filter once for several
of them.  Transforms work on whole vectors in every layout: a pixel is so many vectors, whatever their lanes mean.

The input gradient is the same with the filter turned by 180 degrees.  The weight gradient correlates input tiles with
output gradients: G' [sum over tiles and images of (A' g A) * (B x B')] G.
"""

import math
from typing import NamedTuple

import numpy as np

from . import geometry, winograd_batch
from .algorithm import COUNTED, FORWARD, INPUT, WEIGHTS, Convolution, Offer, algorithm
from .cooktoom import transforms, transposed
from .filter import laid_out
from .lowering import ceil_div
from .native import Pointer, kernel
from .panel import choose_tile, make_panel, tiles_along_vectors
from .target import LANES
from .tile import product
from .turn import turned
from .vector import at, load, store
from .winograd_transform import (
    TAPS,
    FilterLines,
    Grid,
    plane_size,
    reader,
    transform_filter,
    transform_tile,
    weights_writer,
    writer,
)


@kernel
def transform_filters(T, m, backward):
    """G w G' of every filter (unit, inputs, 3, 3), turned by 180 degrees if ``backward``: u [plane][unit][inputs]."""
    transform = transform_filter(m, backward)

    def loop(begin, end, block: int, first: int, w: Pointer, u: Pointer, inputs: int, plane: int):
        line = geometry.ceil_div(inputs, LANES) * LANES
        for unit in range(begin, end):
            for c in range(0, inputs, LANES):
                transform(at(w, (unit * inputs + c) * TAPS * TAPS), inputs - c, at(u, unit * line + c), plane)

    return loop


@kernel
def transform_filter_lines(T, m):
    """G w G' of filters of channels in lanes; a unit is a line of vectors: all results for a channel that is summed.

    w and u with distances of lines and of their vectors, w of rows and columns of taps, u of planes.
    """
    transform = transform_tile(transforms(m, TAPS).filters)

    def loop(
        begin, end, block: int, first: int, w: Pointer, u: Pointer,
        vectors: int, start: int, line: int, row: int, column: int, vector: int,
        plane: int, u_line: int, u_vector: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            for c in range(vectors):
                source, to = at(w, start + unit * line + c * vector), at(u, unit * u_line + c * u_vector)
                transform(source, row, column, to, plane, 0, TAPS, 0, TAPS)

    return loop


@kernel
def winograd(T, m, images, rows, vectors, tail, activation, bias):
    """A unit is a strip of ``strip`` tiles of a block, and ``part`` of the output channels.

    The parts of a strip follow each other, so that it is transformed once by each thread that works on it.
    """
    planes = (m + TAPS - 1) ** 2
    read, write = reader(transforms(m, TAPS).inputs), writer(m, images, activation, bias)
    panel = make_panel(images, rows, vectors, tail)

    def loop(
        begin, end, block: int, first: int, x: Pointer, u: Pointer, b: Pointer, y: Pointer, v: Pointer, p: Pointer,
        in_h: int, in_w: int, out_h: int, out_w: int, pad_h: int, pad_w: int,
        depth: int, outputs: int, lanes: int, strip: int, part: int, v_plane: int, p_plane: int,
        u_plane: int, u_depth: int, u_row: int,
    ):  # fmt: skip
        tiles_w = geometry.ceil_div(out_w, m)
        tiles = geometry.ceil_div(out_h, m) * tiles_w
        x_pixel, y_pixel = depth * lanes, outputs * lanes
        parts = geometry.ceil_div(outputs, part)
        ready = -1
        for unit in range(begin, end):
            this = unit // parts
            k = (unit - this * parts) * part
            channels = min(part, outputs - k)
            low, high = this * strip, min(tiles, (this + 1) * strip)
            if ready != this:
                for t in range(low, high):
                    i, j = t // tiles_w * m - pad_h, t % tiles_w * m - pad_w
                    read(x, i, j, in_h, in_w, x_pixel, 0, x_pixel, at(v, (t - low) * x_pixel), v_plane)
                ready = this
            u_at = k // (1 if images else LANES) * u_row
            for e in range(planes):
                panel(at(v, e * v_plane), at(u, e * u_plane + u_at), at(p, e * p_plane + k * lanes), high - low,
                      (1, 1, 1, depth), (0, 0, 0, lanes), (0, 0, 0, u_depth), x_pixel, y_pixel, u_row,
                      channels)  # fmt: skip
            for t in range(low, high):
                i, j = t // tiles_w * m, t % tiles_w * m
                write(at(p, (t - low) * y_pixel + k * lanes), p_plane, b, y, i, j, out_h, out_w, y_pixel,
                      k * lanes, (k + channels) * lanes)  # fmt: skip

    return loop


@kernel
def winograd_weights(T, m, rows, vectors, row_tail, vector_tail):
    """Sums of products of transformed input tiles and output gradients; a unit is ``rows`` output channels.

    x has its pixels turned: [pixel][image][channel].  p [plane][output channel][input channel].
    """
    planes = (m + TAPS - 1) ** 2
    matrices = transforms(m, TAPS)
    read, read_gradients = reader(matrices.inputs), reader(transposed(matrices.outputs))
    tall = tiles_along_vectors(product, rows, vectors, vector_tail, LANES)
    short = tiles_along_vectors(product, max(row_tail, 1), vectors, vector_tail, LANES)

    def loop(
        begin, end, block: int, first: int, x: Pointer, g: Pointer, p: Pointer, v: Pointer, q: Pointer,
        in_h: int, in_w: int, out_h: int, out_w: int, pad_h: int, pad_w: int,
        depth: int, outputs: int, strip: int, v_plane: int, q_plane: int, p_plane: int,
    ):  # fmt: skip
        tiles_w = geometry.ceil_div(out_w, m)
        tiles = geometry.ceil_div(out_h, m) * tiles_w
        x_pixel, g_pixel = depth * LANES, outputs * LANES
        x_strides, g_strides = (0, 0, x_pixel, depth), (0, 0, g_pixel, 1)
        again = 1 - first
        from_k, to_k = begin * rows, min(end * rows, outputs)
        for low in range(0, tiles, strip):
            high = min(tiles, low + strip)
            for t in range(low, high):
                i, j = t // tiles_w * m, t % tiles_w * m
                read_gradients(g, i, j, out_h, out_w, g_pixel, from_k * LANES, to_k * LANES,
                               at(q, (t - low) * g_pixel), q_plane)  # fmt: skip
                read(x, i - pad_h, j - pad_w, in_h, in_w, x_pixel, 0, x_pixel, at(v, (t - low) * x_pixel), v_plane)
            counts = (1, 1, high - low, LANES)
            for e in range(planes):
                ve, qe, pe = at(v, e * v_plane), at(q, e * q_plane), at(p, e * p_plane)
                for k in range(from_k, to_k, rows):
                    qk, pk = at(qe, k * LANES), at(pe, k * depth)
                    if to_k - k >= rows:
                        tall(ve, qk, pk, depth // LANES, counts, x_strides, g_strides, depth, again)
                    else:
                        short(ve, qk, pk, depth // LANES, counts, x_strides, g_strides, depth, again)
            again = 1

    return loop


@kernel
def filter_gradients(T, m):
    """G' P G of the groups' ordered sums, as (out, in, 3, 3); a unit is an output channel."""
    side = m + TAPS - 1
    write = weights_writer(m)

    def loop(
        begin, end, block: int, first: int, p: Pointer, w: Pointer, work: Pointer,
        groups: int, group_stride: int, plane: int, depth: int, inputs: int,
    ):  # fmt: skip
        for k in range(begin, end):
            for c in range(0, inputs, LANES):
                for e in range(side * side):
                    total = load(p, e * plane + k * depth + c)
                    for g in range(1, groups):
                        total = total + load(p, g * group_stride + e * plane + k * depth + c)
                    store(work, e * LANES, total)
                to = at(w, (k * inputs + c) * TAPS * TAPS)
                write(work, side * LANES, LANES, to, inputs - c)

    return loop


# ------------------------------------------------------------------------------------------------ choosing

#: Output tiles of m x m pixels; larger ones lose too many digits in float32.
SIZES = (4, 2)
#: Tiles that are transformed together: few, so that they stay in the second-level cache.
STRIP = 4
#: The same with channels in lanes, where a tile is of one image.
LONE_STRIP = 32
#: Units at the least, if there are channels enough to divide.
LONE_UNITS = 8
#: Cycles for a byte of transformed filters of up to so many bytes, from the caches and from memory (measured).
STREAMING = ((4 << 20, 0.02), (24 << 20, 0.2), (math.inf, 0.35))


class Plan(NamedTuple):
    """How to convolve: tiles of ``size`` x ``size`` pixels, of strips or (``batch``) of all blocks at once."""

    size: int
    batch: bool


def choose(program, attrs, w, x, y, weights: bool = False) -> Plan | None:
    """The plan that takes the fewest cycles for a convolution from x to y, None if the direct algorithm does.

    Counts products (about 1.7 a cycle), transforms (5 cycles a vector of a plane) and the traffic of transformed
    filters (written, unless they are frozen, and read or added to for every strip) or, with the whole batch at once, of
    transformed tiles.  Only float32 is worth it, but what is asked for is done.
    """
    images = y.lanes > 1
    whole_vectors = x.channels % LANES == 0 and y.channels % LANES == 0
    if w.shape[2:] != (TAPS, TAPS) or not (images or (whole_vectors and not weights)):
        return None
    if {*attrs["stride"], *attrs["dilation"], attrs["groups"]} != {1}:
        return None
    asked = attrs["algo"] == "winograd"
    few = weights and x.channels < LANES  # they are read in whole vectors
    if not asked and (attrs["algo"] != "auto" or y.dtype != np.float32 or few):
        return None
    filters = w.shape[0] * w.shape[1]
    written = 0 if program.frozen else 2
    share = y.lanes / LANES  # of a vector, that an image's channel fills

    def direct() -> float:
        taps = math.prod(  # those that fall outside are left out
            sum(0 <= o + t - p < i for o in range(n) for t in range(TAPS))
            for i, n, (p, _) in zip(x.spatial, y.spatial, attrs["padding"], strict=True)
        )
        # pixels at borders go one by one, which costs more with channels in lanes
        products = filters * share * taps * y.blocks / (1.7 if images else 1.2)
        return products + _traffic(4 * TAPS**2 * filters, written + y.blocks)

    def cycles(plan: Plan) -> float:
        planes = (plan.size + TAPS - 1) ** 2
        tiles = math.prod(ceil_div(n, plan.size) for n in y.spatial)
        products = planes * filters * share * tiles * y.blocks / 1.7
        transforms = 5 * planes * (x.channels + y.channels) * share * tiles * y.blocks
        if plan.batch:
            traffic = 0.06 * 4 * planes * tiles * y.blocks * x.channels * y.channels
        else:
            strips = ceil_div(tiles, STRIP if images else LONE_STRIP)
            traffic = _traffic(4 * planes * filters, written + strips * y.blocks)
        return products + transforms + traffic

    forms = (False, True) if images and y.channels % LANES == 0 else (False,)
    best = min((Plan(m, batch) for m in SIZES for batch in forms), key=cycles)
    return best if asked or cycles(best) < 0.9 * direct() else None


def _traffic(size: int, passes: int) -> float:
    """Cycles for ``passes`` over ``size`` bytes of filters."""
    return size * passes * next(rate for limit, rate in STREAMING if size <= limit)


# ------------------------------------------------------------------------------------------------ lowering


@algorithm(FORWARD, INPUT, name="winograd", rank=COUNTED)
def offer_winograd(c: Convolution) -> Offer:
    plan = choose(c.program, c.attrs, c.w, c.x, c.y)
    if plan is None:
        return None
    padding = [TAPS - 1 - p if c.transposed else p for p in c.before[1:]]
    return lambda: correlate(
        c.program, plan, c.x, c.w, c.bias, c.y, padding, c.transposed, c.activation, c.flops
    )


@algorithm(WEIGHTS, name="winograd", rank=COUNTED)
def offer_winograd_weights(c: Convolution) -> Offer:
    plan = choose(c.program, c.attrs, c.w, c.x, c.y, weights=True)
    return plan and (lambda: correlate_weights(c.program, plan, c.y, c.x, c.w, c.before[1:], c.flops))


def correlate(program, plan: Plan, x, w, bias, y, padding, transposed, activation, flops) -> None:
    """Append the steps of y = x * w; ``transposed``: the input gradient, x being the output's."""
    if plan.batch:
        winograd_batch.correlate(program, plan.size, x, w, bias, y, padding, transposed, activation, flops)
        return
    m, images = plan.size, y.lanes > 1
    grid = Grid.of(m, y)
    depth, outputs = x.channels, y.channels
    constants: tuple[int, ...]
    if images:  # u [plane][line][vectors]
        lines, inputs = w.shape[:2]
        u_line = ceil_div(inputs, LANES) * LANES
        u_plane = plane_size(lines * u_line)
        constants, step = (inputs, u_plane), transform_filters(y.dtype, m=m, backward=transposed)
    else:  # u [plane][vector][line][16]
        w, w_strides = laid_out(program, w, 1, transposed=transposed)
        lines, vectors_of, strides, vector = FilterLines.of(w, w_strides, transposed)
        u_line, u_vector = LANES, lines * LANES
        u_plane = plane_size(vectors_of * u_vector)
        constants = (vectors_of, *strides, vector, u_plane, u_line, u_vector)
        step = transform_filter_lines(y.dtype, m=m)
    u = program.whole(y.dtype, grid.planes * u_plane)
    program.step(step, (w,), (u,), constants, lines)
    strip, part = min(STRIP if images else LONE_STRIP, grid.tiles), outputs
    itemsize = y.dtype.itemsize
    if images:
        rows, vectors = choose_tile(itemsize, outputs, [(strip, 1)], depth, cut_rows=True)
        u_depth, u_row = (u_line, 1) if transposed else (1, u_line)
    else:
        while ceil_div(grid.tiles, strip) * (outputs // part) < LONE_UNITS and part % (2 * LANES) == 0:
            part //= 2
        rows, vectors = choose_tile(itemsize, strip, [(part // LANES, 1)], depth, cut_rows=False, overlap=True)
        u_depth, u_row = u_line, u_vector
    v_plane, p_plane = plane_size(strip * depth * x.lanes), plane_size(strip * outputs * y.lanes)
    work = [program.per_thread(y.dtype, grid.planes * plane) for plane in (v_plane, p_plane)]
    step = winograd(
        y.dtype, m=m, images=images, rows=rows, vectors=vectors,
        tail=outputs % rows if images else part // LANES % vectors,
        activation=activation, bias=bias is not None,
    )  # fmt: skip
    constants = (
        *x.spatial, *y.spatial, *padding, depth, outputs, x.lanes, strip, part,
        v_plane, p_plane, u_plane, u_depth, u_row,
    )  # fmt: skip
    units = ceil_div(grid.tiles, strip) * ceil_div(outputs, part)
    program.step(step, (x, u, bias or u), (y, *work), constants, units, flops=flops)


def correlate_weights(program, plan: Plan, g, x, w, padding, flops) -> None:
    """Append the steps of the weight gradient w of output gradient g and input x."""
    if plan.batch:
        winograd_batch.correlate_weights(program, plan.size, g, x, w, padding, flops)
        return
    m, grid = plan.size, Grid.of(plan.size, g)
    outputs, inputs = w.shape[:2]
    depth = ceil_div(inputs, LANES) * LANES
    source = turned(program, x)
    plane = plane_size(outputs * depth)
    sums = program.per_group(x, grid.planes * plane)
    strip = min(STRIP, grid.tiles)
    v_plane, q_plane = plane_size(strip * depth * LANES), plane_size(strip * outputs * LANES)
    work = [program.per_thread(x.dtype, grid.planes * plane) for plane in (v_plane, q_plane)]
    rows, vectors = choose_tile(x.dtype.itemsize, outputs, [(depth // LANES, 1)], strip * LANES, cut_rows=True)
    step = winograd_weights(
        x.dtype, m=m, rows=rows, vectors=vectors, row_tail=outputs % rows, vector_tail=depth // LANES % vectors
    )
    constants: tuple[int, ...] = (*x.spatial, *g.spatial, *padding, depth, outputs, strip, v_plane, q_plane, plane)
    program.step(step, (source, g), (sums, *work), constants, ceil_div(outputs, rows), flops=flops)
    constants = (sums.copies, sums.stride, plane, depth, inputs)
    work = [program.per_thread(x.dtype, grid.planes * LANES)]
    program.step(filter_gradients(x.dtype, m=m), (sums,), (w, *work), constants, outputs, whole=True)
