"""Sampling at any places: along each dimension a place gives a few taps (place, weight, slope); samples are products.

Channels lie in vectors, whatever the layout (see ``turn.rows_of``).
"""

import math

import numpy as np

from .compiler import inline
from .geometry import three
from .lowering import BATCH, PLAIN, lowering
from .native import INT64, Ints, Pointer, kernel
from .sampling import clear, gather, product_sum, scatter
from .target import LANES
from .turn import pixel_back, put_back, rows_for, rows_of
from .vector import at

#: Taps along a dimension at most.
MOST = 4

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
    if turns % 2.0 == 0.0:
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


def _make_sample(mode, volume):
    """A function that writes the taps of a sample along each dimension into short rows, ``MOST`` for each."""
    cubic, nearest = mode == "bicubic", mode == "nearest"

    @inline
    def taps(coordinate, size, row, options, places, weights, slopes):
        """Write the taps of a coordinate along a dimension of ``size``, from ``row`` of the short rows on; how many."""
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
        if not -FAR < v < FAR:
            return 0
        low = math.floor(v)
        if nearest:
            low = math.floor(v + 0.5)
            if v + 0.5 == low and low % 2 != 0:  # ties go to the even one
                low -= 1
            if not 0 <= low < size:
                return 0
            places[row], weights[row], slopes[row] = low, 1.0, 0.0
            return 1
        count = 0
        if cubic:
            for i in range(-1, 3):
                weight, slope = _cubic(v - (low + i))
                place = math.floor(_padded(low + i + 0.0, size, options)[0] + 0.5)
                if 0 <= place < size:
                    places[row + count], weights[row + count], slopes[row + count] = place, weight, slope * scale
                    count += 1
            return count
        if 0 <= low < size - 1:
            places[row], weights[row], slopes[row] = low, 1.0 - (v - low), -scale
            places[row + 1], weights[row + 1], slopes[row + 1] = low + 1, v - low, scale
            return 2
        for i in range(2):
            if 0 <= low + i < size:
                weight = v - low if i else 1.0 - (v - low)
                places[row + count], weights[row + count] = low + i, weight
                slopes[row + count] = scale if i else -scale
                count += 1
        return count

    @inline
    def sample(grid, sizes, options, counts, places, weights, slopes):
        """The taps of a sample along depth, height and width; ``grid`` holds (x, y) or (x, y, z)."""
        counts[2] = taps(grid[0], sizes[2], 2 * MOST, options, places, weights, slopes)
        counts[1] = taps(grid[1], sizes[1], MOST, options, places, weights, slopes)
        counts[0] = 1
        places[0], weights[0], slopes[0] = 0, 1.0, 0.0
        if volume:
            counts[0] = taps(grid[2], sizes[0], 0, options, places, weights, slopes)

    return sample


@kernel
def grid_sample(T, mode, volume):
    """y at all places; a unit is a row of results, in all images of a block.

    With images in lanes the row is sampled image by image, and turned while it is in the cache.
    """
    sample, dimensions = _make_sample(mode, volume), 3 if volume else 2

    def loop(
        begin, end, block: int, first: int, x: Pointer, grid: Pointer,
        y: Pointer, row: Pointer, counts: INT64, places: INT64, weights: Pointer, slopes: Pointer,
        found: INT64, factors: Pointer,
        sizes: Ints(3), xs: Ints(2), ys: Ints(2), channels: int, batch: int, lanes: int, rows: int, columns: int,
        options: Ints(3),
    ):  # fmt: skip
        for unit in range(begin, end):
            target = at(y, unit * columns * channels * lanes)
            to = row if lanes > 1 else target
            for pixel in range(lanes * columns):
                image = pixel // columns
                n, p, count = block * lanes + image, pixel - image * columns, 0
                if n < batch:
                    place = ((n * rows + unit) * columns + p) * dimensions
                    sample(at(grid, place), sizes, options, counts, places, weights, slopes)
                    for i in range(counts[0]):
                        for j in range(MOST, MOST + counts[1]):
                            line, part = (places[i] * sizes[1] + places[j]) * sizes[2], weights[i] * weights[j]
                            for k in range(2 * MOST, 2 * MOST + counts[2]):
                                found[count], factors[count] = (line + places[k]) * xs[0], part * weights[k]
                                count += 1
                gather(at(x, image * xs[1]), found, factors, count, channels, at(to, image * ys[1] + p * ys[0]))
            for p in range(columns if lanes > 1 else 0):
                pixel_back(at(row, p * ys[0]), at(target, p * channels * lanes), channels, ys[1])

    return loop


@kernel
def grid_sample_grads(T, mode, volume):
    """Gradients of x and grid; a unit is an image, whose gradient one thread adds up."""
    sample, dimensions = _make_sample(mode, volume), 3 if volume else 2
    smooth = mode != "nearest"

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, grid: Pointer,
        by_x: Pointer, by_grid: Pointer, counts: INT64, places: INT64, weights: Pointer, slopes: Pointer,
        sizes: Ints(3), xs: Ints(2), gs: Ints(2), channels: int, batch: int, lanes: int, pixels: int,
        options: Ints(3),
    ):  # fmt: skip
        for image in range(begin, end):
            n, source, target = block * lanes + image, at(x, image * xs[1]), at(by_x, image * xs[1])
            clear(target, sizes[0] * sizes[1] * sizes[2], xs[0], channels)
            for p in range(pixels if n < batch else 0):
                place, d = (n * pixels + p) * dimensions, at(g, image * gs[1] + p * gs[0])
                sample(at(grid, place), sizes, options, counts, places, weights, slopes)
                by_z = by_y = by_w = 0.0
                for i in range(counts[0]):
                    for j in range(MOST, MOST + counts[1]):
                        line = (places[i] * sizes[1] + places[j]) * sizes[2]
                        for k in range(2 * MOST, 2 * MOST + counts[2]):
                            o = (line + places[k]) * xs[0]
                            scatter(d, o, weights[i] * weights[j] * weights[k], channels, target)
                            if smooth:
                                product = product_sum(d, source, o, channels)
                                by_z += product * slopes[i] * weights[j] * weights[k]
                                by_y += product * weights[i] * slopes[j] * weights[k]
                                by_w += product * weights[i] * weights[j] * slopes[k]
                by_grid[place], by_grid[place + 1] = by_w, by_y
                if volume:
                    by_grid[place + 2] = by_z

    return loop


def _options(attrs) -> tuple[bool, ...]:
    """Whether places are reflected, zeros lie outside, corners are aligned."""
    return attrs["padding_mode"] == "reflection", attrs["padding_mode"] == "zeros", attrs["align_corners"]


def _workspace(program, dtype):
    """Counts, places, weights and slopes of the taps along three dimensions."""
    integers = np.dtype(np.int64)
    return (
        program.per_thread(integers, 3), program.per_thread(integers, 3 * MOST),
        program.per_thread(dtype, 3 * MOST), program.per_thread(dtype, 3 * MOST),
    )  # fmt: skip


@lowering("grid_sample", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_grid_sample(program, node, inputs, outputs):
    x, grid = inputs
    y = outputs[0]
    source = rows_of(program, x)
    columns = y.spatial[-1]
    rows = y.pixels // columns if columns else 0
    image = columns * source.pixel + LANES if x.lanes > 1 else 0  # images of a row begin in different sets of a cache
    constants = (
        *three(x.spatial, 1), source.pixel, source.image, source.pixel, image,
        x.channels, x.batch, x.lanes, rows, columns, *_options(node.attrs),
    )  # fmt: skip
    program.step(
        grid_sample(x.dtype, mode=node.attrs["mode"], volume=grid.shape[-1] == 3), (source.buffer, grid),
        (y, program.per_thread(x.dtype, max(x.lanes * image, 1)), *_workspace(program, x.dtype),
         program.per_thread(np.dtype(np.int64), MOST**2), program.per_thread(x.dtype, MOST**2)),
        constants, rows, flops=node.flops,
    )  # fmt: skip


@lowering("grid_sample_grads", inputs=(BATCH, BATCH, PLAIN), outputs=(BATCH, PLAIN))
def lower_grid_sample_grads(program, node, inputs, outputs):
    g, x, grid = inputs
    by_x, by_grid = outputs
    source, grad, target = rows_of(program, x), rows_of(program, g), rows_for(program, by_x)
    constants = (
        *three(x.spatial, 1), source.pixel, source.image, grad.pixel, grad.image,
        x.channels, x.batch, x.lanes, g.pixels, *_options(node.attrs),
    )  # fmt: skip
    kernel_ = grid_sample_grads(x.dtype, mode=node.attrs["mode"], volume=grid.shape[-1] == 3)
    program.step(
        kernel_, (grad.buffer, source.buffer, grid),
        (target.buffer, by_grid, *_workspace(program, x.dtype)), constants, source.images, flops=node.flops,
    )  # fmt: skip
    put_back(program, target, by_x)
