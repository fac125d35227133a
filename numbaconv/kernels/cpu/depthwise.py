"""Depthwise convolution: every channel has a filter of its own (Howard et al., arXiv 1704.04861).

Nothing is summed over channels, so vectors do not meet: with images in lanes a vector is one channel of a pixel and a
tap of the filter is one number, with channels in lanes both are vectors of channels.  The work is bound by loads, not
by multiply-adds.  So a *window* of ``rows`` x ``columns`` output pixels stands in registers while every input pixel
that it needs is loaded once, and the innermost loop goes along the channels, which makes each pixel a stream.

Which input pixel meets which tap is known when a window is compiled (``_links``): forward and input gradient of any
stride and dilation are one piece of code, and the weight gradient is the same walk with other sums.  Windows at the
left and right border are narrow and ask for each column whether it is there; all windows ask that for each row.

A dimension is that of ``conv.correlate``: (output size, input size, filter size, phases, tap step, index step, tap
stride, offset, dilation).  Windows begin at multiples of the phases.
"""

import math
from contextlib import ExitStack
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature as signature_of
from numba.extending import intrinsic

from .activation import ACTIVATIONS
from .algorithm import FORWARD, INPUT, SPECIAL, WEIGHTS, Convolution, Offer, algorithm
from .compiler import forbid_unrolling, inline
from .filter import laid_out
from .geometry import inside, taps_at
from .lowering import ceil_div
from .native import Ints, Pointer, kernel
from .partial import add_partials
from .target import LANES, TILES, instruction_set
from .vector import (
    Vector,
    at,
    broadcast,
    constant,
    fused_multiply_add,
    lanes_below,
    load,
    masked_load,
    masked_store,
    reduce_add,
    splat,
    store,
    vector_load,
    vector_store,
)

I64 = ir.IntType(64)

#: Larger filters stay with the general tile: a window's taps are written out one by one.
MOST_TAPS = 64

#: Vectors of channels that a unit of work takes along: long streams, which many pixels of stay in the cache.  Where the
#: input comes from memory anyway, longer ones: what a CPU fetches ahead of a stream's end is wanted less often.
CHUNK, LONG_CHUNK = 32, 64
FROM_MEMORY = 16 << 20

#: The weight gradient's units: where channels are few, an image is cut into sections of rows with sums of their own.
UNITS, LEAST_ROWS = 8, 7

#: One dimension of a window: for each output, the (input, tap) pairs it sums, inputs ascending.
Links = tuple[tuple[tuple[int, int], ...], ...]


def serves(channels: int, filters: int, groups: int, taps: int) -> bool:
    """Whether a convolution with ``taps`` in a plane of its filter is done here."""
    return 1 < groups == channels == filters and taps <= MOST_TAPS


def _chunk(x, vectors: int) -> int:
    return min(vectors, LONG_CHUNK if x.bytes >= FROM_MEMORY else CHUNK)


# ------------------------------------------------------------------------------------------------ windows


def _links(dimension: tuple[int, ...], outputs: int) -> Links:
    """Inputs count from (o / phases) * index step, where o is the window's first output."""
    tap_step, tap_stride = dimension[4], dimension[6]

    def of(o: int) -> tuple[tuple[int, int], ...]:
        start, first, count = taps_at(dimension, o)
        return tuple(sorted((start + n * tap_stride, first + n * tap_step) for n in range(count)))

    return tuple(of(o) for o in range(outputs))


def _inputs(links: Links) -> list[int]:
    """The inputs that occur, ascending."""
    return sorted({i for pairs in links for i, _ in pairs})


def _meets(links: Links, i: int) -> list[tuple[int, int]]:
    """The (output, tap) pairs that input ``i`` meets."""
    return [(o, tap) for o, pairs in enumerate(links) for j, tap in pairs if j == i]


class _Emitter:
    """What the two kinds of window share: the walk over input pixels, for one vector of channels.

    ``mask`` chooses the lanes of channels that are there; None if all are.
    """

    def __init__(self, builder, vector, mask) -> None:
        self.builder, self.vector, self.mask = builder, vector, mask

    def load(self, pointer):
        if self.mask is None:
            return vector_load(self.builder, pointer, self.vector)
        return masked_load(self.builder, pointer, self.vector, self.mask)

    def store(self, value, pointer) -> None:
        if self.mask is None:
            vector_store(self.builder, value, pointer)
        else:
            masked_store(self.builder, value, pointer, self.mask)

    def add_to(self, place, x, y) -> None:
        self.builder.store(fused_multiply_add(self.builder, x, y, self.builder.load(place)), place)

    def exists(self, span, index: int, guarded: bool = True):
        """A block that is run if ``index`` lies in [0, size) of ``span`` = (start, size)."""
        if not guarded:
            return ExitStack()
        start, size = span
        position = self.builder.add(start, ir.Constant(I64, index))
        return self.builder.if_then(self.builder.icmp_unsigned("<", position, size), likely=True)

    def offset(self, pointer, stride, number: int):
        """``pointer`` + number * stride."""
        return self.builder.gep(pointer, [self.builder.mul(stride, ir.Constant(I64, number))])

    def lines(self, pointer, stride, numbers: list[int]) -> dict:
        """number -> ``pointer`` + number * stride.

        LLVM would keep a pointer for each pixel of a window and advance them all from channel to channel.  These are
        hidden from it: a pixel is addressed by its row's pointer and a column's distance, which all rows share.
        """
        found, last = {}, 0
        kind = ir.FunctionType(pointer.type, [pointer.type])
        for number in numbers:
            pointer = self.builder.asm(kind, "", "=r,0", [self.offset(pointer, stride, number - last)], False)
            found[number], last = pointer, number
        return found

    def walk(self, x, row, column, rows: Links, columns: Links, heights, widths, guarded: bool):
        """The input pixels that are there, by rows: yields what a row meets and [(output, tap, value)] along it.

        Code that is emitted between two yields is run only if the pixels are there.
        """
        inputs = _inputs(columns)
        for i, line in self.lines(x, row, _inputs(rows)).items():
            with self.exists(heights, i):
                for group in [[j] for j in inputs] if guarded else [inputs]:
                    with self.exists(widths, group[0], guarded):
                        values = {j: self.load(self.offset(line, column, j)) for j in group}
                        met = [(c, tap, values[j]) for j in group for c, tap in _meets(columns, j)]
                        yield _meets(rows, i), met


def _along_channels(builder, cut, vectors, left, vector, emit) -> None:
    """Loop over a window's vectors: ``emit(emitter, element offset of the vector, its number)``."""
    with cgutils.for_range(builder, vectors) as loop:
        shift = builder.mul(loop.index, ir.Constant(I64, LANES))
        mask = lanes_below(builder, builder.sub(left, shift), LANES) if cut else None
        emit(_Emitter(builder, vector, mask), shift, loop.index)
        innermost = builder.block
    forbid_unrolling(builder.module, innermost.terminator)


_TWO, _THREE = types.UniTuple(types.int64, 2), types.UniTuple(types.int64, 3)


def sum_window(
    rows: Links, columns: Links, filter_size: tuple[int, int], deep: bool, guarded: bool, images: bool, cut: bool,
    activation: str | None, bias: bool,
) -> Any:  # fmt: skip
    """A function that computes a window of outputs along ``vectors`` vectors of channels, for use in kernels.

    (x, w, b, y, vectors, left, planes, heights, widths, ends, strides, w_strides): pointers to the input pixel
    that ``rows`` and ``columns`` count from, to the filter's first plane, the bias and the first output; the number of
    vectors and of channels; planes = (taps, their stride in x, their stride in w); heights and widths = (position of
    x's pixel, size of the input); ends = (rows, columns) of outputs that are there; strides = distances of x's rows,
    y's rows, and columns; w_strides = distances of taps (with channels in lanes) and of vectors of the filter.

    Args:
        deep: whether the filter may have another number of planes than one.
        guarded: whether columns may lie outside.
        cut: whether the channels end within a vector.
    """
    filter_h, filter_w = filter_size

    @intrinsic
    def window(typingctx, x, w, b, y, vectors, left, planes, heights, widths, ends, strides, w_strides):
        element = x.dtype

        def codegen(context, builder, signature, arguments):
            x, w, b, y, vectors, left, planes, heights, widths, ends, strides, w_strides = arguments
            plane_count, x_plane, w_plane = cgutils.unpack_tuple(builder, planes)
            heights, widths = cgutils.unpack_tuple(builder, heights), cgutils.unpack_tuple(builder, widths)
            row_end, column_end = cgutils.unpack_tuple(builder, ends)
            x_row, y_row, column = cgutils.unpack_tuple(builder, strides)
            w_tap, w_vector = cgutils.unpack_tuple(builder, w_strides)
            vector = ir.VectorType(x.type.pointee, LANES)
            sums = [[cgutils.alloca_once(builder, vector) for _ in columns] for _ in rows]
            act = ACTIVATIONS[activation].py_func if activation else None

            def emit(lane, shift, number):
                def tap(w, h, t):
                    index = h * filter_w + t
                    if images:
                        return broadcast(builder, builder.load(builder.gep(w, [ir.Constant(I64, index)])), LANES)
                    return lane.load(lane.offset(w, w_tap, index))

                for row in sums:
                    for place in row:
                        builder.store(constant(vector, 0.0), place)
                x_here, w_here = builder.gep(x, [shift]), builder.gep(w, [builder.mul(number, w_vector)])
                with ExitStack() as loops:
                    if deep:
                        plane = loops.enter_context(cgutils.for_range(builder, plane_count)).index
                        x_here = builder.gep(x_here, [builder.mul(plane, x_plane)])
                        w_here = builder.gep(w_here, [builder.mul(plane, w_plane)])
                    for lines, met in lane.walk(x_here, x_row, column, rows, columns, heights, widths, guarded):
                        for r, h in lines:
                            for t in sorted({t for _, t, _ in met}):
                                weight = tap(w_here, h, t)
                                for c, _, value in (m for m in met if m[1] == t):
                                    lane.add_to(sums[r][c], value, weight)
                if bias and images:
                    addend = broadcast(builder, builder.load(builder.gep(b, [number])), LANES)
                elif bias:
                    addend = lane.load(builder.gep(b, [shift]))
                zero = ir.Constant(I64, 0)
                y_lines = lane.lines(builder.gep(y, [shift]), y_row, list(range(len(rows))))
                for r, row in enumerate(sums):
                    with lane.exists((zero, row_end), r, r > 0):
                        for c, place in enumerate(row):
                            with lane.exists((zero, column_end), c, guarded and c > 0):
                                value = builder.load(place)
                                if bias:
                                    value = builder.fadd(value, addend)
                                if act:
                                    kind = Vector(element)
                                    value = context.compile_internal(builder, act, signature_of(kind, kind), [value])
                                lane.store(value, lane.offset(y_lines[r], column, c))

            _along_channels(builder, cut, vectors, left, vector, emit)
            return context.get_dummy_value()

        one = types.int64
        return types.void(x, w, b, y, one, one, _THREE, _TWO, _TWO, _TWO, _THREE, _TWO), codegen

    return window


# ------------------------------------------------------------------------------------------ forward and input gradient


@kernel
def depthwise(T, heights, widths, rows, columns, deep, images, cut, activation, bias):
    """Forward pass or input gradient; a unit is ``rows`` rows of output pixels of ``chunk`` vectors of channels.

    ``heights`` and ``widths`` are dimensions without their sizes.
    """
    heights, widths = (0, 0, *heights), (0, 0, *widths)
    row_phases, column_phases = heights[3], widths[3]
    row_links, wide_links, narrow_links = (
        _links(heights, rows), _links(widths, columns), _links(widths, column_phases)
    )  # fmt: skip
    size = (heights[2], widths[2])
    wide = sum_window(row_links, wide_links, size, deep, False, images, cut, activation, bias)
    narrow = sum_window(row_links, narrow_links, size, deep, True, images, cut, activation, bias)
    reach_low, reach_high = min(_inputs(wide_links)), max(_inputs(wide_links))
    row_step, column_step = heights[5], widths[5]
    taps = heights[2] * widths[2]

    def loop(
        begin, end, block: int, first: int, x: Pointer, w: Pointer, b: Pointer, y: Pointer,
        planes: Ints(9), in_h: int, in_w: int, out_h: int, out_w: int, channels: int, lanes: int, chunk: int,
        w_strides: Ints(2),
    ):  # fmt: skip
        line = channels * lanes
        vectors = (line + LANES - 1) // LANES
        bands = (out_h + rows - 1) // rows
        w_tap, w_vector = w_strides
        for unit in range(begin, end):
            piece = unit // (planes[0] * bands)
            plane = unit // bands - piece * planes[0]
            o = (unit % bands) * rows
            v = piece * chunk
            count = min(chunk, vectors - v)
            start_d, tap_d, count_d = taps_at(planes, plane)
            low_d, high_d = inside(start_d, planes[6], count_d, planes[1])
            depth = (high_d - low_d, planes[6] * in_h * in_w * line, planes[4] * taps * w_tap)
            wv = at(w, v * w_vector + (tap_d + low_d * planes[4]) * taps * w_tap)
            xv = at(x, v * LANES + (start_d + low_d * planes[6]) * in_h * in_w * line)
            yv = at(y, v * LANES + (plane * out_h + o) * out_w * line)
            bv = at(b, v if images else v * LANES)
            row = o // row_phases * row_step
            left = line - v * LANES
            strides = (in_w * line, out_w * line, line)
            j = 0
            while j < out_w:
                column = j // column_phases * column_step
                xj, yj = at(xv, (row * in_w + column) * line), at(yv, j * line)
                ends = (out_h - o, out_w - j)
                if column + reach_low >= 0 and column + reach_high < in_w and j + columns <= out_w:
                    wide(xj, wv, bv, yj, count, left, depth, (row, in_h), (column, in_w), ends, strides, w_strides)
                    j += columns
                else:
                    narrow(xj, wv, bv, yj, count, left, depth, (row, in_h), (column, in_w), ends, strides, w_strides)
                    j += column_phases

    return loop


def _is_depthwise(c: Convolution) -> bool:
    inputs, outputs = (c.y, c.x) if c.transposed else (c.x, c.y)
    return serves(inputs.channels, outputs.channels, c.groups, math.prod(c.filter_size[1:]))


@algorithm(FORWARD, INPUT, name="direct", rank=SPECIAL)
def offer_windows(c: Convolution) -> Offer:
    return (lambda: correlate(c)) if _is_depthwise(c) else None


def correlate(c: Convolution) -> None:
    """Append the step of a forward pass or input gradient."""
    x, y = c.x, c.y
    w, _ = laid_out(c.program, c.w, y.lanes, c.groups)  # in an input gradient, too: there is nothing to transpose
    planes, heights, widths = c.dimensions
    images = y.lanes > 1
    # Small windows: a pixel is a stream from memory, and a CPU follows only so many at a time.
    rows, columns = max(heights[3], 2 // heights[5]), 2 * widths[3]
    kernel_ = depthwise(
        y.dtype, heights=heights[2:], widths=widths[2:], rows=rows, columns=columns,
        deep=planes[2:6] != (1, 1, 1, 1) or planes[7] != 0, images=images,
        cut=y.channels * y.lanes % LANES > 0, activation=c.activation, bias=c.bias is not None,
    )  # fmt: skip
    taps = math.prod(c.filter_size)
    vectors = ceil_div(y.channels * y.lanes, LANES)
    chunk = _chunk(x, vectors)
    w_strides = (1, taps) if images else (vectors * LANES, LANES)
    constants = (*planes, heights[1], widths[1], heights[0], widths[0], y.channels, y.lanes, chunk, *w_strides)
    units = ceil_div(vectors, chunk) * planes[0] * ceil_div(heights[0], rows)
    c.program.step(kernel_, (x, w, c.bias or w), (y,), constants, units, flops=c.flops)


# ------------------------------------------------------------------------------------------------ weight gradient


def weight_window(
    rows: Links, columns: Links, filter_size: tuple[int, int], tap_rows: range, guarded: bool, cut: bool
) -> Any:
    """A function that adds a window's part of the weight gradient to sums in memory, for use in kernels.

    (x, g, p, vectors, left, heights, widths, row_end, strides, p_vector): see ``sum_window``; p points to
    the sums of the first vector, [taps][lanes], and those of the next one are ``p_vector`` further.  All columns of g
    must be there.

    Args:
        tap_rows: the filter's rows that are summed.
    """
    filter_h, filter_w = filter_size
    rows = tuple(tuple((i, h) for i, h in links if h in tap_rows) for links in rows)

    @intrinsic
    def window(typingctx, x, g, p, vectors, left, heights, widths, row_end, strides, p_vector):
        def codegen(context, builder, signature, arguments):
            x, g, p, vectors, left, heights, widths, row_end, strides, p_vector = arguments
            heights, widths = cgutils.unpack_tuple(builder, heights), cgutils.unpack_tuple(builder, widths)
            x_row, g_row, column = cgutils.unpack_tuple(builder, strides)
            vector = ir.VectorType(x.type.pointee, LANES)
            sums = {(h, t): cgutils.alloca_once(builder, vector) for h in tap_rows for t in range(filter_w)}
            zero = ir.Constant(I64, 0)

            def emit(lane, shift, number):
                for place in sums.values():
                    builder.store(constant(vector, 0.0), place)
                g_lines = lane.lines(builder.gep(g, [shift]), g_row, list(range(len(rows))))

                x_here = builder.gep(x, [shift])
                for lines, met in lane.walk(x_here, x_row, column, rows, columns, heights, widths, guarded):
                    for r, h in lines:
                        with lane.exists((zero, row_end), r, r > 0):
                            for c in sorted({c for c, _, _ in met}):
                                factor = lane.load(lane.offset(g_lines[r], column, c))
                                for _, t, value in (m for m in met if m[0] == c):
                                    lane.add_to(sums[h, t], value, factor)
                target = builder.gep(p, [builder.mul(number, p_vector)])
                for (h, t), place in sums.items():
                    to = builder.gep(target, [ir.Constant(I64, (h * filter_w + t) * LANES)])
                    vector_store(builder, builder.fadd(vector_load(builder, to, vector), builder.load(place)), to)

            _along_channels(builder, cut, vectors, left, vector, emit)
            return context.get_dummy_value()

        one = types.int64
        return types.void(x, g, p, one, one, _TWO, _TWO, one, _THREE, one), codegen

    return window


@kernel
def depthwise_weights(T, heights, widths, rows, columns, images, cut):
    """Partial sums of the weight gradient over a group of blocks; a unit is ``chunk`` vectors of a section of rows.

    ``s`` holds a block's sums, [sections][vectors][taps][lanes]; with images in lanes these are summed at its end.
    ``p`` gets [sections][channels][taps], or [sections][taps][channels] with channels in lanes.
    """
    heights, widths = (0, 0, *heights), (0, 0, *widths)
    size = (heights[2], widths[2])
    most = TILES[instruction_set()][1] // 2 // (T.itemsize // 4)  # sums that are held in registers
    at_once = max(1, most // size[1])
    row_links = _links(heights, rows)
    wide_links, narrow_links = _links(widths, columns), _links(widths, 1)
    low, reach = wide_links[0][0][0], wide_links[-1][-1][0]
    index_h, index_w = heights[5], widths[5]
    plane_taps = size[0] * size[1]

    def along_row(first):
        """The walk of windows along a band of rows, for the filter's rows from ``first`` on."""
        tap_rows = range(first, min(first + at_once, size[0]))
        wide = weight_window(row_links, wide_links, size, tap_rows, False, cut)
        narrow = weight_window(row_links, narrow_links, size, tap_rows, True, cut)

        @inline
        def band(x, g, s, count, left, row, in_h, in_w, row_end, out_w, line, s_vector):
            strides = (in_w * line, out_w * line, line)
            j = 0
            while j < out_w:
                column = j * index_w
                xj, gj = at(x, (row * in_w + column) * line), at(g, j * line)
                if column + low >= 0 and column + reach < in_w and j + columns <= out_w:
                    wide(xj, gj, s, count, left, (row, in_h), (column, in_w), row_end, strides, s_vector)
                    j += columns
                else:
                    narrow(xj, gj, s, count, left, (row, in_h), (column, in_w), row_end, strides, s_vector)
                    j += 1

        if tap_rows.stop == size[0]:
            return band
        others = along_row(tap_rows.stop)

        @inline
        def band_and_others(x, g, s, count, left, row, in_h, in_w, row_end, out_w, line, s_vector):
            band(x, g, s, count, left, row, in_h, in_w, row_end, out_w, line, s_vector)
            others(x, g, s, count, left, row, in_h, in_w, row_end, out_w, line, s_vector)

        return band_and_others

    band = along_row(0)

    def loop(
        begin, end, block: int, first: int, x: Pointer, g: Pointer, s: Pointer, p: Pointer,
        planes: Ints(9), in_h: int, in_w: int, out_h: int, out_w: int, channels: int, lanes: int, chunk: int,
        sections: int, section_size: int,
    ):  # fmt: skip
        line = channels * lanes
        vectors = (line + LANES - 1) // LANES
        chunks = (vectors + chunk - 1) // chunk
        bands = (out_h + rows - 1) // rows
        taps = planes[2] * plane_taps
        for unit in range(begin, end):
            section = unit // chunks
            begin_h, end_h = section * bands // sections * rows, (section + 1) * bands // sections * rows
            v = (unit - section * chunks) * chunk
            count = min(chunk, vectors - v)
            left = line - v * LANES
            sv, pv = at(s, (section * vectors + v) * taps * LANES), at(p, section * section_size)
            for i in range(count * taps):
                store(sv, i * LANES, splat(s, 0.0))
            for plane in range(planes[0]):
                start_d, _, _ = taps_at(planes, plane)
                low_d, high_d = inside(start_d, planes[6], planes[2], planes[1])
                for o in range(begin_h, min(end_h, out_h), rows):
                    gv = at(g, v * LANES + (plane * out_h + o) * out_w * line)
                    for tap_d in range(low_d, high_d):
                        xv = at(x, v * LANES + (start_d + tap_d * planes[6]) * in_h * in_w * line)
                        band(xv, gv, at(sv, tap_d * plane_taps * LANES), count, left, o * index_h, in_h, in_w,
                             out_h - o, out_w, line, taps * LANES)  # fmt: skip
            if images:
                for i in range(count * taps):
                    old = 0.0 if first else pv[v * taps + i]
                    pv[v * taps + i] = reduce_add(load(sv, i * LANES)) + old
            else:
                for i in range(count):
                    for t in range(taps):
                        to = (t * vectors + v + i) * LANES
                        total = load(sv, (i * taps + t) * LANES)
                        if not first:
                            total = total + load(pv, to)
                        store(pv, to, total)

    return loop


@algorithm(WEIGHTS, name="direct", rank=SPECIAL)
def offer_weight_windows(c: Convolution) -> Offer:
    return (lambda: correlate_weights(c)) if _is_depthwise(c) else None


def correlate_weights(c: Convolution) -> None:
    """Append the steps of a weight gradient."""
    x, g = c.x, c.y
    planes, heights, widths = c.dimensions
    images = x.lanes > 1
    rows, columns = max(1, 4 // heights[5]), max(1, 4 // widths[5])
    kernel_ = depthwise_weights(
        x.dtype, heights=heights[2:], widths=widths[2:], rows=rows, columns=columns, images=images,
        cut=x.channels * x.lanes % LANES > 0,
    )  # fmt: skip
    taps = math.prod(c.filter_size)
    vectors = ceil_div(x.channels * x.lanes, LANES)
    chunk = _chunk(x, vectors)
    chunks = ceil_div(vectors, chunk)
    sections = max(1, min(ceil_div(UNITS, chunks), heights[0] // LEAST_ROWS))
    size = ceil_div(vectors * taps * (1 if images else LANES), LANES) * LANES
    sums = c.program.per_block(x, sections * vectors * taps * LANES)
    partials = c.program.per_group(x, sections * size)
    constants = (
        *planes, heights[1], widths[1], heights[0], widths[0], x.channels, x.lanes, chunk, sections, size
    )  # fmt: skip
    c.program.step(kernel_, (x, g), (sums, partials), constants, chunks * sections, flops=c.flops)
    strides = (taps, 0, 0, 1) if images else (1, 0, 0, vectors * LANES)
    add_partials(c.program, partials, c.w, (1, 1, taps), strides, copies=(partials.copies * sections, size))
