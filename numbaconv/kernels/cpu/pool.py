"""Pooling in one to three dimensions: windows over vectors of channels (and images), both layouts alike.

Where windows lie is a table (``Windows``), so sliding and adaptive windows have the same kernels.  Gradients gather:
each pixel adds up what the windows around it give, so that it is written once and rows can be shared among threads;
only the few maxima of large windows are scattered.
"""

import math

import numpy as np

from ...ops.window import spans, steps
from .compiler import inline
from .geometry import three
from .lowering import BATCH, Buffer, ceil_div, lowering
from .math import exp, log
from .native import FLOAT64, INT32, INT64, Ints, Pointer, kernel
from .plane import scatter_step
from .resample import ABREAST, Matrix, piece_of, pieces_of, resample_step, row_of, rows_of, tables_of, transposed
from .target import LANES
from .vector import bits, integers_of, load, load_first, splat, sqrt, store, store_first, where

#: Taps of windows whose loops are written out; larger ones are walked by loops of any length, one kernel for all.
MOST_TAPS = 27

#: Where there are so many pixels for a window, gradients are scattered to the few that were taken.
FEW_WINDOWS = 8

#: Pixels that are added at a time to sums in memory.
TOGETHER = 4


class Windows:
    """The windows of a node as kernels read them.

    ``places`` holds (first position, taps) of every span, planes first, then rows and columns; ``geometry`` are the
    output's and the input's size and the distances of taps in pixels.
    """

    def __init__(self, attrs, input_size, output_size) -> None:
        dimensions = len(input_size)
        self.spans = [[(0, 1, 1)]] * (3 - dimensions) + spans(attrs, input_size, output_size)
        self.places = np.array([span[:2] for found in self.spans for span in found], np.int64).ravel()
        self.geometry = (*three(output_size, 1), *three(input_size, 1), *three(steps(attrs, dimensions), 1))
        self.kernel = three(attrs["kernel"], 1) if "kernel" in attrs else (0, 0, 0)
        self.rows = len(self.spans[0]) * len(self.spans[1])

    def scales(self, attrs) -> list[list[float]]:
        """For each span its factor of what the sum of a window is divided by."""
        padded = attrs["count_include_pad"]
        lengths = [[length if padded else taps for _, taps, length in found] for found in self.spans]
        if attrs["divisor"]:
            lengths = [[attrs["divisor"]] * len(lengths[0]), [1] * len(lengths[1]), [1] * len(lengths[2])]
        return [[1.0 / n if n else 0.0 for n in found] for found in lengths]

    def sum_scales(self) -> list[list[float]]:
        """As ``scales``, of sums: a window that hangs over counts as if it were full of its mean."""
        planes, *others = self.scales({"count_include_pad": True, "divisor": 0})
        return [[scale * math.prod(self.kernel) for scale in planes], *others]

    def matrices(self, scales=None) -> list[Matrix]:
        """For every output position of each dimension, the inputs of its window and their scales."""
        scales = scales or [[1.0] * len(found) for found in self.spans]
        return [
            [
                [(first + t * distance, factor) for t in range(count)]
                for (first, count, _), factor in zip(dimension, factors, strict=True)
            ]
            for dimension, distance, factors in zip(self.spans, self.geometry[6:], scales, strict=True)
        ]

    def transposed(self, scales=None) -> list[Matrix]:
        """For every input position of each dimension, the windows around it and their scales."""
        pairs = zip(self.matrices(scales), self.geometry[3:6], strict=True)
        return [transposed(matrix, size) for matrix, size in pairs]

    @property
    def written_out(self) -> tuple[int, int, int]:
        """The kernel's size if its loops are written out, else (0, 0, 0)."""
        return self.kernel if math.prod(self.kernel) <= MOST_TAPS else (0, 0, 0)


def flat(scales) -> np.ndarray:
    return np.array([s for found in scales for s in found])


@inline
def span_at(places, at):
    """(first position, taps) of the span ``at``."""
    return places[2 * at], places[2 * at + 1]


@inline
def spans_of_row(places, row, out):
    """The spans of planes and of rows, for a row of windows of which there are ``out``."""
    d = row // out[1]
    return span_at(places, d), span_at(places, out[0] + row - d * out[1])


def raised_to(exponent):
    """v -> v to the power ``exponent``; NaN where v is negative and the power not whole."""
    if exponent == int(exponent) and 1 <= exponent <= 8:
        whole = int(exponent)

        @inline
        def raised(v):
            result = v
            for _ in range(whole - 1):
                result = result * v
            return result
    else:

        @inline
        def raised(v):
            return exp(log(v) * exponent)

    return raised


def root_of(exponent):
    """v -> v to the power 1 / ``exponent``."""
    if exponent == 1.0:

        @inline
        def root(v):
            return v
    elif exponent == 2.0:

        @inline
        def root(v):
            return sqrt(v)
    else:

        @inline
        def root(v):
            return exp(log(v) * (1.0 / exponent))

    return root


def _operation(kind, exponent):
    """A reduction: what it begins with, how it takes a number, and what becomes of it with the window's scale."""
    largest, powers = kind == "max", kind == "power"
    raised, root = (raised_to(exponent), root_of(exponent)) if powers else (None, None)

    @inline
    def take(result, v):
        if largest:
            return where((v > result) | (v != v), v, result)
        return result + (raised(v) if powers else v)

    @inline
    def finished(result, scale):
        if largest:
            return result
        return root(result * scale) if powers else result * scale

    return (-math.inf if largest else 0.0), take, finished


@inline
def _load_all(x, index, left):
    """``load_first`` of a whole vector."""
    return load(x, index)


def _inside(window, lowest, take, read):
    """A function that reduces a window that lies inside the input: its loops have known lengths."""
    full_d, full_h, full_w = window

    @inline
    def inside(x, start, plane, row, column, left):
        result = splat(x, lowest)
        for d in range(full_d):
            for h in range(full_h):
                for w in range(full_w):
                    result = take(result, read(x, start + d * plane + h * row + w * column, left))
        return result

    return inside


@kernel
def pool(T, kind, exponent, window):
    """The largest number, the mean, or the root of the sum of powers of every window; a unit is (a piece of) a row.

    ``window`` is the kernel's (planes, rows, columns): windows that lie inside the input have loops of known length.
    """
    lowest, take, finished = _operation(kind, exponent)
    full = math.prod(window)
    inside, inside_first = (_inside(window, lowest, take, read) for read in (_load_all, load_first))

    def loop(
        begin, end, block: int, first: int, x: Pointer, places: INT64, scales: FLOAT64, y: Pointer,
        out: Ints(3), size: Ints(3), step: Ints(3), line: int, pieces: int, piece: int,
    ):  # fmt: skip
        x_column = step[2] * line
        x_row = step[1] * size[2] * line
        x_plane = step[0] * size[1] * size[2] * line
        for unit in range(begin, end):
            row, c_begin, c_end = piece_of(unit, pieces, piece, line)
            (d_first, d_taps), (h_first, h_taps) = spans_of_row(places, row, out)
            row_scale = scales[row // out[1]] * scales[out[0] + row % out[1]]
            for ow in range(out[2]):
                w_first, w_taps = span_at(places, out[0] + out[1] + ow)
                scale = row_scale * scales[out[0] + out[1] + ow]
                start = ((d_first * size[1] + h_first) * size[2] + w_first) * line
                to = (row * out[2] + ow) * line
                c = c_begin
                if full > 0 and d_taps * h_taps * w_taps == full:
                    while c + LANES <= c_end:
                        result = inside(x, start + c, x_plane, x_row, x_column, LANES)
                        store(y, to + c, finished(result, scale))
                        c += LANES
                    if c < c_end:
                        left = c_end - c
                        result = inside_first(x, start + c, x_plane, x_row, x_column, left)
                        store_first(y, to + c, finished(result, scale), left)
                        c = c_end
                while c + ABREAST * LANES <= c_end:
                    r0 = splat(x, lowest)
                    r1, r2, r3 = r0, r0, r0
                    for d in range(d_taps):
                        for h in range(h_taps):
                            at = start + d * x_plane + h * x_row + c
                            for _ in range(w_taps):
                                r0 = take(r0, load(x, at))
                                r1 = take(r1, load(x, at + LANES))
                                r2 = take(r2, load(x, at + 2 * LANES))
                                r3 = take(r3, load(x, at + 3 * LANES))
                                at += x_column
                    store(y, to + c, finished(r0, scale))
                    store(y, to + c + LANES, finished(r1, scale))
                    store(y, to + c + 2 * LANES, finished(r2, scale))
                    store(y, to + c + 3 * LANES, finished(r3, scale))
                    c += ABREAST * LANES
                while c < c_end:
                    left = c_end - c
                    result = splat(x, lowest)
                    for d in range(d_taps):
                        for h in range(h_taps):
                            at = start + d * x_plane + h * x_row + c
                            for _ in range(w_taps):
                                result = take(result, load_first(x, at, left))
                                at += x_column
                    store_first(y, to + c, finished(result, scale), left)
                    c += LANES

    return loop


@kernel
def pool_whole(T, kind, exponent):
    """As ``pool`` for the one window that is all pixels, read from the first to the last; a unit is a vector."""
    lowest, take, finished = _operation(kind, exponent)

    def loop(
        begin, end, block: int, first: int, x: Pointer, scales: FLOAT64, y: Pointer, pixels: int, line: int
    ):
        c_begin, c_end = begin * LANES, min(line, end * LANES)
        for c in range(c_begin, c_end, LANES):
            store_first(y, c, splat(x, lowest), c_end - c)
        pixel = 0
        while pixel < pixels:
            at = pixel * line
            c = c_begin
            together = TOGETHER if pixel + TOGETHER <= pixels else 1
            if together > 1:
                while c + LANES <= c_end:
                    result = load(y, c)
                    for k in range(TOGETHER):
                        result = take(result, load(x, at + k * line + c))
                    store(y, c, result)
                    c += LANES
            while c < c_end:
                left = c_end - c
                result = load_first(y, c, left)
                for k in range(together):
                    result = take(result, load_first(x, at + k * line + c, left))
                store_first(y, c, result, left)
                c += LANES
            pixel += together
        for c in range(c_begin, c_end, LANES):
            store_first(y, c, finished(load_first(y, c, c_end - c), scales[0] * scales[1] * scales[2]), c_end - c)

    return loop


@kernel
def max_pool_indices(T, window):
    """The largest number of every window and where in the plane it stands; a unit is a row of outputs.

    ``window`` as for ``pool``.
    """
    full_d, full_h, full_w = window
    full = full_d * full_h * full_w

    @inline
    def take(top, place, v, pixel):
        better = (v > top) | ((v != v) & (top == top))  # the first of equals, and of NaN
        return where(better, v, top), where(better, splat(place, pixel), place)

    def loop(
        begin, end, block: int, first: int, x: Pointer, places: INT64, y: Pointer, indices: INT32,
        out: Ints(3), size: Ints(3), step: Ints(3), line: int,
    ):  # fmt: skip
        row_step = step[1] * size[2]
        plane_step = step[0] * size[1] * size[2]
        for row in range(begin, end):
            (d_first, d_taps), (h_first, h_taps) = spans_of_row(places, row, out)
            for ow in range(out[2]):
                w_first, w_taps = span_at(places, out[0] + out[1] + ow)
                start = (d_first * size[1] + h_first) * size[2] + w_first
                taps = d_taps * h_taps * w_taps
                to = (row * out[2] + ow) * line
                c = 0
                if full > 0 and taps == full:
                    while c + LANES <= line:
                        top = splat(x, -math.inf)
                        place = splat(bits(top), start)
                        for d in range(full_d):
                            for h in range(full_h):
                                for w in range(full_w):
                                    pixel = start + d * plane_step + h * row_step + w * step[2]
                                    top, place = take(top, place, load(x, pixel * line + c), pixel)
                        store(y, to + c, top)
                        store(indices, to + c, integers_of(indices, place))
                        c += LANES
                while c < line:
                    left = line - c
                    top = splat(x, -math.inf)
                    place = splat(bits(top), start if taps > 0 else -1)
                    for d in range(d_taps):
                        for h in range(h_taps):
                            pixel = start + d * plane_step + h * row_step
                            for _ in range(w_taps):
                                top, place = take(top, place, load_first(x, pixel * line + c, left), pixel)
                                pixel += step[2]
                    store_first(y, to + c, top, left)
                    store_first(indices, to + c, integers_of(indices, place), left)
                    c += LANES

    return loop


@kernel
def max_pool_grad(T):
    """What each pixel gets of the windows that took it; a unit is (a piece of) a row of pixels.

    ``windows`` are the numbers of the windows around each pixel, a dimension after the other, from ``starts`` on.
    """

    @inline
    def part(g, indices, at, pixel, left):
        taken = load_first(indices, at, left) == pixel
        return where(taken, load_first(g, at, left), 0.0)

    @inline
    def whole_part(g, indices, at, pixel):
        return where(load(indices, at) == pixel, load(g, at), 0.0)

    def loop(
        begin, end, block: int, first: int, g: Pointer, indices: INT32, starts: INT64, windows: INT64, out: Pointer,
        out_size: Ints(3), size: Ints(3), line: int, pieces: int, piece: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            row, c_begin, c_end = piece_of(unit, pieces, piece, line)
            (d_begin, d_end), (h_begin, h_end) = rows_of(starts, row, out_size)
            for w_pixel in range(out_size[2]):
                w_begin, w_end = row_of(starts, out_size[0] + out_size[1] + w_pixel)
                pixel = row * out_size[2] + w_pixel
                to = pixel * line
                c = c_begin
                if (d_end - d_begin) * (h_end - h_begin) * (w_end - w_begin) == 1:
                    at = ((windows[d_begin] * size[1] + windows[h_begin]) * size[2] + windows[w_begin]) * line
                    while c + LANES <= c_end:
                        store(out, to + c, whole_part(g, indices, at + c, pixel))
                        c += LANES
                while c < c_end:
                    left = c_end - c
                    total = splat(g, 0.0)
                    for d in range(d_begin, d_end):
                        for h in range(h_begin, h_end):
                            at = (windows[d] * size[1] + windows[h]) * size[2]
                            for w in range(w_begin, w_end):
                                total = total + part(g, indices, (at + windows[w]) * line + c, pixel, left)
                    store_first(out, to + c, total, left)
                    c += LANES

    return loop


# ------------------------------------------------------------------------------------------------ lowering


def pool_step(program, x: Buffer, y: Buffer, windows: Windows, kind: str, scales=None, exponent: float = 1.0) -> None:
    """Append the step that makes one number of every window."""
    line = x.channels * x.lanes
    factors = program.constant(np.ones(sum(windows.geometry[:3])) if scales is None else flat(scales))
    if y.pixels == 1 and math.prod(windows.places[1::2]) == x.pixels:
        step = pool_whole(y.dtype, kind=kind, exponent=exponent)
        program.step(step, (x, factors), (y,), (x.pixels, line), ceil_div(line, LANES))
        return
    pieces, piece = pieces_of(line, windows.rows, ABREAST)
    step = pool(y.dtype, kind=kind, exponent=exponent, window=windows.written_out)
    operands = (x, program.constant(windows.places), factors)
    program.step(step, operands, (y,), (*windows.geometry, line, pieces, piece), windows.rows * pieces)


@lowering("max_pool_alone", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool_alone(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    pool_step(program, x, y, Windows(node.attrs, x.spatial, y.spatial), "max")


@lowering("max_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    windows = Windows(node.attrs, x.spatial, y.spatial)
    step = max_pool_indices(y.dtype, window=windows.written_out)
    constants = (*windows.geometry, x.channels * x.lanes)
    program.step(step, (x, program.constant(windows.places)), outputs, constants, windows.rows)


@lowering("max_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool_grad(program, node, inputs, outputs):
    g, out = inputs[0], outputs[0]
    if out.pixels >= FEW_WINDOWS * g.pixels:
        scatter_step(program, *inputs, *outputs, add=True)
        return
    line = g.channels * g.lanes
    matrices = Windows(node.attrs, out.spatial, g.spatial).transposed()
    sizes = (*map(len, matrices), *three(g.spatial, 1))
    pieces, piece = pieces_of(line, sizes[0] * sizes[1], 1)
    operands = (*inputs, *(program.constant(table) for table in tables_of(matrices)[:2]))
    constants = (*sizes, line, pieces, piece)
    program.step(max_pool_grad(g.dtype), operands, outputs, constants, sizes[0] * sizes[1] * pieces)


@lowering("avg_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_avg_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    windows = Windows(node.attrs, x.spatial, y.spatial)
    pool_step(program, x, y, windows, "mean", windows.scales(node.attrs))


@lowering("avg_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_avg_pool_grad(program, node, inputs, outputs):
    g, out = inputs[0], outputs[0]
    windows = Windows(node.attrs, out.spatial, g.spatial)
    resample_step(program, g, out, windows.transposed(windows.scales(node.attrs)))
