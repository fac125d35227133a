"""Sampling at any places: along each dimension a place gives a few taps (place, weight, slope); samples are products.

Channels lie in vectors, whatever the layout (see ``turn.rows_of``).
"""

import math

import numpy as np

from .compiler import inline
from .geometry import three
from .lowering import BATCH, PLAIN, Buffer, lowering
from .native import INT64, Ints, Pointer, kernel
from .sampling import clear, gather, product_sum, scatter
from .turn import put_back, rows_for, rows_of
from .vector import at

#: Taps of a sample along a dimension.
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}

#: Places farther away lie outside: whole numbers of this size are exact.
FAR = 2.0**30


@inline
def _cubic(t):
    """Keys' weight at distance t, and its derivative (a = -0.75)."""
    a, s = -0.75, abs(t)
    sign = 1.0 if t >= 0.0 else -1.0
    if s <= 1.0:
        return ((a + 2.0) * s - (a + 3.0)) * s * s + 1.0, (3.0 * (a + 2.0) * s - 2.0 * (a + 3.0)) * s * sign
    if s < 2.0:
        return ((s - 5.0) * s + 8.0) * s * a - 4.0 * a, ((3.0 * s - 10.0) * s + 8.0) * a * sign
    return 0.0, 0.0


@inline
def _reflected(v, low, high):
    """A place brought between low and high by reflection there, and the sign of the way it then moves."""
    span = high - low
    if span <= 0.0:
        return 0.0, 0.0
    v, sign = v - low, 1.0
    if v < 0.0:
        v, sign = -v, -1.0
    turns = math.floor(v / span)
    rest = v - turns * span
    if turns == 2.0 * math.floor(0.5 * turns):
        return rest + low, sign
    return span - rest + low, -sign


@inline
def _padded(v, size, options):
    """A place in pixels brought inside, and its derivative."""
    reflects, zeros, align_corners = options
    sign = 1.0
    if reflects:
        if align_corners:
            v, sign = _reflected(v, 0.0, size - 1.0)
        else:
            v, sign = _reflected(v, -0.5, size - 0.5)
    if not zeros and not 0.0 < v < size - 1.0:
        return min(max(v, 0.0), size - 1.0), 0.0
    return v, sign


def _make_table(mode):
    """A function that writes the taps of samples along one dimension, each to a row of its own."""
    taps, cubic, nearest = TAPS[mode], mode == "bicubic", mode == "nearest"

    @inline
    def tap(coordinate, size, options, k):
        """Place, weight and slope of the k-th tap; the place is -1 where nothing is read."""
        reflects, _, align_corners = options
        if coordinate != coordinate:
            coordinate = -1.0
        scale = 0.5 * (size - 1.0 if align_corners else size * 1.0)
        v = (coordinate + 1.0) * scale - (0.0 if align_corners else 0.5)
        if reflects and not -FAR < v < FAR:
            v = 0.0
        if not cubic:
            v, sign = _padded(v, size, options)
            scale *= sign
        near = -FAR < v < FAR
        v = v if near else -1.0
        low = math.floor(v)
        if nearest:
            place, weight, slope = math.floor(v + 0.5), 1.0, 0.0
            if v + 0.5 == place and place % 2 != 0:  # ties go to the even one
                place -= 1
        elif cubic:
            place = low + k - 1
            weight, slope = _cubic(v - place)
            place, slope = math.floor(_padded(place + 0.0, size, options)[0] + 0.5), slope * scale
        else:
            place, weight, slope = low + k, v - low, scale
            if k == 0:
                weight, slope = 1.0 - weight, -scale
        return place if near and 0 <= place < size else -1, weight, slope

    @inline
    def table(grid, dimensions, samples, size, options, places, weights, slopes):
        """Of ``samples`` coordinates, ``dimensions`` apart."""
        for k in range(taps):
            for p in range(samples):
                to = k * samples + p
                places[to], weights[to], slopes[to] = tap(grid[p * dimensions], size, options, k)

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
    depth, smooth = taps if volume else 1, mode != "nearest"

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
                                if smooth:
                                    product = product_sum(gp, source, o, channels)
                                    by_z += product * slopes[d] * weights[h] * weights[w]
                                    by_y += product * weights[d] * slopes[h] * weights[w]
                                    by_w += product * weights[d] * weights[h] * slopes[w]
                by_grid[sample], by_grid[sample + 1] = by_w, by_y
                if volume:
                    by_grid[sample + 2] = by_z

    return loop


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


@lowering("grid_sample", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_grid_sample(program, node, inputs, outputs):
    x, grid = inputs
    y, mode = outputs[0], node.attrs["mode"]
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


@lowering("grid_sample_grads", inputs=(BATCH, BATCH, PLAIN), outputs=(BATCH, PLAIN))
def lower_grid_sample_grads(program, node, inputs, outputs):
    g, x, grid = inputs
    by_x, by_grid = outputs
    mode = node.attrs["mode"]
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
