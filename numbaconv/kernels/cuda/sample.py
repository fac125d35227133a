"""Sampling at any places: along each dimension a place gives a few taps (place, weight, slope); samples are products.

Channels lie side by side, so neighbouring threads read neighbouring numbers.  The gradient of x adds up, in ranges of
pixels and in the order of the samples, as in ``plane.py``.
"""

from ..convolution import three
from .compiler import FLOAT32, Ints, Pointer, block, kernel
from .intrinsics import block_x, f32, i32, maximum, minimum, read_if, thread, where, write_if
from .lowering import BATCH, PLAIN, ceil_div, lowering
from .math import absolute, floor, nearest
from .plane import add_in_range, clear_range, plane_at, range_of, ranges_step
from .warp import WARP, sum_of_warp

THREADS = 256
ROWS = THREADS // WARP  # of a block: a warp takes a sample

#: Taps along a dimension.
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}

#: Places farther away lie outside: whole numbers of this size are exact.
FAR = 2.0**30


def _cubic(t):
    """Keys' weight at distance t, and its derivative (a = -0.75)."""
    s, sign = absolute(t), where(t >= 0.0, 1.0, -1.0)
    near = (1.25 * s - 2.25) * s * s + 1.0
    far = ((s - 5.0) * s + 8.0) * s * -0.75 + 3.0
    near_slope, far_slope = (3.75 * s - 4.5) * s, ((3.0 * s - 10.0) * s + 8.0) * -0.75
    weight = where(s <= 1.0, near, where(s < 2.0, far, 0.0))
    return weight, where(s <= 1.0, near_slope, where(s < 2.0, far_slope, 0.0)) * sign


def _reflected(v, low, high):
    """A place brought between low and high by reflection there, and the sign of the way it then moves."""
    span = high - low
    before = v < low
    v = absolute(v - low)
    turns = floor(v / span)
    rest = v - turns * span
    even = floor(turns * 0.5) * 2.0 == turns
    place, sign = where(even, rest, span - rest) + low, where(even ^ before, 1.0, -1.0)
    return where(span > 0.0, place, 0.0), where(span > 0.0, sign, 0.0)


def taps_of(mode: str, padding: str, align_corners: bool):
    """Device functions for the taps along a dimension.

    ``place_of(coordinate, size)`` is the place in pixels, its derivative, and whether it counts; ``tap_of(i, found,
    size)`` the i-th tap of it: pixel, weight, derivative by the coordinate, and whether it lies inside.
    """
    reflects, zeros = padding == "reflection", padding == "zeros"

    def padded(v, size):
        sign = f32(1.0)
        if reflects:
            v, sign = _reflected(v, f32(0.0), size - 1.0) if align_corners else _reflected(v, f32(-0.5), size - 0.5)
        if not zeros:
            sign = where((v > 0.0) & (v < size - 1.0), sign, 0.0)
            v = minimum(maximum(v, 0.0), size - 1.0)
        return v, sign

    def place_of(coordinate, size):
        coordinate = where(coordinate == coordinate, coordinate, -1.0)
        scale = 0.5 * (size - 1.0 if align_corners else size)
        v = (coordinate + 1.0) * scale
        if not align_corners:
            v = v - 0.5
        if reflects:
            v = where(absolute(v) < FAR, v, 0.0)
        if mode != "bicubic":
            v, sign = padded(v, size)
            scale = scale * sign
        counts = absolute(v) < FAR
        return where(counts, v, 0.0), scale, counts

    def tap_of(i, found, size):
        v, scale, counts = found
        if mode == "nearest":
            place, weight, slope = nearest(v), f32(1.0), f32(0.0)
        elif mode == "bilinear":
            part = v - floor(v)
            place = floor(v) + f32(i)
            weight, slope = where(i == 0, 1.0 - part, part), where(i == 0, -scale, scale)
        else:
            place = floor(v) + f32(i - 1)
            weight, slope = _cubic(v - place)
            place, slope = floor(padded(place, size)[0] + 0.5), slope * scale
        inside = counts & (place >= 0.0) & (place < size)
        return i32(where(inside, place, 0.0)), weight, slope, inside

    return place_of, tap_of


def walk_of(take, tap_of, taps: int, volume: bool):
    """A function that takes all taps of a sample into a state, in order: plane by plane, row by row.

    It gets the places along depth (of volumes), height and width, and the three sizes.  ``take(state, operands, inside,
    pixel, weights, slopes)`` gives the next state; ``inside`` is whether there is such a tap, ``pixel`` its place in
    the image; weights and slopes are those along depth, height and width.
    """
    planes = taps if volume else 1

    def walk(state, operands, exists, places, sizes):
        depth, height, width = f32(sizes[0]), f32(sizes[1]), f32(sizes[2])
        for i in range(planes):
            plane, by_plane, plane_slope, in_plane = tap_of(i, places[0], depth)
            if not volume:
                plane, by_plane, plane_slope, in_plane = i32(0), f32(1.0), f32(0.0), exists
            for j in range(taps):
                row, by_row, row_slope, in_row = tap_of(j, places[1], height)
                for k in range(taps):
                    column, by_column, column_slope, in_column = tap_of(k, places[2], width)
                    inside = exists & in_plane & in_row & in_column
                    pixel = (plane * sizes[1] + row) * sizes[2] + column
                    weights, slopes = (by_plane, by_row, by_column), (plane_slope, row_slope, column_slope)
                    state = take(state, operands, inside, pixel, weights, slopes)
        return state

    return walk


def add(total, operands, inside, pixel, weights, slopes):
    """Add a weighted number."""
    x, first, line = operands
    return total + read_if(inside, x, first + pixel * line) * (weights[0] * weights[1] * weights[2])


def add_slopes(state, operands, inside, pixel, weights, slopes):
    """Add a warp's parts of a sample's derivatives by its place, across, down and behind, and by its weight.

    ``count`` channels of g and x are multiplied, a pixel of x being ``line`` numbers.
    """
    across, down, behind, whole = state
    g, x, g_first, x_first, line, count, lane = operands
    product = f32(0.0)
    for step in range((count + (WARP - 1)) // WARP):
        c = step * WARP + lane
        counts = inside & (c < count)
        product = product + read_if(counts, g, g_first + c) * read_if(counts, x, x_first + pixel * line + c)
    across = across + product * (weights[0] * weights[1] * slopes[2])
    down = down + product * (weights[0] * slopes[1] * weights[2])
    behind = behind + product * (slopes[0] * weights[1] * weights[2])
    return across, down, behind, whole + product * (weights[0] * weights[1] * weights[2])


def put_back(slope, operands, inside, pixel, weights, slopes):
    """Add a sample's slope to what it was made of, where that lies in the thread's range."""
    y, first, line, low, high = operands
    v = slope * (weights[0] * weights[1] * weights[2])
    add_in_range(inside, y, first, line, low, high, pixel, v)
    return slope


def grid_walk(take, mode: str, padding: str, align_corners: bool, volume: bool):
    """A function that takes all taps of the sample at a place of a grid."""
    place_of, tap_of = taps_of(mode, padding, align_corners)
    walk, dimensions = walk_of(take, tap_of, TAPS[mode], volume), 3 if volume else 2

    def walk_grid(state, operands, exists, grid, sample, sizes):
        first = sample * dimensions
        across = place_of(read_if(exists, grid, first), f32(sizes[2]))
        down = place_of(read_if(exists, grid, first + 1), f32(sizes[1]))
        behind = place_of(read_if(exists & volume, grid, first + 2), f32(sizes[0]))
        return walk(state, operands, exists, (behind, down, across), sizes)

    return walk_grid


@kernel
def grid_sample(T, mode, padding, align_corners, volume):
    """x at the places of a grid (x, y) or (x, y, z); an output a thread."""
    sum_of = grid_walk(add, mode, padding, align_corners, volume)

    @block(THREADS, 4)
    def loop(x: Pointer, grid: FLOAT32, y: Pointer, size: int, line: int, pixels: int, sizes: Ints(3)):
        at = block_x() * THREADS + thread()
        sample, c = at // line, at % line
        first = sample // pixels * (sizes[0] * sizes[1] * sizes[2]) * line + c
        total = sum_of(f32(0.0), (x, first, line), at < size, grid, sample, sizes)
        write_if(at < size, y, at, total)

    return loop


@kernel
def grid_gradient(T, mode, padding, align_corners, volume):
    """Gradient of the grid; a warp takes a sample, its threads the channels."""
    sums_of, dimensions = grid_walk(add_slopes, mode, padding, align_corners, volume), 3 if volume else 2

    @block(THREADS, 4)
    def loop(
        g: Pointer, x: Pointer, grid: FLOAT32, y: FLOAT32, samples: int, line: int, pixels: int, sizes: Ints(3)
    ):
        sample, lane = block_x() * ROWS + thread() // WARP, thread() % WARP
        exists = sample < samples
        first = sample // pixels * (sizes[0] * sizes[1] * sizes[2]) * line
        zero = f32(0.0)
        operands = g, x, sample * line, first, line, line, lane
        by_x, by_y, by_z, _ = sums_of((zero, zero, zero, zero), operands, exists, grid, sample, sizes)
        by_x, by_y, by_z = sum_of_warp(by_x), sum_of_warp(by_y), sum_of_warp(by_z)
        chosen, at = exists & (lane == 0), sample * dimensions
        write_if(chosen, y, at, by_x)
        write_if(chosen, y, at + 1, by_y)
        write_if(chosen & volume, y, at + 2, by_z)

    return loop


@kernel
def sampled_gradient(T, mode, padding, align_corners, volume):
    """Gradient of x; a thread takes a range of a plane's pixels."""
    back = grid_walk(put_back, mode, padding, align_corners, volume)

    @block(THREADS, 4)
    def loop(
        g: Pointer, grid: FLOAT32, y: Pointer, planes: int, line: int, run: int, pixels: int, sizes: Ints(3)
    ):
        plane, exists, first, low, high = range_of(planes, line, run, sizes[0] * sizes[1] * sizes[2])
        clear_range(exists, y, first, line, low, high, run)
        from_, image = plane_at(plane, line, pixels), plane // line
        for p in range(pixels):
            slope = read_if(exists, g, from_ + line * p)
            back(slope, (y, first, line, low, high), exists, grid, image * pixels + p, sizes)

    return loop


def _options(node, grid) -> dict:
    """The constants of all three kernels."""
    attrs = node.attrs
    return {
        "mode": attrs["mode"], "padding": attrs["padding_mode"], "align_corners": attrs["align_corners"],
        "volume": grid.shape[-1] == 3,
    }  # fmt: skip


@lowering("grid_sample", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_grid_sample(program, node, inputs, outputs):
    (x, grid), y = inputs, outputs[0]
    constants = (y.elements, y.channels, y.pixels, *three(x.spatial, 1))
    made = grid_sample(y.dtype, **_options(node, grid))
    program.launch(made, ceil_div(y.elements, THREADS), inputs, outputs, constants, node.flops)


@lowering("grid_sample_grads", inputs=(BATCH, BATCH, PLAIN), outputs=(BATCH, PLAIN))
def lower_grid_sample_grads(program, node, inputs, outputs):
    g, x, grid = inputs
    by_x, by_grid = outputs
    options, sizes = _options(node, grid), three(x.spatial, 1)
    samples = g.batch * g.pixels
    made = grid_gradient(g.dtype, **options)
    constants = (samples, g.channels, g.pixels, *sizes)
    program.launch(made, ceil_div(samples, ROWS), inputs, (by_grid,), constants, node.flops)
    made = sampled_gradient(g.dtype, **options)
    ranges_step(program, made, (g, grid), by_x, x.channels, (g.pixels, *sizes), node.flops)
