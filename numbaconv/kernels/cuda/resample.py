"""y = A x along every spatial dimension, with a sparse matrix A for each: weighted sums of pixels of NHWC values.

Average pooling goes this way forward and backward, and so do all resizes.  A matrix is, for every output position, the
(input position, weight) that it sums; ``tables_of`` writes three of them one after the other.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..convolution import three
from ..cpu.resample import Matrix, transposed
from ..cpu.resample import tables_of as wide_tables_of
from .compiler import INT32, Ints, Pointer, block, kernel
from .intrinsics import block_x, f32, read_if, thread, write_if
from .lowering import Buffer, ceil_div

THREADS = 256


def tables_of(program, matrices: list[Matrix]) -> list[Buffer]:
    """Where each matrix row begins, positions, and weights, of one matrix after the other."""
    starts, positions, weights = wide_tables_of(matrices)
    tables = starts.astype(np.int32), positions.astype(np.int32), weights.astype(np.float32)
    return [program.constant(table) for table in tables]


def constants_of(y: Buffer, line: int, matrices: list[Matrix], inputs: Sequence[int]) -> tuple[int, ...]:
    """What kernels that walk matrices to y from values of the sizes ``inputs`` read besides the tables.

    Elements of y, those of a pixel, three sizes of y, the inputs, and of each matrix the most entries that a row has.
    """
    most = (max(map(len, matrix), default=0) for matrix in matrices)
    return y.elements, line, *map(len, matrices), *inputs, *most


def walk_step(program, made, operands, outputs, matrices: list[Matrix], constants=(), flops: float = 0.0) -> None:
    """Append the launch of a kernel that walks three matrices from NHWC values, the first operand, to the first output.

    Its arguments are operands, starts, positions, weights, outputs, ``constants_of``, constants.
    """
    x, y = operands[0], outputs[0]
    constants = (*constants_of(y, y.channels, matrices, three(x.spatial, 1)), *constants)
    inputs = (*operands, *tables_of(program, matrices))
    program.launch(made, ceil_div(y.elements, THREADS), inputs, outputs, constants, flops)


def place_of(at, line, sizes):
    """Image, plane, row, column and channel of an element of a value [image][plane][row][column][channel]."""
    pixel = at // line
    row = pixel // sizes[2]
    plane = row // sizes[1]
    n = plane // sizes[0]
    return n, plane - n * sizes[0], row - plane * sizes[1], pixel - row * sizes[2], at - pixel * line


def entries_of(inside, starts, at):
    """The entries [begin, end) of a matrix row."""
    return read_if(inside, starts, at), read_if(inside, starts, at + 1)


def one(counts, weights, at):
    """The weight of entries that have none."""
    return f32(1.0)


def walk_of(take, weight_of):
    """A function that takes all entries of an output into a state, in order: plane by plane, row by row.

    ``take(state, operands, counts, index, pixel, weight)`` gives the next state.  Ways of threads never part:
    ``counts`` is whether this thread has such an entry.  ``index`` is where it stands, ``pixel`` which of the image's
    pixels it is.
    """

    def walk(state, operands, at, size, line, tables, sizes):
        starts, positions, weights = tables
        outputs, inputs, most = sizes
        inside = at < size
        n, d, h, w, c = place_of(at, line, outputs)
        d, d_end = entries_of(inside, starts, d)
        h_begin, h_end = entries_of(inside, starts, outputs[0] + h)
        w_begin, w_end = entries_of(inside, starts, outputs[0] + outputs[1] + w)
        image = n * (inputs[0] * inputs[1] * inputs[2])
        for _ in range(most[0]):
            in_plane = inside & (d < d_end)
            plane, plane_weight = read_if(in_plane, positions, d), weight_of(in_plane, weights, d)
            h = h_begin
            for _ in range(most[1]):
                in_row = in_plane & (h < h_end)
                row = plane * inputs[1] + read_if(in_row, positions, h)
                row_weight = plane_weight * weight_of(in_row, weights, h)
                w = w_begin
                for _ in range(most[2]):
                    counts = in_row & (w < w_end)
                    pixel = row * inputs[2] + read_if(counts, positions, w)
                    weight = row_weight * weight_of(counts, weights, w)
                    state = take(state, operands, counts, (image + pixel) * line + c, pixel, weight)
                    w = w + 1
                h = h + 1
            d = d + 1
        return state

    return walk


def _add(total, x, counts, index, pixel, weight):
    return total + read_if(counts, x, index) * weight


def _as_it_is(total):
    return total


def summed(take, finish=_as_it_is):
    """A kernel's function: what ``finish`` makes of the sum by ``take`` of an output's entries, an output a thread.

    ``most`` are the entries of the longest row of each matrix.
    """
    sum_of = walk_of(take, read_if)

    @block(THREADS, 4)
    def loop(
        x: Pointer, starts: INT32, positions: INT32, weights: Pointer, y: Pointer,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        total = sum_of(f32(0.0), x, at, size, line, (starts, positions, weights), (outputs, inputs, most))
        write_if(at < size, y, at, finish(total))

    return loop


@kernel
def resample(T):
    """Weighted sums of pixels."""
    return summed(_add)


def resample_step(program, x: Buffer, y: Buffer, matrices: list[Matrix], backward: bool = False) -> None:
    """Append the step for a matrix a spatial dimension; ``backward``: they lead from y to x, and are transposed."""
    if backward:
        matrices = [transposed(matrix, size) for matrix, size in zip(matrices, y.spatial, strict=True)]
    matrices = [[[(0, 1.0)]]] * (3 - len(matrices)) + matrices
    flops = 2.0 * y.batch * y.channels * math.prod(sum(map(len, matrix)) for matrix in matrices)
    walk_step(program, resample(y.dtype), (x,), (y,), matrices, (), flops)


__all__ = ["constants_of", "one", "place_of", "resample", "resample_step", "tables_of", "walk_of", "walk_step"]
