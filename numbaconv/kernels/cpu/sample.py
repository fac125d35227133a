"""Sampling at any places: along each dimension a place gives a few taps (place, weight, slope); samples are products.

Channels lie in vectors, whatever the layout (see ``turn.rows_of``).  The one nearest pixel is instead taken from planes
in NumPy's order, one pass over memory: there are no products for which to bring channels together.
"""

import numpy as np

from .compiler import inline
from .geometry import three
from .lowering import BATCH, PLAIN, Buffer, ceil_div, lowering
from .native import INT32, INT64, Ints, Pointer, kernel
from .plane import gather_step, scatter_step
from .sampling import clear, gather, product_sum, scatter
from .shape import zero_step
from .target import LANES
from .turn import put_back, rows_for, rows_of
from .vector import (
    absolute,
    at,
    first_lanes,
    floor,
    integers_of,
    load_first,
    maximum,
    minimum,
    nearest,
    splat,
    store_first,
    to_integer,
    where,
)

#: Taps of a sample along a dimension.
TAPS = {"bilinear": 2, "bicubic": 4}

#: Places farther away lie outside: whole numbers of this size are exact.
FAR = 2.0**30


@inline
def _cubic(t):
    """Keys' weight at distance t, and its derivative (a = -0.75)."""
    a, s = -0.75, absolute(t)
    sign = where(t >= 0.0, splat(t, 1.0), -1.0)
    weight = ((a + 2.0) * s - (a + 3.0)) * s * s + 1.0
    slope = (3.0 * (a + 2.0) * s - 2.0 * (a + 3.0)) * s * sign
    far_weight = ((s - 5.0) * s + 8.0) * s * a - 4.0 * a
    far_slope = ((3.0 * s - 10.0) * s + 8.0) * a * sign
    return (
        where(s <= 1.0, weight, where(s < 2.0, far_weight, 0.0)),
        where(s <= 1.0, slope, where(s < 2.0, far_slope, 0.0)),
    )


@inline
def _reflected(v, low, high):
    """A place brought between low and high by reflection there, and the sign of the way it then moves."""
    span = high - low
    if span <= 0.0:
        return splat(v, 0.0), splat(v, 0.0)
    sign = where(v < low, splat(v, -1.0), 1.0)
    way = absolute(v - low)
    turns = floor(way / span)
    rest = way - turns * span
    even = turns == 2.0 * floor(0.5 * turns)
    return where(even, rest + low, span - rest + low), where(even, sign, -sign)


@inline
def _padded(v, size, options):
    """A place in pixels brought inside, and its derivative."""
    reflects, zeros, align_corners = options
    sign = splat(v, 1.0)
    if reflects:
        edge = 0.0 if align_corners else 0.5
        v, sign = _reflected(v, -edge, size - 1.0 + edge)
    if not zeros:
        inside = (v > 0.0) & (v < size - 1.0)
        v, sign = minimum(size - 1.0, maximum(0.0, v)), where(inside, sign, 0.0)
    return v, sign


@inline
def _in_pixels(coordinate, size, options):
    """A coordinate (between -1 and 1 inside) as a place in pixels, and its derivative."""
    reflects, _, align_corners = options
    scale = 0.5 * (size - 1.0 if align_corners else size * 1.0)
    v = (where(coordinate == coordinate, coordinate, -1.0) + 1.0) * scale - (0.0 if align_corners else 0.5)
    return where((absolute(v) < FAR) | first_lanes(0 if reflects else LANES), v, 0.0), scale


@inline
def _number(place, size, near):
    """A whole place as an integer; -1 where it lies outside, or is not ``near``."""
    return to_integer(where(near & (place >= 0.0) & (place < size * 1.0), place, -1.0))


@inline
def _coordinates(grid, dimensions, samples, row):
    """Every ``dimensions``-th number."""
    for p in range(samples):
        row[p] = grid[p * dimensions]


def _make_table(mode):
    """A function that writes the taps of samples along one dimension, each to a row of its own."""
    taps, cubic = TAPS[mode], mode == "bicubic"

    @inline
    def tap(v, scale, size, options, k):
        """Place, weight and slope of the k-th tap; the place is -1 where nothing is read."""
        near = absolute(v) < FAR
        v = where(near, v, -1.0)
        low = floor(v)
        place = low + (k - 1.0 if cubic else k * 1.0)
        if cubic:
            weight, slope = _cubic(v - place)
            return _number(nearest(_padded(place, size, options)[0]), size, near), weight, slope * scale
        if k == 0:
            return _number(place, size, near), 1.0 - (v - low), -scale
        return _number(place, size, near), v - low, scale

    @inline
    def table(grid, dimensions, samples, size, options, places, weights, slopes):
        """Of ``samples`` coordinates, ``dimensions`` apart."""
        _coordinates(grid, dimensions, samples, slopes)  # until slopes are known
        for p in range(0, samples, LANES):
            left = samples - p
            v, factor = _in_pixels(load_first(slopes, p, left), size, options)
            scale = splat(v, factor)
            if not cubic:
                v, sign = _padded(v, size, options)
                scale = scale * sign
            for k in range(taps):
                to = k * samples + p
                place, weight, slope = tap(v, scale, size, options, k)
                store_first(places, to, integers_of(places, place), left)
                store_first(weights, to, weight, left)
                store_first(slopes, to, slope, left)

    return table


def _make_tables(mode, volume):
    """A function that writes the tables of a row of samples: those of depth, of height, of width."""
    table, taps, dimensions = _make_table(mode), TAPS[mode], 3 if volume else 2

    @inline
    def tables(grid, samples, sizes, options, places, weights, slopes):
        for axis in range(3 - dimensions, 3):
            to = axis * taps * samples
            table(at(grid, 2 - axis), dimensions, samples, sizes[axis], options,
                  at(places, to), at(weights, to), at(slopes, to))  # fmt: skip
        for p in range(0 if volume else samples):
            places[p], weights[p], slopes[p] = 0, 1.0, 0.0

    return tables


@kernel
def grid_sample(T, mode, volume):
    """y at all places; a unit is a row of an image, one image after the other, so that each is read from the cache."""
    tables, taps, dimensions = _make_tables(mode, volume), TAPS[mode], 3 if volume else 2
    depth = taps if volume else 1

    def loop(
        begin, end, block: int, first: int, x: Pointer, grid: Pointer,
        y: Pointer, places: INT64, weights: Pointer, slopes: Pointer, found: INT64, factors: Pointer,
        sizes: Ints(3), xs: Ints(2), ys: Ints(2), channels: int, batch: int, lanes: int, rows: int, columns: int,
        options: Ints(3),
    ):  # fmt: skip
        height, width = taps * columns, 2 * taps * columns
        for unit in range(begin, end):
            image = unit // rows
            n, line = block * lanes + image, (unit - image * rows) * columns
            source, target = at(x, image * xs[1]), at(y, image * ys[1] + line * ys[0])
            if n < batch:
                coordinates = at(grid, (n * rows * columns + line) * dimensions)
                tables(coordinates, columns, sizes, options, places, weights, slopes)
            for p in range(columns):
                count = 0
                for i in range(depth if n < batch else 0):
                    for j in range(taps):
                        for k in range(taps):
                            d, h, w = i * columns + p, height + j * columns + p, width + k * columns + p
                            place = (places[d] * sizes[1] + places[h]) * sizes[2] + places[w]
                            found[count], factors[count] = place * xs[0], weights[d] * weights[h] * weights[w]
                            count += 1 if (places[d] | places[h] | places[w]) >= 0 else 0
                gather(source, found, factors, count, channels, at(target, p * ys[0]))

    return loop


@kernel
def grid_sample_grads(T, mode, volume):
    """Gradients of x and grid; a unit is an image, whose gradient one thread adds up."""
    tables, taps, dimensions = _make_tables(mode, volume), TAPS[mode], 3 if volume else 2
    depth = taps if volume else 1

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, grid: Pointer,
        by_x: Pointer, by_grid: Pointer, places: INT64, weights: Pointer, slopes: Pointer,
        sizes: Ints(3), xs: Ints(2), gs: Ints(2), channels: int, batch: int, lanes: int, rows: int, columns: int,
        options: Ints(3),
    ):  # fmt: skip
        height, width = taps * columns, 2 * taps * columns
        for image in range(begin, end):
            n, source, target = block * lanes + image, at(x, image * xs[1]), at(by_x, image * xs[1])
            clear(target, sizes[0] * sizes[1] * sizes[2], xs[0], channels)
            for pixel in range(rows * columns if n < batch else 0):
                p = pixel % columns
                sample = (n * rows * columns + pixel) * dimensions
                if p == 0:
                    tables(at(grid, sample), columns, sizes, options, places, weights, slopes)
                gp = at(g, image * gs[1] + pixel * gs[0])
                by_z = by_y = by_w = 0.0
                for i in range(depth):
                    for j in range(taps):
                        for k in range(taps):
                            d, h, w = i * columns + p, height + j * columns + p, width + k * columns + p
                            if (places[d] | places[h] | places[w]) >= 0:
                                o = ((places[d] * sizes[1] + places[h]) * sizes[2] + places[w]) * xs[0]
                                scatter(gp, o, weights[d] * weights[h] * weights[w], channels, target)
                                product = product_sum(gp, source, o, channels)
                                by_z += product * slopes[d] * weights[h] * weights[w]
                                by_y += product * weights[d] * slopes[h] * weights[w]
                                by_w += product * weights[d] * weights[h] * slopes[w]
                by_grid[sample], by_grid[sample + 1] = by_w, by_y
                if volume:
                    by_grid[sample + 2] = by_z

    return loop


@kernel
def nearest_pixels(T, volume):
    """The number of the pixel nearest to each place, -1 outside; a unit is ``NEAREST_UNIT`` samples."""
    dimensions = 3 if volume else 2

    def loop(
        begin, end, block: int, first: int, grid: Pointer, pixels: INT32, row: Pointer,
        samples: int, sizes: Ints(3), options: Ints(3),
    ):  # fmt: skip
        for unit in range(begin, end):
            start = unit * NEAREST_UNIT
            count = min(NEAREST_UNIT, samples - start)
            for axis in range(3 - dimensions, 3):
                size = sizes[axis]
                _coordinates(at(grid, start * dimensions + 2 - axis), dimensions, count, row)
                for p in range(0, count, LANES):
                    v = _padded(_in_pixels(load_first(row, p, count - p), size, options)[0], size, options)[0]
                    place = integers_of(pixels, _number(nearest(v), size, absolute(v) < FAR))
                    if axis > 3 - dimensions:
                        line = load_first(pixels, start + p, count - p)
                        place = where((line < 0) | (place < 0), -1, line * size + place)
                    store_first(pixels, start + p, place, count - p)

    return loop


NEAREST_UNIT = 16 * LANES


def _options(attrs) -> tuple[bool, ...]:
    """Whether places are reflected, zeros lie outside, corners are aligned."""
    return attrs["padding_mode"] == "reflection", attrs["padding_mode"] == "zeros", attrs["align_corners"]


def _workspace(program, dtype, mode: str, columns: int):
    """Places, weights and slopes of the taps of a row of samples along three dimensions."""
    count = 3 * TAPS[mode] * columns
    return program.per_thread(np.dtype(np.int64), count), *(program.per_thread(dtype, count) for _ in range(2))


def _rows_and_columns(y: Buffer) -> tuple[int, int]:
    """The rows of samples of an image, and the samples of a row."""
    columns = y.spatial[-1]
    return y.pixels // columns if columns else 0, columns


def _nearest_step(program, node, x: Buffer, grid: Buffer) -> Buffer:
    """Append the step that finds the pixel of ``x`` nearest to each place."""
    pixels = program.whole(np.dtype(np.int32), grid.elements // len(x.spatial))
    step = nearest_pixels(x.dtype, volume=len(x.spatial) == 3)
    constants = (pixels.elements, *three(x.spatial, 1), *_options(node.attrs))
    row = program.per_thread(x.dtype, NEAREST_UNIT)
    program.step(step, (grid,), (pixels, row), constants, ceil_div(pixels.elements, NEAREST_UNIT))
    return pixels


def _layout(node) -> str:
    return PLAIN if node.attrs["mode"] == "nearest" else BATCH


@lowering("grid_sample", inputs=lambda node: (_layout(node), PLAIN), outputs=lambda node: (_layout(node),))
def lower_grid_sample(program, node, inputs, outputs):
    x, grid = inputs
    y, mode = outputs[0], node.attrs["mode"]
    if mode == "nearest":
        gather_step(program, x, _nearest_step(program, node, x, grid), y, sharing=x.channels)
        return
    source, target = rows_of(program, x), rows_for(program, y)
    rows, columns = _rows_and_columns(y)
    constants = (
        *three(x.spatial, 1), source.pixel, source.image, target.pixel, target.image,
        x.channels, x.batch, x.lanes, rows, columns, *_options(node.attrs),
    )  # fmt: skip
    most = TAPS[mode] ** grid.shape[-1]
    program.step(
        grid_sample(x.dtype, mode=mode, volume=grid.shape[-1] == 3), (source.buffer, grid),
        (target.buffer, *_workspace(program, x.dtype, mode, columns),
         program.per_thread(np.dtype(np.int64), most), program.per_thread(x.dtype, most)),
        constants, source.images * rows, flops=node.flops,
    )  # fmt: skip
    put_back(program, target, y)


@lowering(
    "grid_sample_grads",
    inputs=lambda node: (_layout(node), _layout(node), PLAIN),
    outputs=lambda node: (_layout(node), PLAIN),
)
def lower_grid_sample_grads(program, node, inputs, outputs):
    g, x, grid = inputs
    by_x, by_grid = outputs
    mode = node.attrs["mode"]
    if mode == "nearest":
        scatter_step(program, g, _nearest_step(program, node, x, grid), by_x, add=True, sharing=x.channels)
        zero_step(program, by_grid)
        return
    source, grad, target = rows_of(program, x), rows_of(program, g), rows_for(program, by_x)
    rows, columns = _rows_and_columns(g)
    constants = (
        *three(x.spatial, 1), source.pixel, source.image, grad.pixel, grad.image,
        x.channels, x.batch, x.lanes, rows, columns, *_options(node.attrs),
    )  # fmt: skip
    program.step(
        grid_sample_grads(x.dtype, mode=mode, volume=grid.shape[-1] == 3), (grad.buffer, source.buffer, grid),
        (target.buffer, by_grid, *_workspace(program, x.dtype, mode, columns)), constants, source.images,
        flops=node.flops,
    )  # fmt: skip
    put_back(program, target, by_x)
