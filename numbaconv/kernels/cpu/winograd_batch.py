"""Winograd convolution of layers with many channels and few pixels: the whole batch at once.

Their transformed filters are larger than the caches, and one block's few tiles would read all of them.  Here the tiles
of all blocks are transformed first.  Then a thread takes a few output channels at a time: it transforms their filters
into its cache, multiplies them with all tiles, and transforms the results back, so that transformed filters (or, for
the weight gradient, sums of products) never go through memory.
"""

from .cooktoom import transforms, transposed
from .lowering import ceil_div
from .native import Pointer, kernel
from .panel import choose_tile, make_panel, tiles_along_vectors
from .target import LANES
from .tile import product
from .turn import turned
from .vector import at
from .winograd_transform import TAPS, Grid, plane_size, reader, transform_filter, weights_writer, writer

#: Output channels whose filters are transformed together.
CHANNELS = LANES


@kernel
def transform_batch(T, m, gradients):
    """Transformed tiles of a block's input or output gradient: [plane][tile of the batch][vectors]; a tile a unit."""
    matrices = transforms(m, TAPS)
    read = reader(transposed(matrices.outputs) if gradients else matrices.inputs)

    def loop(
        begin, end, block: int, first: int, x: Pointer, v: Pointer,
        height: int, width: int, pad_h: int, pad_w: int, pixel: int, tiles: int, tiles_w: int, plane: int,
    ):  # fmt: skip
        for t in range(begin, end):
            i, j = t // tiles_w * m - pad_h, t % tiles_w * m - pad_w
            read(x, i, j, height, width, pixel, 0, pixel, at(v, (block * tiles + t) * pixel), plane)

    return loop


@kernel
def multiply_batch(T, m, transposed, rows, vectors, activation, bias):
    """Outputs of all blocks from their transformed tiles; a unit is ``CHANNELS`` output channels.

    w (line, inputs, 3, 3); a line is an output channel or, ``transposed``, one that is summed.
    """
    planes = (m + TAPS - 1) ** 2
    transform, write = transform_filter(m, transposed), writer(m, True, activation, bias)
    panel = make_panel(True, rows, vectors, CHANNELS % rows)

    def loop(
        begin, end, block: int, first: int, v: Pointer, w: Pointer, b: Pointer, y: Pointer, u: Pointer, p: Pointer,
        out_h: int, out_w: int, depth: int, outputs: int, blocks: int, y_block: int, tiles: int, tiles_w: int,
        v_plane: int, u_plane: int, u_line: int, p_plane: int,
    ):  # fmt: skip
        u_depth, u_row = (u_line, 1) if transposed else (1, u_line)
        p_pixel, y_pixel = CHANNELS * LANES, outputs * LANES
        lines, inputs, row = (depth, CHANNELS, outputs) if transposed else (CHANNELS, depth, depth)
        for unit in range(begin, end):
            k = unit * CHANNELS
            corner = at(w, (k if transposed else k * row) * TAPS * TAPS)
            for i in range(lines):
                for c in range(0, inputs, LANES):
                    of, to = at(corner, (i * row + c) * TAPS * TAPS), at(u, i * u_line + c)
                    transform(of, inputs - c, to, u_plane)
            for e in range(planes):
                panel(at(v, e * v_plane), at(u, e * u_plane), at(p, e * p_plane), blocks * tiles, (1, 1, 1, depth),
                      (0, 0, 0, LANES), (0, 0, 0, u_depth), depth * LANES, p_pixel, u_row, CHANNELS)  # fmt: skip
            for t in range(blocks * tiles):
                i, j = t % tiles // tiles_w * m, t % tiles % tiles_w * m
                write(at(p, t * p_pixel), p_plane, b, at(y, t // tiles * y_block), i, j, out_h, out_w, y_pixel,
                      k * LANES, (k + CHANNELS) * LANES)  # fmt: skip

    return loop


@kernel
def multiply_gradients(T, m, rows, vectors, row_tail, vector_tail):
    """The weight gradient from transformed tiles of turned inputs and of output gradients; a unit is ``CHANNELS``."""
    side = m + TAPS - 1
    write = weights_writer(m)
    tall = tiles_along_vectors(product, rows, vectors, vector_tail, LANES)
    short = tiles_along_vectors(product, max(row_tail, 1), vectors, vector_tail, LANES)

    def loop(
        begin, end, block: int, first: int, v: Pointer, q: Pointer, w: Pointer, p: Pointer,
        depth: int, inputs: int, outputs: int, tiles: int, v_plane: int, q_plane: int, p_plane: int,
    ):  # fmt: skip
        counts, x_strides, g_strides = (1, 1, tiles, LANES), (0, 0, depth * LANES, depth), (0, 0, outputs * LANES, 1)
        for unit in range(begin, end):
            first_k = unit * CHANNELS
            for e in range(side * side):
                ve, qe, pe = at(v, e * v_plane), at(q, e * q_plane + first_k * LANES), at(p, e * p_plane)
                for k in range(0, CHANNELS, rows):
                    if CHANNELS - k >= rows:
                        tall(ve, at(qe, k * LANES), at(pe, k * depth), depth // LANES, counts, x_strides, g_strides,
                             depth, 0)  # fmt: skip
                    else:
                        short(ve, at(qe, k * LANES), at(pe, k * depth), depth // LANES, counts, x_strides, g_strides,
                              depth, 0)  # fmt: skip
            for k in range(CHANNELS):
                for c in range(0, inputs, LANES):
                    to = at(w, ((first_k + k) * inputs + c) * TAPS * TAPS)
                    write(at(p, k * depth + c), side * p_plane, p_plane, to, inputs - c)

    return loop


# ------------------------------------------------------------------------------------------------ lowering


def correlate(program, m, x, w, bias, y, padding, transposed, activation, flops) -> None:
    """Append the steps of y = x * w; ``transposed``: the input gradient, x being the output's."""
    grid = Grid.of(m, y)
    tiles = grid.tiles * y.blocks
    v = _transformed(program, m, x, grid, padding, gradients=False)
    u_line, u_lines = (CHANNELS, x.channels) if transposed else (ceil_div(x.channels, LANES) * LANES, CHANNELS)
    u_plane, p_plane = plane_size(u_line * u_lines), plane_size(tiles * CHANNELS * LANES)
    work = [program.per_thread(y.dtype, grid.planes * plane) for plane in (u_plane, p_plane)]
    rows, vectors = choose_tile(y.dtype.itemsize, CHANNELS, [(tiles, 1)], x.channels, cut_rows=True)
    step = multiply_batch(
        y.dtype, m=m, transposed=transposed, rows=rows, vectors=vectors, activation=activation, bias=bias is not None
    )
    constants = (
        *y.spatial, x.channels, y.channels, y.blocks, y.stride, grid.tiles, grid.tiles_w, v.elements // grid.planes,
        u_plane, u_line, p_plane,
    )  # fmt: skip
    program.step(step, (v, w, bias or w), (y, *work), constants, y.channels // CHANNELS, whole=True, flops=flops)


def correlate_weights(program, m, g, x, w, padding, flops) -> None:
    """Append the steps of the weight gradient w of output gradient g and input x."""
    grid = Grid.of(m, g)
    outputs, inputs = w.shape[:2]
    depth = ceil_div(inputs, LANES) * LANES
    v = _transformed(program, m, turned(program, x), grid, padding, gradients=False, late=True)
    q = _transformed(program, m, g, grid, (0, 0), gradients=True)
    p_plane = plane_size(CHANNELS * depth)
    work = program.per_thread(x.dtype, grid.planes * p_plane)
    rows, vectors = choose_tile(x.dtype.itemsize, CHANNELS, [(depth // LANES, 1)], grid.tiles * x.batch, cut_rows=True)
    step = multiply_gradients(
        x.dtype, m=m, rows=rows, vectors=vectors, row_tail=CHANNELS % rows, vector_tail=depth // LANES % vectors
    )
    planes = (buffer.elements // grid.planes for buffer in (v, q))
    constants = (depth, inputs, outputs, grid.tiles * x.blocks, *planes, p_plane)
    program.step(step, (v, q), (w, work), constants, outputs // CHANNELS, whole=True, flops=flops)


def _transformed(program, m, x, grid, padding, gradients: bool, late: bool = False):
    """Append the step that transforms the tiles of all blocks; gives where they lie."""
    pixel = x.elements // x.pixels
    plane = plane_size(grid.tiles * x.blocks * pixel)
    v = program.whole(x.dtype, grid.planes * plane)
    constants = (*x.spatial, *padding, pixel, grid.tiles, grid.tiles_w, plane)
    step = transform_batch(x.dtype, m=m, gradients=gradients)
    program.step(step, (x,), (v,), constants, grid.tiles, late=late)
    return v
