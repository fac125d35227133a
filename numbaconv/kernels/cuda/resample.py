"""y = A x along every spatial dimension, with a sparse matrix A for each: weighted sums of pixels of NHWC values.

Average pooling goes this way forward and backward, and so do all resizes.  A matrix is, for every output position, the
(input position, weight) that it sums; ``tables_of`` writes three of them one after the other.
"""

import math

import numpy as np

from ..cpu.geometry import three
from ..cpu.resample import Matrix, transposed
from ..cpu.resample import tables_of as wide_tables_of
from .compiler import INT32, Pointer, block, kernel
from .intrinsics import block_x, f32, read_if, thread, write_if
from .lowering import Buffer, ceil_div

THREADS = 256


def tables_of(program, matrices: list[Matrix]) -> list[Buffer]:
    """Where each matrix row begins, positions, and weights, of one matrix after the other."""
    starts, positions, weights = wide_tables_of(matrices)
    tables = starts.astype(np.int32), positions.astype(np.int32), weights.astype(np.float32)
    return [program.constant(table) for table in tables]


def most_of(matrices: list[Matrix]) -> tuple[int, ...]:
    """Of each matrix, the most entries that a row has."""
    return tuple(max(map(len, matrix), default=0) for matrix in matrices)


def constants_of(x: Buffer, y: Buffer, matrices: list[Matrix]) -> tuple[int, ...]:
    """What kernels that walk the matrices from x to y read besides the tables."""
    return y.elements, y.channels, *map(len, matrices), *three(x.spatial, 1), *most_of(matrices)


def place_of(at, line, out_d, out_h, out_w):
    """Image, plane, row, column and channel of an element of a value [image][plane][row][column][channel]."""
    pixel = at // line
    c = at - pixel * line
    row = pixel // out_w
    w = pixel - row * out_w
    plane = row // out_h
    h = row - plane * out_h
    n = plane // out_d
    return n, plane - n * out_d, h, w, c


def entries_of(inside, starts, at):
    """The entries [begin, end) of a matrix row."""
    return read_if(inside, starts, at), read_if(inside, starts, at + 1)


def one(counts, weights, at):
    """The weight of entries that have none."""
    return f32(1.0)


def walk_of(take, weight_of):
    """A function that takes all entries of an output into a state, in order: plane by plane, row by row.

    ``take(state, operands, counts, pixel, weight)`` gives the next state.  Ways of threads never part: ``counts`` is
    whether this thread has such an entry.  ``pixel`` is counted through all images.
    """

    def walk(state, operands, inside, output, tables, outputs, inputs, most):
        n, od, oh, ow = output
        starts, positions, weights = tables
        d, d_end = entries_of(inside, starts, od)
        h_begin, h_end = entries_of(inside, starts, outputs[0] + oh)
        w_begin, w_end = entries_of(inside, starts, outputs[0] + outputs[1] + ow)
        for _ in range(most[0]):
            in_plane = inside & (d < d_end)
            plane, plane_weight = n * inputs[0] + read_if(in_plane, positions, d), weight_of(in_plane, weights, d)
            h = h_begin
            for _ in range(most[1]):
                in_row = in_plane & (h < h_end)
                row = plane * inputs[1] + read_if(in_row, positions, h)
                row_weight = plane_weight * weight_of(in_row, weights, h)
                w = w_begin
                for _ in range(most[2]):
                    counts = in_row & (w < w_end)
                    pixel = row * inputs[2] + read_if(counts, positions, w)
                    state = take(state, operands, counts, pixel, row_weight * weight_of(counts, weights, w))
                    w = w + 1
                h = h + 1
            d = d + 1
        return state

    return walk


def _add(total, operands, counts, pixel, weight):
    x, line, c = operands
    return total + read_if(counts, x, pixel * line + c) * weight


@kernel
def resample(T):
    """Weighted sums of pixels, an output a thread.  ``most`` are the entries of the longest row of each matrix."""
    sum_of = walk_of(_add, read_if)

    @block(THREADS, 4)
    def loop(
        x: Pointer, starts: INT32, positions: INT32, weights: Pointer, y: Pointer,
        size: int, line: int, out_d: int, out_h: int, out_w: int, in_d: int, in_h: int, in_w: int,
        most_d: int, most_h: int, most_w: int,
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        inside = at < size
        n, od, oh, ow, c = place_of(at, line, out_d, out_h, out_w)
        total = sum_of(
            f32(0.0), (x, line, c), inside, (n, od, oh, ow), (starts, positions, weights),
            (out_d, out_h), (in_d, in_h, in_w), (most_d, most_h, most_w),
        )  # fmt: skip
        write_if(inside, y, at, total)

    return loop


def resample_step(program, x: Buffer, y: Buffer, matrices: list[Matrix], backward: bool = False) -> None:
    """Append the step for a matrix a spatial dimension; ``backward``: they lead from y to x, and are transposed."""
    if backward:
        matrices = [transposed(matrix, size) for matrix, size in zip(matrices, y.spatial, strict=True)]
    matrices = [[[(0, 1.0)]]] * (3 - len(matrices)) + matrices
    flops = 2.0 * y.batch * y.channels * math.prod(sum(map(len, matrix)) for matrix in matrices)
    operands, constants = (x, *tables_of(program, matrices)), constants_of(x, y, matrices)
    program.launch(resample(y.dtype), ceil_div(y.elements, THREADS), operands, (y,), constants, flops)


__all__ = ["constants_of", "one", "place_of", "resample_step", "tables_of", "walk_of"]
