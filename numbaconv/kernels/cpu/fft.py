"""Convolution by the convolution theorem: large filters by products of spectra (Mathieu et al., arXiv 1312.5851).

The output is cut into tiles; a tile's input, as many pixels as a transform has, overlaps its neighbours' (overlap-save,
Oppenheim & Schafer, Discrete-Time Signal Processing, section 8.7.3).  Then, for every frequency by itself,

    Y[k] = the sum over c of X[c] conj(W[k, c])            forward (a correlation)

which is a product of real matrices twice as deep: a factor has rows [re, im], and to make the imaginary part
[-im, re].  So spectra that are factors are kept in three parts, -im, re, im, and others in two, re, im.  The input
gradient is the same with the filter turned by 180 degrees.  The weight gradient multiplies spectra of inputs and output
gradients and sums over tiles and images.  Of the spectrum of a real tile one half is enough.
"""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

from .activation import ACTIVATIONS
from .algorithm import COUNTED, FORWARD, INPUT, WEIGHTS, Convolution, Offer, algorithm
from .compiler import inline
from .filter import laid_out
from .fourier import SIZES, inverse, join_rows, radices, roots, split_rows, transform
from .lowering import Buffer, ceil_div
from .native import INT64, Ints, Pointer, kernel
from .panel import choose_tile, make_outer, make_panel
from .target import LANES
from .turn import turned
from .vector import at, load, load_first, splat, store, store_first


@inline
def _pitch(rows):
    """Elements between columns of a tile's spectrum: never a power of two, which would share few lines of a cache."""
    return (2 * rows + 2) * LANES


@kernel
def transform_tiles(T, parts):
    """Spectra [frequency][unit][part][vectors]; a unit is a tile of an image, or a filter.

    ``x``: the first number, distances of lines of ``tiles``, rows, columns and vectors of pixels, elements of a pixel.
    ``image``: rows and columns that there are, those of a tile that count, distances of tiles, and padding.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, w_h: Pointer, w_w: Pointer, plan_h: INT64, plan_w: INT64,
        v: Pointer, work: Pointer, units: int, xs: Ints(6), image: Ints(8), tiles: int, tiles_w: int,
        size_h: int, size_w: int, plane: int, part: int,
    ):  # fmt: skip
        start, line, row, column, vector, elements = xs
        height, width, reach_h, reach_w, step_h, step_w, pad_h, pad_w = image
        pitch = _pitch(size_h)
        z = at(work, (size_w // 2 + 1) * pitch)
        spare = at(z, 2 * size_w * LANES)
        zero = splat(x, 0.0)
        for unit in range(begin, end):
            tile = unit % tiles
            i, j = tile // tiles_w * step_h - pad_h, tile % tiles_w * step_w - pad_w
            low_h, high_h = max(0, -i), min(reach_h, height - i)
            low_w, high_w = max(0, -j), min(reach_w, width - j)
            for c in range(0, elements, LANES):
                corner = at(x, start + unit // tiles * line + i * row + j * column + c // LANES * vector)
                for h in range(0, size_h, 2):
                    if h + 1 < low_h or h >= high_h or low_w >= high_w:
                        for k in range(size_w // 2 + 1):
                            for r in range(h, min(h + 2, size_h)):
                                store(work, k * pitch + 2 * r * LANES, zero)
                                store(work, k * pitch + (2 * r + 1) * LANES, zero)
                        continue
                    for k in range(size_w):
                        for r in range(2):
                            value = zero
                            if low_h <= h + r < high_h and low_w <= k < high_w:
                                value = load_first(corner, (h + r) * row + k * column, elements - c)
                            store(z, (2 * k + r) * LANES, value)
                    transform(z, 2 * LANES, LANES, z, 2 * LANES, LANES, spare, size_w, plan_w, w_w)
                    to = at(work, 2 * h * LANES)  # of a single row the second one goes to where nothing is read
                    split_rows(z, size_w, to, at(to, 2 * LANES), pitch)
                for k in range(size_w // 2 + 1):
                    to = at(v, k * size_h * plane + (block * units + unit) * parts * part + (parts - 2) * part + c)
                    transform(at(work, k * pitch), 2 * LANES, LANES, to, plane, part, spare, size_h, plan_h, w_h)
                    if parts == 3:
                        for f in range(size_h):
                            store(to, f * plane - part, -load(to, f * plane + part))

    return loop


@inline
def _rows_back(spectrum, h, size_h, size_w, z, spare, plan_w, w_w):
    """Rows h and h + 1 of a tile, in the real and imaginary parts of z, from the columns' inverse transforms."""
    pitch = _pitch(size_h)
    source = at(spectrum, 2 * h * LANES)
    other = source
    if h + 1 < size_h:
        other = at(source, 2 * LANES)
    join_rows(source, other, pitch, z, size_w)
    inverse(z, 2 * LANES, LANES, z, 2 * LANES, LANES, spare, size_w, plan_w, w_w)


@kernel
def finish_tiles(T, images, activation, bias):
    """Pixels from spectra p [frequency][unit][re, im][vectors]; a unit is a tile of a block."""
    act = ACTIVATIONS[activation] if activation else None

    def loop(
        begin, end, block: int, first: int, p: Pointer, b: Pointer, w_h: Pointer, w_w: Pointer, plan_h: INT64,
        plan_w: INT64, y: Pointer, work: Pointer, units: int, height: int, width: int, step_h: int, step_w: int,
        tiles_w: int, pixel: int, size_h: int, size_w: int, plane: int, part: int, scale: float,
    ):  # fmt: skip
        pitch = _pitch(size_h)
        z = at(work, (size_w // 2 + 1) * pitch)
        spare = at(z, 2 * size_w * LANES)
        factor = splat(y, scale)
        for unit in range(begin, end):
            i, j = unit // tiles_w * step_h, unit % tiles_w * step_w
            rows, columns = min(step_h, height - i), min(step_w, width - j)
            for c in range(0, pixel, LANES):
                add = splat(y, 0.0)
                if bias:
                    add = splat(y, b[c // LANES]) if images else load_first(b, c, pixel - c)
                for k in range(size_w // 2 + 1):
                    source = at(p, k * size_h * plane + (block * units + unit) * 2 * part + c)
                    inverse(source, plane, part, at(work, k * pitch), 2 * LANES, LANES, spare, size_h, plan_h, w_h)
                for h in range(0, rows, 2):
                    _rows_back(work, h, size_h, size_w, z, spare, plan_w, w_w)
                    for r in range(min(2, rows - h)):
                        to = at(y, ((i + h + r) * width + j) * pixel + c)
                        for k in range(columns):
                            value = load(z, (2 * k + r) * LANES) * factor + add
                            if activation:
                                value = act(value)
                            store_first(to, k * pixel, value, pixel - c)

    return loop


@kernel
def multiply_spectra(T, images, rows, vectors, tail):
    """p [frequency][tile][re, im][vectors] from v, as p, and filters u in three parts; a unit is a frequency."""
    panel = make_panel(images, rows, vectors, tail)

    def loop(
        begin, end, block: int, first: int, v: Pointer, u: Pointer, p: Pointer,
        tiles: int, depth: int, outputs: int, lanes: int, v_plane: int, v_part: int, u_plane: int, u_part: int,
        u_depth: int, u_row: int, p_plane: int, p_part: int,
    ):  # fmt: skip
        counts, v_strides, u_strides = (1, 1, 2, depth), (0, 0, v_part, lanes), (0, 0, u_part, u_depth)
        for e in range(begin, end):
            ve, ue, pe = at(v, e * v_plane), at(u, e * u_plane), at(p, e * p_plane)
            panel(ve, at(ue, u_part), pe, tiles, counts, v_strides, u_strides, 2 * v_part, 2 * p_part, u_row, outputs)
            panel(ve, ue, at(pe, p_part), tiles, counts, v_strides, u_strides, 2 * v_part, 2 * p_part, u_row, outputs)

    return loop


@kernel
def multiply_gradients(T, rows, vectors, row_tail, vector_tail):
    """p [frequency][output, re and im][input, re and im]: all four products, summed over tiles; a unit is a frequency.

    v [frequency][tile][re, im][image][inputs], q [frequency][tile][re, im][output][image].
    """

    outer = make_outer(rows, vectors, row_tail, vector_tail)

    def loop(
        begin, end, block: int, first: int, v: Pointer, q: Pointer, p: Pointer,
        tiles: int, inputs: int, outputs: int, lanes: int, v_plane: int, v_part: int, q_plane: int, q_part: int,
        p_plane: int,
    ):  # fmt: skip
        counts, q_strides, v_strides = (1, 1, tiles, lanes), (0, 0, 2 * q_part, 1), (0, 0, 2 * v_part, inputs)
        p_row = 2 * inputs
        for e in range(begin, end):
            for part in range(4):
                ve, qe = at(v, e * v_plane + part % 2 * v_part), at(q, e * q_plane + part // 2 * q_part)
                pe = at(p, e * p_plane + part // 2 * outputs * p_row + part % 2 * inputs)
                outer(qe, ve, pe, outputs, inputs // LANES, counts, q_strides, v_strides, lanes, p_row, 0)

    return loop


@kernel
def finish_filters(T):
    """Taps from the sums of products p of ``multiply_gradients``; a unit is an output channel.

    X conj(G) has the real part Xr Gr + Xi Gi and the imaginary part Xi Gr - Xr Gi.
    """

    def loop(
        begin, end, block: int, first: int, p: Pointer, w_h: Pointer, w_w: Pointer, plan_h: INT64, plan_w: INT64,
        w: Pointer, work: Pointer, inputs: int, padded: int, outputs: int, taps_h: int, taps_w: int,
        size_h: int, size_w: int, plane: int, scale: float,
    ):  # fmt: skip
        pitch = _pitch(size_h)
        z = at(work, (size_w // 2 + 1) * pitch)
        spare = at(z, 2 * size_w * LANES)
        factor = splat(w, scale)
        for k in range(begin, end):
            for c in range(0, inputs, LANES):
                for f in range(size_w // 2 + 1):
                    line = at(work, f * pitch)
                    for h in range(size_h):
                        by_re = at(p, (f * size_h + h) * plane + k * 2 * padded + c)
                        by_im = at(by_re, outputs * 2 * padded)
                        store(line, 2 * h * LANES, (load(by_re, 0) + load(by_im, padded)) * factor)
                        store(line, (2 * h + 1) * LANES, (load(by_re, padded) - load(by_im, 0)) * factor)
                    inverse(line, 2 * LANES, LANES, line, 2 * LANES, LANES, spare, size_h, plan_h, w_h)
                for h in range(0, taps_h, 2):
                    _rows_back(work, h, size_h, size_w, z, spare, plan_w, w_w)
                    for r in range(min(2, taps_h - h)):
                        for t in range(taps_w):
                            for i in range(min(LANES, inputs - c)):
                                place = ((k * inputs + c + i) * taps_h + h + r) * taps_w + t
                                w[place] = z[(2 * t + r) * LANES + i]

    return loop


# ------------------------------------------------------------------------------------------------ choosing


class Plan(NamedTuple):
    """Transforms of ``size`` pixels (rows, columns), and the tiles they are for."""

    size: tuple[int, int]
    step: tuple[int, int]
    tiles: int
    tiles_w: int

    @property
    def frequencies(self) -> int:
        return self.size[0] * (self.size[1] // 2 + 1)

    @classmethod
    def of(cls, size: tuple[int, int], taps: tuple[int, int], pixels: tuple[int, int]) -> "Plan":
        """The plan for outputs of so many pixels."""
        step = (size[0] - taps[0] + 1, size[1] - taps[1] + 1)
        rows, columns = (ceil_div(n, m) for n, m in zip(pixels, step, strict=True))
        return cls(size, step, rows * columns, columns)


#: Filters of fewer taps are not even counted, and the transforms must win by so much.
LEAST_TAPS, MARGIN = 25, 0.75
#: Products a cycle; cycles for each number of a tile's spectrum and binary digit of the tile's size, and for a byte of
#: spectra that is written and read (fitted to 52 plans of filters from 5x5 to 31x31, within 25%).
PRODUCTS, TRANSFORM, STREAMING = 1.15, 1.6, 0.6


def plan_for(c: Convolution) -> Plan:
    """The transforms that take the fewest cycles."""
    return min(plans(c), key=functools.partial(cycles, c))


def plans(c: Convolution) -> list[Plan]:
    """Those that fit: no larger than the whole, if that is possible."""
    taps, pixels = c.filter_size[1:], c.sizes[0][1:]  # the results, or the output's gradient, are cut into tiles

    def sizes(taps: int, pixels: int) -> list[int]:
        found = [n for n in SIZES if n >= taps and (n > 1 or taps == 1)]
        enough = next((n for n in found if n >= taps + pixels - 1), found[-1])
        return [n for n in found if n <= enough]

    rows, columns = (sizes(t, n) for t, n in zip(taps, pixels, strict=True))
    return [Plan.of((h, w), taps, pixels) for h, w in itertools.product(rows, columns) if w > 1]


def cycles(c: Convolution, plan: Plan) -> float:
    """A count of cycles: products, transforms, and the spectra's way through memory."""
    tiles = plan.tiles * c.y.blocks * c.y.lanes / LANES
    filters = c.x.channels * c.y.channels
    vectors = (c.x.channels + c.y.channels) * tiles + filters / LANES
    digits = math.log2(plan.size[0] * plan.size[1])
    numbers = 2 * LANES * vectors + filters
    each = 4 * filters * tiles / PRODUCTS + TRANSFORM * digits * vectors + STREAMING * c.y.dtype.itemsize * numbers
    return plan.frequencies * each


def direct_cycles(c: Convolution) -> float:
    """The same of the direct algorithm, which leaves out taps that fall outside."""
    products = float(c.x.channels * c.y.channels * c.y.blocks * c.y.lanes) / LANES
    for n, i, taps, pad in zip(*c.sizes, c.filter_size, _padding(c), strict=True):
        products *= sum(max(0, min(n, i + pad - t) - max(0, pad - t)) for t in range(taps))
    return products / (1.7 if c.y.lanes > 1 else 1.2)


def _padding(c: Convolution) -> list[int]:
    """Pixels before the image in a forward pass, or in an input gradient, which is one with filters turned."""
    return [t - 1 - p if c.transposed else p for t, p in zip(c.filter_size, c.before, strict=True)]


def choose(c: Convolution) -> Plan | None:
    """The plan, if the pass can be done here and is asked for, or takes fewer cycles than the direct algorithm."""
    if c.sizes[0][0] * c.filter_size[0] > 1 or {*c.stride, *c.dilation, c.groups} != {1} or c.filter_size[2] == 1:
        return None
    if max(c.filter_size) > SIZES[-1] // 2:
        return None
    if c.algo == "fft":
        return plan_for(c)
    if c.y.dtype != np.float32 or math.prod(c.filter_size) < LEAST_TAPS:
        return None
    plan = plan_for(c)
    return plan if cycles(c, plan) < MARGIN * direct_cycles(c) else None


# ------------------------------------------------------------------------------------------------ lowering


class Spectra(NamedTuple):
    """Transformed tiles: the buffer, and elements between frequencies, units' parts, and units' vectors."""

    buffer: Buffer
    plane: int
    part: int


@algorithm(FORWARD, INPUT, name="fft", rank=COUNTED)
def offer_fft(c: Convolution) -> Offer:
    plan = choose(c)
    return plan and (lambda: correlate(c, plan))


@algorithm(WEIGHTS, name="fft", rank=COUNTED)
def offer_fft_weights(c: Convolution) -> Offer:
    plan = choose(c)
    return plan and (lambda: correlate_weights(c, plan))


def _padded(elements: int) -> int:
    return ceil_div(elements, LANES) * LANES


def _tables(c: Convolution, plan: Plan) -> list[Buffer]:
    """Roots and radices of the rows' and columns' transforms."""
    made = [roots(n, c.x.dtype) for n in plan.size] + [radices(n) for n in plan.size]
    return [c.program.constant(values) for values in made]


def _work(c: Convolution, plan: Plan) -> Buffer:
    """A thread's room for a tile's spectrum, a row pair, and what a transform needs."""
    rows, columns = plan.size
    spectrum = (columns // 2 + 1) * (2 * rows + 2)
    return c.program.per_thread(c.x.dtype, (spectrum + 2 * columns + 4 * max(rows, columns)) * LANES)


def _transform(c: Convolution, plan: Plan, x: Buffer, xs, image, tiles: int, units: int, parts: int) -> Spectra:
    """Append the step that transforms tiles; ``units`` of each block."""
    part = _padded(xs[-1])
    blocks = x.blocks if x.space == "block" else 1
    plane = blocks * units * parts * part + LANES  # a power of two between them would share few lines of a cache
    v = c.program.whole(x.dtype, plan.frequencies * plane)
    constants = (units, *xs, *image, tiles, plan.tiles_w, *plan.size, plane, part)
    step = transform_tiles(x.dtype, parts=parts)
    c.program.step(step, (x, *_tables(c, plan)), (v, _work(c, plan)), constants, units)
    return Spectra(v, plane, part)


def _transform_image(c: Convolution, plan: Plan, x: Buffer, size, reach, padding, pixel: int) -> Spectra:
    """The same of all tiles of images of ``size`` whose pixels have ``pixel`` elements."""
    xs = (0, 0, size[1] * pixel, pixel, LANES, pixel)
    return _transform(c, plan, x, xs, (*size, *reach, *plan.step, *padding), plan.tiles, plan.tiles, 2)


def _transform_filters(c: Convolution, plan: Plan) -> tuple[Spectra, int, int]:
    """The same of all filters; also elements between channels that are summed and between those of the result."""
    taps = c.filter_size[1:]
    w, (_, row, column, depth, output, _) = laid_out(c.program, c.w, c.y.lanes, transposed=c.transposed)
    outputs, inputs = w.shape[:2]
    images = c.y.lanes > 1
    if images:
        lines, elements, line, vector = outputs, inputs, taps[0] * taps[1] * inputs, LANES
    else:
        lines, elements, line, vector = c.x.channels, c.y.channels, depth, output
    start = 0
    if c.transposed:  # from the last tap backwards
        start, row, column = (taps[0] - 1) * row + (taps[1] - 1) * column, -row, -column
    xs = (start, line, row, column, vector, elements if images else _padded(elements))
    u = _transform(c, plan, w, xs, (*taps, *taps, 0, 0, 0, 0), 1, lines, 3)
    between = 3 * u.part
    return (u, between, 1) if images and c.transposed else (u, 1, between) if images else (u, between, LANES)


def correlate(c: Convolution, plan: Plan) -> None:
    """Append the steps of a forward pass or input gradient."""
    x, y = c.x, c.y
    x_pixel, y_pixel = x.channels * x.lanes, y.channels * y.lanes
    u, u_depth, u_row = _transform_filters(c, plan)
    v = _transform_image(c, plan, x, c.sizes[1][1:], plan.size, _padding(c)[1:], x_pixel)
    tiles, p_part = plan.tiles * x.blocks, _padded(y_pixel)
    p_plane = tiles * 2 * p_part + LANES
    p = c.program.whole(y.dtype, plan.frequencies * p_plane)
    images, outputs = y.lanes > 1, y.channels
    if images:
        rows, vectors = choose_tile(y.dtype.itemsize, outputs, [(tiles, 1)], 2 * x.channels, cut_rows=True)
        tail = outputs % rows
    else:
        runs = [(ceil_div(outputs, LANES), 1)]
        rows, vectors = choose_tile(y.dtype.itemsize, tiles, runs, 2 * x.channels, cut_rows=False, overlap=True)
        tail = ceil_div(outputs, LANES) % vectors
    step = multiply_spectra(y.dtype, images=images, rows=rows, vectors=vectors, tail=tail)
    constants: tuple = (
        tiles, x.channels, outputs, x.lanes, v.plane, v.part, u.plane, u.part, u_depth, u_row, p_plane, p_part
    )  # fmt: skip
    c.program.step(step, (v.buffer, u.buffer), (p,), constants, plan.frequencies, flops=c.flops)
    finish = finish_tiles(y.dtype, images=images, activation=c.activation, bias=c.bias is not None)
    constants = (
        plan.tiles, *c.sizes[0][1:], *plan.step, plan.tiles_w, y_pixel, *plan.size, p_plane, p_part, _scale(plan)
    )  # fmt: skip
    operands = (p, c.bias or c.w, *_tables(c, plan))
    c.program.step(finish, operands, (y, _work(c, plan)), constants, plan.tiles)


def correlate_weights(c: Convolution, plan: Plan) -> None:
    """Append the steps of a weight gradient."""
    x, g, w = c.x, c.y, c.w
    images = x.lanes > 1
    padded, outputs = _padded(x.channels), g.channels
    source = turned(c.program, x) if images else x
    pixel = padded * LANES if images else x.channels
    v = _transform_image(c, plan, source, c.sizes[1][1:], plan.size, _padding(c)[1:], pixel)
    q = _transform_image(c, plan, g, c.sizes[0][1:], plan.step, (0, 0), outputs * g.lanes)
    rows, vectors = choose_tile(x.dtype.itemsize, outputs, [(padded // LANES, 1)], plan.tiles * x.batch, cut_rows=True)
    step = multiply_gradients(
        x.dtype, rows=rows, vectors=vectors, row_tail=outputs % rows, vector_tail=padded // LANES % vectors
    )
    p_plane = 2 * outputs * 2 * padded + LANES
    p = c.program.whole(x.dtype, plan.frequencies * p_plane)
    constants: tuple = (
        plan.tiles * x.blocks, padded, outputs, x.lanes, v.plane, v.part, q.plane, q.part, p_plane
    )  # fmt: skip
    c.program.step(step, (v.buffer, q.buffer), (p,), constants, plan.frequencies, flops=c.flops)
    constants = (x.channels, padded, outputs, *c.filter_size[1:], *plan.size, p_plane, _scale(plan))
    c.program.step(finish_filters(w.dtype), (p, *_tables(c, plan)), (w, _work(c, plan)), constants, outputs)


def _scale(plan: Plan) -> float:
    """Forward and inverse transforms multiply by the size, each spectrum was taken twice."""
    return 1.0 / (4 * plan.size[0] * plan.size[1])
