"""1 x 1 convolution with images in lanes: products of matrices whose columns are all pixels of a block, row after row.

Forward and input gradient: a unit is a register tile of pixels by some of the channels.  Where a row has few pixels,
those that a stride picks are copied together first (or the gradient's spread afterwards).

Weight gradient: it sums over pixels and images, so one operand must have its channels in vectors.  A few pixels at a
time are turned into a thread's workspace, small enough for the first-level cache, and all of the other operand's
channels are broadcast against them: neither operand goes through memory more than once.  The operand with fewer
channels is turned, for its pixels cost the same however many products they enter.
"""

import math

from .activation import ACTIVATIONS
from .algorithm import FORWARD, INPUT, SPECIAL, WEIGHTS, Convolution, Offer, algorithm
from .compiler import inline
from .filter import laid_out
from .geometry import three
from .lowering import ceil_div
from .native import Ints, Pointer, kernel
from .panel import choose_tile, make_panel, tiles_along_vectors
from .target import LANES
from .tile import product
from .vector import at, load, load_first, splat, store, store_first, transpose

#: Tiles of pixels that give threads enough to share; fewer are cut by channels as well.
MOST_PIXEL_UNITS = 64

#: Rows of fewer pixels waste much of a tile.
SHORT_ROW = 14

#: Filters that fill a second-level cache are packed for the input gradient, which otherwise reads half a line of them
#: at a time, each far from the next one, and all in a few sets of the cache.
PACKED_ELEMENTS = 256 * 1024

#: Units of the weight gradient, and pixels that are worth partial sums of their own.
WEIGHT_UNITS = 8
LEAST_SECTION = 96

#: Turned pixels that a tile reads: half of a first-level cache.
TURNED_BYTES = 24 * 1024

#: How many pixels ahead a tile asks for what it broadcasts: few lines of each pixel, far from the next one's.
PIXELS_AHEAD = 4


# ------------------------------------------------------------------------------------------ forward and input gradient


@kernel
def move_pixels(T, spread):
    """The pixels that a stride picks, one after another; ``spread``: those put back, and zeros elsewhere.

    A unit is a pixel of the result; ``sizes`` are the picked rows and columns, ``full`` those they are picked from.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        sizes: Ints(2), full: Ints(3), stride: Ints(3), line: int,
    ):  # fmt: skip
        _, rows, columns = full if spread else (0, *sizes)
        for unit in range(begin, end):
            d, h, w = unit // (rows * columns), unit // columns % rows, unit % columns
            to = at(y, unit * line)
            if spread:
                picked = d % stride[0] + h % stride[1] + w % stride[2] == 0
                d, h, w = d // stride[0], h // stride[1], w // stride[2]
                here = at(x, ((d * sizes[0] + h) * sizes[1] + w) * line)
            else:
                picked = True
                here = at(x, ((d * stride[0] * full[1] + h * stride[1]) * full[2] + w * stride[2]) * line)
            for i in range(0, line, LANES):
                store(to, i, load(here, i) if picked else splat(to, 0.0))

    return loop


@kernel
def pack_rows(T):
    """A matrix [depth][channels] as [channels / LANES][depth][LANES]; a unit is a row of the matrix.

    The last group is padded with zeros.
    """

    def loop(begin, end, block: int, first: int, w: Pointer, u: Pointer, depth: int, channels: int):
        for unit in range(begin, end):
            for c in range(0, channels, LANES):
                store(u, c * depth + unit * LANES, load_first(w, unit * channels + c, channels - c))

    return loop


@kernel
def multiply_pixels(T, rows, vectors, tail, last_tail, activation, bias):
    """A unit is ``vectors`` pixels by ``part`` output channels, of which ``group`` lie ``w_group`` elements apart.

    ``tail``: channels of a group modulo ``rows``; ``last_tail``: those of the last group.
    """
    panel, last_panel = make_panel(True, rows, vectors, tail), make_panel(True, rows, vectors, last_tail)
    act = ACTIVATIONS[activation] if activation else None

    @inline
    def finish(y, b, pixels, channels, y_pixel):
        for j in range(pixels):
            for k in range(channels):
                v = load(y, j * y_pixel + k * LANES)
                if bias:
                    v = v + b[k]
                if activation:
                    v = act(v)
                store(y, j * y_pixel + k * LANES, v)

    def loop(
        begin, end, block: int, first: int, x: Pointer, w: Pointer, b: Pointer, y: Pointer,
        pixels: int, depth: int, outputs: int, part: int, group: int, w_group: int, w_depth: int, w_row: int,
    ):  # fmt: skip
        units = (pixels + vectors - 1) // vectors
        counts, xs, ws = (1, 1, 1, depth), (0, 0, 0, LANES), (0, 0, 0, w_depth)
        x_pixel, y_pixel = depth * LANES, outputs * LANES
        for unit in range(begin, end):
            first_k, j = unit // units * part, unit % units * vectors
            width, end_k = min(vectors, pixels - j), min(first_k + part, outputs)
            xj, yj = at(x, j * x_pixel), at(y, j * y_pixel)
            for k in range(first_k, end_k, group):
                wk, yk = at(w, k // group * w_group), at(yj, k * LANES)
                if k + group <= outputs:
                    panel(xj, wk, yk, width, counts, xs, ws, x_pixel, y_pixel, w_row, group)
                else:
                    last_panel(xj, wk, yk, width, counts, xs, ws, x_pixel, y_pixel, w_row, outputs - k)
            if bias or activation:
                finish(at(yj, first_k * LANES), at(b, first_k), width, end_k - first_k, y_pixel)

    return loop


def _is_product(c: Convolution) -> bool:
    return c.x.lanes > 1 and math.prod(c.filter_size) == 1 and not c.has_padding and c.groups == 1


@algorithm(FORWARD, INPUT, name="direct", rank=SPECIAL)
def offer_product(c: Convolution) -> Offer:
    """All that a stride of 1 picks, or few pixels."""
    picked = (c.x if c.transposed else c.y).spatial
    if not _is_product(c) or math.prod(picked) == 1:
        return None
    finished = c.bias is not None or c.activation is not None  # zeros would be spread that need both as well
    if math.prod(c.stride) > 1 and (picked[-1] >= SHORT_ROW or (c.transposed and finished)):
        return None
    return lambda: (correlate_input if c.transposed else correlate)(c)


def correlate(c: Convolution) -> None:
    """Append the steps of y = w x."""
    x, y = c.x, c.y
    few = x
    if math.prod(c.stride) > 1:
        few = c.program.per_block(y, y.pixels * x.channels * x.lanes)
        constants = (*_grid(y, x, c.stride), x.channels * x.lanes)
        c.program.step(move_pixels(x.dtype, spread=False), (x,), (few,), constants, y.pixels, late=True)
    _multiply(c, few, y, y.pixels)


def correlate_input(c: Convolution) -> None:
    """Append the steps of an input gradient."""
    g, x = c.x, c.y
    few = c.program.per_block(x, g.pixels * x.channels * x.lanes) if math.prod(c.stride) > 1 else x
    _multiply(c, g, few, g.pixels)
    if few is not x:
        constants = (*_grid(g, x, c.stride), x.channels * x.lanes)
        c.program.step(move_pixels(x.dtype, spread=True), (few,), (x,), constants, x.pixels)


def _grid(picked, full, stride) -> tuple[int, ...]:
    return (*three(picked.spatial, 1)[1:], *three(full.spatial, 1), *stride)


def _multiply(c: Convolution, x, y, pixels: int) -> None:
    """Append the product of w and x, ``pixels`` of each."""
    depth, outputs = c.x.channels, c.y.channels
    w, strides = laid_out(c.program, c.w, c.y.lanes, transposed=c.transposed)
    packed = strides.output == 1 and w.elements >= PACKED_ELEMENTS
    rows, vectors = choose_tile(y.dtype.itemsize, LANES if packed else outputs, [(pixels, 1)], depth, cut_rows=True)
    each = LANES if packed else rows
    units, part = ceil_div(pixels, vectors), ceil_div(outputs, each) * each
    if units < MOST_PIXEL_UNITS:
        part = ceil_div(ceil_div(outputs, each), 2) * each
    group, w_group, w_depth, w_row = part, part * strides.output, strides.depth, strides.output
    if packed:
        group, w_group, w_depth, w_row = LANES, LANES * depth, LANES, 1
        u = c.program.whole(w.dtype, ceil_div(outputs, LANES) * w_group)
        c.program.step(pack_rows(w.dtype), (w,), (u,), (depth, outputs), depth)
        w = u
    step = multiply_pixels(
        y.dtype, rows=rows, vectors=vectors, tail=group % rows, last_tail=outputs % group % rows,
        activation=c.activation, bias=c.bias is not None,
    )  # fmt: skip
    constants = (pixels, depth, outputs, part, group, w_group, w_depth, w_row)
    # Without a bias the operand is still there, and not read.
    c.program.step(step, (x, w, c.bias or w), (y,), constants, units * ceil_div(outputs, part), flops=c.flops)


# ------------------------------------------------------------------------------------------------ weight gradient


@kernel
def multiply_gradients(T, rows, vectors, row_tail, vector_tail, last_tail):
    """Partial weight gradients; a unit is a section of pixels and ``part`` vectors of the turned operand's channels.

    t is turned, a broadcast; p is [section][a's channels][t's channels].  ``vector_tail``: vectors of a part modulo
    ``vectors``; ``last_tail``: those of the last part.
    """

    def make(height, width):
        return product(height, width, PIXELS_AHEAD)

    def across(tail):
        """Products of turned pixels with all channels of a; the last tile of a part has ``tail`` vectors."""
        tall = tiles_along_vectors(make, rows, vectors, tail, LANES)
        short = tiles_along_vectors(make, max(row_tail, 1), vectors, tail, LANES)

        @inline
        def products(t, a, p, width, channels, counts, t_strides, a_strides, p_row, again):
            whole = channels // rows * rows
            for k in range(0, whole, rows):
                tall(t, at(a, k * LANES), at(p, k * p_row), width, counts, t_strides, a_strides, p_row, again)
            if row_tail:
                short(t, at(a, whole * LANES), at(p, whole * p_row), width, counts, t_strides, a_strides, p_row, again)

        return products

    products, last_products = across(vector_tail), across(last_tail)

    def loop(
        begin, end, block: int, first: int, t: Pointer, a: Pointer, p: Pointer, work: Pointer,
        pixels: int, picked: Ints(2), full: Ints(2), stride: Ints(3), t_channels: int, a_channels: int,
        t_vectors: int, part: int, sections: int, at_once: int,
    ):  # fmt: skip
        parts = (t_vectors + part - 1) // part
        p_row = t_vectors * LANES
        line = vectors * LANES  # of the workspace: [tile][pixel][image][vectors]
        panel = at_once * LANES * line
        for unit in range(begin, end):
            section, v = unit // parts, unit % parts * part
            wide = min(part, t_vectors - v)
            low, high = section * pixels // sections, (section + 1) * pixels // sections
            pv = at(p, section * a_channels * p_row + v * LANES)
            for start in range(low, high, at_once):
                count = min(at_once, high - start)
                for j in range(count):
                    d, h, w = (
                        (start + j) // (picked[0] * picked[1]), (start + j) // picked[1] % picked[0],
                        (start + j) % picked[1],
                    )  # fmt: skip
                    place = (d * stride[0] * full[0] + h * stride[1]) * full[1] + w * stride[2]
                    source = at(t, (place * t_channels + v * LANES) * LANES)
                    for i in range(wide):
                        target = at(work, i // vectors * panel + j * LANES * line + i % vectors * LANES)
                        transpose(at(source, i * LANES * LANES), LANES, target, line)
                counts = (1, 1, count, LANES)
                t_strides, a_strides = (0, 0, LANES * line, line), (0, 0, a_channels * LANES, 1)
                here = at(a, start * a_channels * LANES)
                again = 1 if first == 0 or start > low else 0
                for i in range(0, wide, vectors):
                    turned, to, width = at(work, i // vectors * panel), at(pv, i * LANES), min(vectors, wide - i)
                    if v + wide < t_vectors:
                        products(turned, here, to, width, a_channels, counts, t_strides, a_strides, p_row, again)
                    else:
                        last_products(turned, here, to, width, a_channels, counts, t_strides, a_strides, p_row, again)

    return loop


@kernel
def sum_sections(T, transposed):
    """Ordered sum of ``copies`` partial gradients [rows][line]; a unit is a row, or ``LANES`` rows of the transpose."""

    @inline
    def total(p, copies, distance):
        v = load(p, 0)
        for i in range(1, copies):
            v = v + load(p, i * distance)
        return v

    def loop(
        begin, end, block: int, first: int, p: Pointer, w: Pointer, work: Pointer,
        copies: int, distance: int, rows: int, columns: int, line: int,
    ):  # fmt: skip
        if transposed:
            for unit in range(begin, end):
                for k in range(0, rows, LANES):
                    for i in range(LANES):
                        store(work, i * LANES, total(at(p, (k + i) * line + unit * LANES), copies, distance))
                    transpose(work, LANES, at(w, unit * LANES * rows + k), rows)
        else:
            for unit in range(begin, end):
                for c in range(0, columns, LANES):
                    v = total(at(p, unit * line + c), copies, distance)
                    store_first(w, unit * columns + c, v, columns - c)

    return loop


@algorithm(WEIGHTS, name="direct", rank=SPECIAL)
def offer_weight_product(c: Convolution) -> Offer:
    """Channels of the input that fill vectors well enough."""
    channels = c.x.channels
    if not _is_product(c) or channels < LANES or 4 * channels < 3 * ceil_div(channels, LANES) * LANES:
        return None
    return lambda: correlate_weights(c)


def correlate_weights(c: Convolution) -> None:
    """Append the steps of a weight gradient."""
    program, x, g, w, stride = c.program, c.x, c.y, c.w, c.stride
    whole = x.channels % LANES == g.channels % LANES == 0
    transposed = g.channels < x.channels and whole and math.prod(stride) == 1
    t, a = (g, x) if transposed else (x, g)
    t_vectors = ceil_div(t.channels, LANES)
    sections = 1
    while sections < WEIGHT_UNITS and g.pixels >= 2 * sections * LEAST_SECTION:
        sections *= 2
    part = ceil_div(t_vectors, WEIGHT_UNITS // sections)
    rows, vectors = choose_tile(x.dtype.itemsize, a.channels, [(part, 1)], g.pixels // sections * LANES, cut_rows=True)
    parts = ceil_div(t_vectors, part)
    at_once = max(1, TURNED_BYTES // (LANES * vectors * LANES * x.dtype.itemsize))
    step = multiply_gradients(
        x.dtype, rows=rows, vectors=vectors, row_tail=a.channels % rows, vector_tail=part % vectors if parts > 1 else 0,
        last_tail=(t_vectors - (parts - 1) * part) % vectors,
    )  # fmt: skip
    line = t_vectors * LANES
    partials = program.per_group(x, sections * a.channels * line)
    work = program.per_thread(x.dtype, ceil_div(part, vectors) * vectors * LANES * LANES * at_once)
    constants = (
        g.pixels, *three(g.spatial, 1)[1:], *three(t.spatial, 1)[1:], *stride, t.channels, a.channels, t_vectors, part,
        sections, at_once,
    )  # fmt: skip
    program.step(step, (t, a), (partials, work), constants, sections * parts, flops=c.flops)
    work = program.per_thread(w.dtype, LANES * LANES)
    copies = partials.copies * sections
    sizes = (copies, a.channels * line, a.channels, t.channels, line)
    units = ceil_div(t.channels, LANES) if transposed else a.channels
    program.step(sum_sections(w.dtype, transposed=transposed), (partials,), (w, work), sizes, units, whole=True)
