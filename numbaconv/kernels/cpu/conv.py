"""Convolution in 1 to 3 dimensions and fully connected layers: forward, input gradient, weight gradient.

All of them walk a filter over rows of pixels with the register tile of ``tile.py``; only strides differ.

``correlate`` serves forward and input gradient.  Output position o of a dimension meets filter taps t0, t0 + step, ...
at input positions start, start + tap_stride, ...  Forward: every tap, tap_stride = dilation.  Input gradient: with
stride s the taps fall into s phases of o, so no zeros are ever inserted between the rows of the output gradient
(Dumoulin & Visin, arXiv 1603.07285, relationship 13); tap_stride is negative.  At borders, taps that fall outside are
left out rather than multiplied by padding.
"""

import math

from . import geometry
from .activation import ACTIVATIONS
from .algorithm import FORWARD, GENERAL, INPUT, WEIGHTS, Convolution, Offer, algorithm, append_steps
from .compiler import inline
from .filter import FilterStrides, laid_out
from .frame import padded, worth_padding
from .geometry import inside, taps_at
from .lowering import BATCH, PLAIN, Buffer, ceil_div, lowering
from .native import Ints, Pointer, kernel
from .panel import choose_tile, make_panel, tiles_along_vectors
from .partial import add_partials
from .target import LANES
from .tile import lane_sum, product, product_first
from .turn import exchange, turned
from .vector import at, load, load_first, store, store_first

#: What one pass of the weight gradient may touch: most of a first-level cache.
PASS_BYTES = 36 * 1024

#: The same where the input's pixels are turned: half of a second-level cache.
TURNED_PASS_BYTES = 512 * 1024

#: Filters of so many bytes stay in a second-level cache while the rows of an image pass by.
PART_BYTES = 512 * 1024

#: Fewer lines (rows of output pixels, or of a filter) are cut into parts of the output channels, for several threads.
FEW_LINES = 8

#: How far ahead turned pixels and their gradients are asked for: a tile's channels of a pixel are few lines, far from
#: the next pixel's, and no prefetcher of a CPU follows such steps.
PIXELS_AHEAD = 4

# ------------------------------------------------------------------------------------------ forward and input gradient


@kernel
def correlate(T, images, rows, vectors, tail, activation, bias):
    """Rows of output pixels; a unit is one row of ``part`` channels.

    Dimensions: (output size, input size, filter size, phases, tap step, index step, tap stride, offset, dilation).
    Strides of x, w: (plane, row, column, output channel or 1, depth).  ``tail``: see ``make_panel``.
    """
    panel = make_panel(images, rows, vectors, tail)
    act = ACTIVATIONS[activation] if activation else None

    @inline
    def finish(y, b, pixels, column, channels):
        """Bias and activation while the row is in the cache."""
        if images:
            for j in range(pixels):
                for k in range(channels):
                    o = j * column + k * LANES
                    v = load(y, o)
                    if bias:
                        v = v + b[k]
                    if activation:
                        v = act(v)
                    store(y, o, v)
        else:
            few = channels == column and channels < LANES  # the activation then goes over pixels in whole vectors
            for j in range(pixels):
                for k in range(0, channels, LANES):
                    o = j * column + k
                    v = load_first(y, o, channels - k)
                    if bias:
                        v = v + load_first(b, k, channels - k)
                    if activation and not few:
                        v = act(v)
                    store_first(y, o, v, channels - k)
            if activation and few:
                for o in range(0, pixels * column, LANES):
                    store_first(y, o, act(load_first(y, o, pixels * column - o)), pixels * column - o)

    def loop(
        begin, end, block: int, first: int, x: Pointer, w: Pointer, b: Pointer, y: Pointer,
        planes: Ints(9), heights: Ints(9), widths: Ints(9), xs: Ints(4), ws: Ints(5),
        groups: int, depth: int, outputs: int, lanes: int, w_group: int, part: int,
    ):  # fmt: skip
        x_plane, x_row, x_column, x_depth = xs
        w_plane, w_tap_row, w_column, w_depth, w_row = ws
        w_out, w_in, phases, tap_step, index_step, tap_stride = (
            widths[0], widths[1], widths[3], widths[4], widths[5], widths[6]
        )  # fmt: skip
        y_column = groups * outputs * lanes
        x_next = index_step * x_column
        y_next = phases * y_column
        for unit in range(begin, end):
            k = unit // (planes[0] * heights[0])  # all rows pass by while a part's filters are in the cache
            line = unit - k * planes[0] * heights[0]
            k *= part
            channels = min(part, outputs - k)
            plane = line // heights[0]
            start_d, tap_d, count_d = taps_at(planes, plane)
            low_d, high_d = inside(start_d, planes[6], count_d, planes[1])
            start_h, tap_h, count_h = taps_at(heights, line - plane * heights[0])
            low_h, high_h = inside(start_h, heights[6], count_h, heights[1])
            x_at = (start_d + low_d * planes[6]) * x_plane + (start_h + low_h * heights[6]) * x_row
            w_at = (tap_d + low_d * planes[4]) * w_plane + (tap_h + low_h * heights[4]) * w_tap_row
            w_at += (k if images else k // LANES) * w_row
            y_at = line * w_out * y_column + k * lanes
            for phase in range(phases):
                start, tap, count = taps_at(widths, phase)
                pixels = (w_out - phase + phases - 1) // phases
                reach = (count - 1) * tap_stride
                # pixels whose taps all lie inside: [inner, outer)
                inner = max(0, geometry.ceil_div(-(start + min(0, reach)), index_step))
                outer = min(pixels, (w_in - 1 - max(0, reach) - start) // index_step + 1)
                j = 0
                while j < pixels:
                    if count > 0 and inner <= j < outer:
                        width, low, high = outer - j, 0, count
                    else:
                        width = 1
                        low, high = inside(start + j * index_step, tap_stride, count, w_in)
                    columns, run = high - low, depth
                    if tap_stride * x_column == depth * x_depth and tap_step * w_column == depth * w_depth:
                        columns, run = 1, (high - low) * depth  # taps and channels are one contiguous run
                    counts = (high_d - low_d, high_h - low_h, columns, run)
                    x_strides = (planes[6] * x_plane, heights[6] * x_row, tap_stride * x_column, x_depth)
                    w_strides = (planes[4] * w_plane, heights[4] * w_tap_row, tap_step * w_column, w_depth)
                    xj = at(x, x_at + (start + j * index_step + low * tap_stride) * x_column)
                    wj = at(w, w_at + (tap + low * tap_step) * w_column)
                    yj = at(y, y_at + (phase + j * phases) * y_column)
                    for g in range(groups):
                        panel(at(xj, g * depth * lanes), at(wj, g * w_group), at(yj, g * outputs * lanes), width,
                              counts, x_strides, w_strides, x_next, y_next, w_row, channels)  # fmt: skip
                    j += width
            if bias or activation:
                finish(at(y, y_at), at(b, k), w_out, y_column, groups * channels)

    return loop


# ------------------------------------------------------------------------------------------------ weight gradient


@kernel
def correlate_weights(T, form, rows, vectors, row_tail, vector_tail, merge):
    """Partial sums of the weight gradient over a group of blocks; a unit is one plane and row of the filter.

    A filter of one row is cut into ``part`` output channels a unit.
    ``form`` "images", images in lanes: tile rows are output channels, vectors are taps and input channels, and the
    lanes are summed.  "turned", the same with the input's pixels turned (see ``turn_pixels``): vectors are input
    channels, and the images are one more sum.  "channels", channels in lanes: tile rows are taps and input channels,
    vectors are output channels.
    ``merge``: a row's taps and channels are one contiguous run; else each tap is a run of its own.
    """
    turned = form == "turned"
    p_vector = LANES if turned else 1

    def make(height, width):
        return product(height, width, PIXELS_AHEAD) if turned else lane_sum(height, width)

    @inline
    def sums(planes, rows, pixels):
        """The lengths of a tile's four sums."""
        return (planes, rows, pixels, LANES) if turned else (planes, rows, 1, pixels)

    @inline
    def strides(plane, row, pixel, image):
        return (plane, row, pixel, image) if turned else (plane, row, 0, pixel)

    @inline
    def run_of_images(x, g, p, runs, outputs, counts, x_strides, g_strides, p_row, again):
        # a tile's gradients stay in the cache while the run's vectors pass by
        whole = outputs // rows * rows
        for k in range(0, whole, rows):
            tall(x, at(g, k * LANES), at(p, k * p_row), runs, counts, x_strides, g_strides, p_row, again)
        if row_tail and outputs > whole:
            short(x, at(g, whole * LANES), at(p, whole * p_row), runs, counts, x_strides, g_strides, p_row, again)

    @inline
    def run_of_channels(x, g, p, runs, outputs, counts, x_strides, g_strides, p_row, again):
        for k in range(0, outputs, vectors * LANES):
            gk, pk = at(g, k), at(p, k)
            m = 0
            while m < runs:
                if runs - m >= rows:
                    tile(at(x, m), gk, at(pk, m * p_row), counts, x_strides, g_strides, 1, LANES, p_row, LANES, again)
                    m += rows
                else:
                    line(at(x, m), gk, at(pk, m * p_row), counts, x_strides, g_strides, 1, LANES, p_row, LANES, again)
                    m += 1

    if form == "channels":
        tile, line = product(rows, vectors), product(1, vectors)
    else:
        tall, short = (
            tiles_along_vectors(make, height, vectors, vector_tail, p_vector) for height in (rows, max(row_tail, 1))
        )
    run = run_of_channels if form == "channels" else run_of_images

    def loop(
        begin, end, block: int, first: int, x: Pointer, g: Pointer, p: Pointer,
        planes: Ints(6), heights: Ints(6), widths: Ints(6), xs: Ints(3), gs: Ints(3),
        groups: int, depth: int, all_outputs: int, part: int, lanes: int,
        p_row: int, p_tap: int, p_output: int, p_group: int, pass_rows: int,
    ):  # fmt: skip
        x_plane, x_row, x_column = xs
        g_plane, g_row, g_column = gs
        out_w, in_w, taps_w, stride_w, pad_w, dilation_w = widths
        again = 1 - first
        for unit in range(begin, end):
            line = unit % (planes[2] * heights[2])
            tap_d, tap_h = line // heights[2], line % heights[2]
            k = unit // (planes[2] * heights[2]) * part
            outputs = min(part, all_outputs - k)
            start_d = tap_d * planes[5] - planes[4]
            start_h = tap_h * heights[5] - heights[4]
            low_d, high_d = inside(start_d, planes[3], planes[0], planes[1])
            low_h, high_h = inside(start_h, heights[3], heights[0], heights[1])
            x_strides = strides(planes[3] * x_plane, heights[3] * x_row, stride_w * x_column, x_column // LANES)
            g_strides = strides(g_plane, g_row, g_column, 1)
            for group in range(groups):
                pg = at(p, group * p_group + line * taps_w * p_tap + k * p_output)
                begin_h = low_h
                while begin_h < high_h or begin_h == low_h:  # a few rows at a time, so that they stay in the cache
                    end_h = min(begin_h + pass_rows, high_h)
                    more = again if begin_h == low_h else 1
                    x_at = (start_d + low_d * planes[3]) * x_plane + (start_h + begin_h * heights[3]) * x_row
                    xg = at(x, x_at + group * depth * lanes)
                    gg = at(g, low_d * g_plane + begin_h * g_row + (group * all_outputs + k) * lanes)
                    deep, high = high_d - low_d, end_h - begin_h
                    if merge:
                        left, right = inside(-pad_w, stride_w, out_w, in_w)
                        _, inner = inside(dilation_w * (taps_w - 1) - pad_w, stride_w, out_w, in_w)
                        inner = max(left, inner)
                        run(at(xg, (left * stride_w - pad_w) * x_column), at(gg, left * g_column), pg, taps_w * depth,
                            outputs, sums(deep, high, inner - left), x_strides, g_strides, p_row, more)  # fmt: skip
                        q = 0
                        while q < out_w:  # pixels at the borders, where some taps fall outside
                            if left <= q < inner:
                                q = inner
                                continue
                            first_tap, end_tap = inside(q * stride_w - pad_w, dilation_w, taps_w, in_w)
                            run(at(xg, (q * stride_w - pad_w + first_tap * dilation_w) * x_column),
                                at(gg, q * g_column), at(pg, first_tap * p_tap), (end_tap - first_tap) * depth,
                                outputs, sums(deep, high, 1), x_strides, g_strides, p_row, 1)  # fmt: skip
                            q += 1
                    else:
                        for tap in range(taps_w):
                            start = tap * dilation_w - pad_w
                            left, right = inside(start, stride_w, out_w, in_w)
                            run(at(xg, (start + left * stride_w) * x_column), at(gg, left * g_column),
                                at(pg, tap * p_tap), depth, outputs, sums(deep, high, right - left),
                                x_strides, g_strides, p_row, more)  # fmt: skip
                    begin_h = max(end_h, begin_h + 1)

    return loop


@kernel
def outer_sums(T, rows, vectors, tail):
    """Weight gradient of a fully connected layer over the whole batch; a unit is a tile of output features.

    w[k, c] = sum over images of g[n, k] x[n, c], with x transposed to one row an image.
    """
    tile, short = product_first(rows, vectors), product_first(max(tail, 1), vectors)

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, w: Pointer,
        outputs: int, inputs: int, counts: Ints(4), gs: Ints(4), xs: Ints(4), g_row: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            k = unit * rows
            for c in range(0, inputs, vectors * LANES):
                to = at(w, k * inputs + c)
                if outputs - k >= rows:
                    tile(at(g, k * g_row), at(x, c), to, counts, gs, xs, g_row, LANES, inputs, LANES, inputs - c)
                else:
                    short(at(g, k * g_row), at(x, c), to, counts, gs, xs, g_row, LANES, inputs, LANES, inputs - c)

    return loop


# ------------------------------------------------------------------------------------------------ lowering


def _part(outputs: int, tile: int, lines: int) -> int:
    """Output channels, in whole tiles, that a unit takes of a line, if there are so many lines in a batch."""
    parts = 1 if lines >= FEW_LINES else 2 * ceil_div(FEW_LINES, 2 * lines)
    return ceil_div(ceil_div(outputs, tile), parts) * tile


def _row_strides(sizes, channels: int, lanes: int) -> tuple[int, int, int]:
    """Elements between planes, rows and columns of a block."""
    column = channels * lanes
    return sizes[1] * sizes[2] * column, sizes[2] * column, column


def _pixel_runs(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """The pixels of a row that ``correlate`` takes together, longest first: (length, how often)."""
    w_out, w_in, phases, index_step, tap_stride = widths[0], widths[1], widths[3], widths[5], widths[6]
    found: dict[int, int] = {1: 0}
    for phase in range(phases):
        start, _, count = taps_at(widths, phase)
        pixels = ceil_div(w_out - phase, phases)
        reach = (count - 1) * tap_stride
        inner = max(0, ceil_div(-(start + min(0, reach)), index_step))
        outer = min(pixels, (w_in - 1 - max(0, reach) - start) // index_step + 1)
        together = max(0, outer - inner) if count else 0
        found[together] = found.get(together, 0) + (together > 0)
        found[1] += pixels - together
    return sorted(((length, often) for length, often in found.items() if length), reverse=True)


@algorithm(FORWARD, INPUT, name="direct", rank=GENERAL)
def offer_rows(c: Convolution) -> Offer:
    return lambda: _correlate(c)


def _correlate(c: Convolution) -> None:
    """Append the step of a forward pass or input gradient."""
    x, y, dimensions = c.x, c.y, c.dimensions
    if worth_padding(c):
        x, dimensions = padded(c)
    w, w_strides = laid_out(c.program, c.w, y.lanes, c.groups, c.transposed)
    images = y.lanes > 1
    depth, outputs = x.channels // c.groups, y.channels // c.groups
    runs = _pixel_runs(dimensions[2])
    itemsize, part, taps = y.dtype.itemsize, outputs, math.prod(d[2] for d in dimensions)
    if images:
        rows, vectors = choose_tile(itemsize, outputs, runs, taps * depth, cut_rows=True)
        if c.groups == 1:
            part = _part(outputs, rows, y.blocks * dimensions[0][0] * dimensions[1][0])
    else:
        channels = [(ceil_div(outputs, LANES), 1)]
        rows, vectors = choose_tile(itemsize, runs[0][0], channels, taps * depth, cut_rows=False, overlap=True)
        if c.groups == 1:
            filters = taps * depth * itemsize  # bytes for a channel
            tile = vectors * LANES
            part = min(outputs, max(1, PART_BYTES // (filters * tile)) * tile)
    kernel_ = correlate(
        y.dtype, images=images, rows=rows, vectors=vectors,
        tail=outputs % rows if images else ceil_div(outputs, LANES) % vectors,
        activation=c.activation, bias=c.bias is not None,
    )  # fmt: skip
    if images and c.transposed and c.groups == 1:
        w, w_strides = _exchanged(c, w)
    in_sizes = tuple(d[1] for d in dimensions)
    constants = (
        *dimensions[0], *dimensions[1], *dimensions[2],
        *_row_strides(in_sizes, x.channels, x.lanes), x.lanes,
        *w_strides[:5],
        c.groups, depth, outputs, y.lanes, w_strides.group, part,
    )  # fmt: skip
    units = dimensions[0][0] * dimensions[1][0] * ceil_div(outputs, part)
    # Without a bias the operand is still there, and not read.
    c.program.step(kernel_, (x, w, c.bias or w), (y,), constants, units, flops=c.flops)


def _exchanged(c: Convolution, w: Buffer) -> tuple[Buffer, FilterStrides]:
    """The filter [out][taps][in] of an input gradient as [in][taps][out].

    A tile sums over the outputs and so reads a few long lines, as in a forward pass, instead of pieces of many.
    """
    outputs, inputs = w.shape[:2]
    taps = math.prod(c.filter_size)
    u = c.program.whole(w.dtype, w.elements)
    c.program.step(exchange(w.dtype), (w,), (u,), (outputs, taps, inputs), ceil_div(inputs, LANES))
    _, height, width = c.filter_size
    return u, FilterStrides(height * width * outputs, width * outputs, outputs, 1, taps * outputs, 0)


@algorithm(WEIGHTS, name="direct", rank=GENERAL)
def offer_weight_rows(c: Convolution) -> Offer:
    return lambda: _correlate_weights(c)


def _correlate_weights(c: Convolution) -> None:
    """Append the steps of a weight gradient."""
    x, g, groups = c.x, c.y, c.groups
    stride, before, dilation, kernel_ = c.stride, c.before, c.dilation, c.filter_size
    out_sizes, in_sizes = c.sizes
    images = x.lanes > 1
    depth, per_group, taps = x.channels // groups, g.channels // groups, math.prod(kernel_)
    line = ceil_div(depth, LANES) * LANES
    form = "images" if images else "channels"
    # where channels fill two vectors; in volumes one is enough, whose planes are too many for a first-level cache
    if images and groups == 1 and (line > LANES or kernel_[0] > 1) and 4 * depth >= 3 * line:
        form = "turned"
    merge = form != "turned" and groups == 1 and dilation[2] == 1 and (before[2] == 0 or depth < 4)
    run = kernel_[2] * depth if merge else depth
    pixels = math.prod(out_sizes) * x.lanes
    itemsize = x.dtype.itemsize
    if form == "channels":
        rows, vectors = choose_tile(itemsize, run, [(ceil_div(per_group, LANES), 1)], pixels, cut_rows=False)
        row_tail = vector_tail = 0
        line = ceil_div(per_group, vectors * LANES) * vectors * LANES
        partial = groups * taps * depth * line
        p_output, p_tap, p_input, p_group = 1, depth * line, line, taps * depth * line
        p_row = line
    else:
        if form == "turned":
            run = line // LANES
        else:
            line = depth
        rows, vectors = choose_tile(itemsize, per_group, [(run, 1)], pixels, cut_rows=True)
        row_tail, vector_tail = per_group % rows, run % vectors
        p_output, p_tap, p_input, p_group = taps * line, line, 1, per_group * taps * line
        p_row, partial = p_output, g.channels * taps * line
    partials = c.program.per_group(x, partial)
    part = _part(per_group, rows if images else vectors * LANES, kernel_[0] * kernel_[1] * partials.copies)
    # what a tile reads of the gradient stays in the first-level cache while the input passes by
    row_bytes = out_sizes[2] * x.lanes * itemsize * (rows + vectors if images else per_group + rows)
    pass_bytes = PASS_BYTES
    if form == "turned":  # all of a pass's pixels pass by for every tile of output channels
        row_bytes, pass_bytes = out_sizes[2] * x.lanes * line * itemsize, TURNED_PASS_BYTES
    pass_rows = max(1, pass_bytes // max(1, row_bytes))
    kernel_grad = correlate_weights(
        x.dtype, form=form, rows=rows, vectors=vectors, row_tail=row_tail, vector_tail=vector_tail, merge=merge
    )
    source, channels = (turned(c.program, x), line) if form == "turned" else (x, x.channels)
    constants = (
        *(v for d in zip(out_sizes, in_sizes, kernel_, stride, before, dilation, strict=True) for v in d),
        *_row_strides(in_sizes, channels, x.lanes), *_row_strides(out_sizes, g.channels, g.lanes),
        groups, run if form == "turned" else depth, per_group, part, x.lanes,
        p_row, p_tap, p_output, p_group, pass_rows,
    )  # fmt: skip
    units = kernel_[0] * kernel_[1] * ceil_div(per_group, part)
    c.program.step(kernel_grad, (source, g), (partials,), constants, units, flops=c.flops)
    add_partials(c.program, partials, c.w, (per_group, depth, taps), (p_group, p_output, p_input, p_tap))


@lowering("conv", "linear", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_conv(program, node, inputs, outputs):
    x, w, *bias = inputs
    append_steps(Convolution(program, FORWARD, node.attrs, x, w, *outputs, *bias, flops=node.flops))


@lowering("conv_input_grad", "linear_input_grad", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_conv_input_grad(program, node, inputs, outputs):
    g, w, *bias = inputs
    append_steps(Convolution(program, INPUT, node.attrs, g, w, *outputs, *bias, flops=node.flops))


@lowering("conv_weight_grad", inputs=(BATCH, BATCH), outputs=(PLAIN,))
def lower_conv_weight_grad(program, node, inputs, outputs):
    g, x = inputs
    append_steps(Convolution(program, WEIGHTS, node.attrs, x, *outputs, g, flops=node.flops))


@lowering("linear_weight_grad", inputs=(BATCH, BATCH), outputs=(PLAIN,))
def lower_linear_weight_grad(program, node, inputs, outputs):
    g, x = inputs
    w = outputs[0]
    features, classes = x.channels, g.channels
    row = ceil_div(features, LANES) * LANES
    if x.lanes > 1:
        rows_of_images = turned(program, x)
        x_strides = (0, 0, rows_of_images.stride, row)
    else:
        rows_of_images = x
        x_strides = (0, 0, x.stride, 0)
    rows, vectors = choose_tile(x.dtype.itemsize, classes, [(row // LANES, 1)], x.batch, cut_rows=True)
    constants = (
        classes, features, 1, 1, x.blocks, x.lanes, 0, 0, g.stride, 1, *x_strides, g.lanes,
    )  # fmt: skip
    program.step(
        outer_sums(w.dtype, rows=rows, vectors=vectors, tail=classes % rows), (g, rows_of_images), (w,), constants,
        ceil_div(classes, rows), whole=True, flops=node.flops,
    )  # fmt: skip
