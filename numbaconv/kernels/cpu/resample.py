"""y = A x along every spatial dimension, with a sparse matrix A for each: weighted sums of pixels, both layouts alike.

The gradient of any such map is one too, with the matrices transposed: average pooling spreads its gradient like this,
anti-aliased pooling goes this way forward and backward.
"""

import math

import numpy as np

from .compiler import inline
from .geometry import three
from .lowering import Buffer, ceil_div
from .native import FLOAT64, INT64, Ints, Pointer, kernel
from .target import LANES
from .vector import load, load_first, splat, store, store_first

#: A matrix: for every output position the (input position, weight) that it sums.
Matrix = list[list[tuple[int, float]]]


def transposed(matrix: Matrix, columns: int) -> Matrix:
    """The matrix with ``columns`` rows whose row i holds what column i held."""
    found: Matrix = [[] for _ in range(columns)]
    for row, entries in enumerate(matrix):
        for column, weight in entries:
            found[column].append((row, weight))
    return found


#: Vectors of channels that are summed together.
ABREAST = 4


@inline
def row_of(starts, at):
    """The entries [begin, end) of a matrix row."""
    return starts[at], starts[at + 1]


@inline
def rows_of(starts, row, out):
    """The entries of the matrices of planes and of rows, for a row of an image of ``out`` pixels."""
    d = row // out[1]
    return row_of(starts, d), row_of(starts, out[0] + row - d * out[1])


@inline
def piece_of(unit, pieces, piece, line):
    """A unit's row, and the part [begin, end) of a line of channels that it works on."""
    row = unit // pieces
    begin = (unit - row * pieces) * piece
    return row, begin, min(line, begin + piece)


@kernel
def resample(T):
    """Weighted sums of pixels; a unit is (a piece of) a row of outputs.

    ``starts`` says where the entries of each matrix row begin, ``positions`` and ``weights`` are the entries.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, starts: INT64, positions: INT64, weights: FLOAT64, y: Pointer,
        out: Ints(3), size: Ints(3), line: int, pieces: int, piece: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            row, c_begin, c_end = piece_of(unit, pieces, piece, line)
            (d_begin, d_end), (h_begin, h_end) = rows_of(starts, row, out)
            for ow in range(out[2]):
                w_begin, w_end = row_of(starts, out[0] + out[1] + ow)
                to = (row * out[2] + ow) * line
                c = c_begin
                if (d_end - d_begin) * (h_end - h_begin) * (w_end - w_begin) == 1:
                    pixel = (positions[d_begin] * size[1] + positions[h_begin]) * size[2] + positions[w_begin]
                    weight = weights[d_begin] * weights[h_begin] * weights[w_begin]
                    while c + LANES <= c_end:
                        store(y, to + c, load(x, pixel * line + c) * weight)
                        c += LANES
                while c + ABREAST * LANES <= c_end:
                    t0 = splat(x, 0.0)
                    t1, t2, t3 = t0, t0, t0
                    for d in range(d_begin, d_end):
                        for h in range(h_begin, h_end):
                            pixel = (positions[d] * size[1] + positions[h]) * size[2]
                            weight = weights[d] * weights[h]
                            for w in range(w_begin, w_end):
                                at = (pixel + positions[w]) * line + c
                                factor = splat(x, weight * weights[w])
                                t0 = t0 + load(x, at) * factor
                                t1 = t1 + load(x, at + LANES) * factor
                                t2 = t2 + load(x, at + 2 * LANES) * factor
                                t3 = t3 + load(x, at + 3 * LANES) * factor
                    store(y, to + c, t0)
                    store(y, to + c + LANES, t1)
                    store(y, to + c + 2 * LANES, t2)
                    store(y, to + c + 3 * LANES, t3)
                    c += ABREAST * LANES
                while c < c_end:
                    left = c_end - c
                    total = splat(x, 0.0)
                    for d in range(d_begin, d_end):
                        for h in range(h_begin, h_end):
                            pixel = (positions[d] * size[1] + positions[h]) * size[2]
                            weight = weights[d] * weights[h]
                            for w in range(w_begin, w_end):
                                v = load_first(x, (pixel + positions[w]) * line + c, left)
                                total = total + v * (weight * weights[w])
                    store_first(y, to + c, total, left)
                    c += LANES

    return loop


#: Units of few outputs are cut into pieces of channels, such that threads have something to share.
LEAST_UNITS = 8


def pieces_of(line: int, rows: int, vectors: int) -> tuple[int, int]:
    """Pieces of a line of channels for each of so many rows, and their length, a multiple of so many vectors."""
    wanted = max(1, LEAST_UNITS // max(rows, 1))
    piece = max(1, ceil_div(line, wanted * vectors * LANES)) * vectors * LANES
    return max(1, ceil_div(line, piece)), piece


def tables_of(matrices: list[Matrix]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each matrix row begins, positions, and weights, of one matrix after the other."""
    rows = [entries for matrix in matrices for entries in matrix]
    starts = np.cumsum([0, *map(len, rows)])
    entries = [entry for row in rows for entry in row] or [(0, 0.0)]  # no table is empty
    return starts, np.array([p for p, _ in entries], np.int64), np.array([w for _, w in entries], np.float64)


def resample_step(program, x: Buffer, y: Buffer, matrices: list[Matrix], backward: bool = False) -> None:
    """Append the step for a matrix a spatial dimension; ``backward``: they lead from y to x, and are transposed."""
    if backward:
        matrices = [transposed(matrix, size) for matrix, size in zip(matrices, y.spatial, strict=True)]
    matrices = [[[(0, 1.0)]]] * (3 - len(matrices)) + matrices
    line = x.channels * x.lanes
    out = tuple(map(len, matrices))
    pieces, piece = pieces_of(line, out[0] * out[1], ABREAST)
    operands = (x, *(program.constant(table) for table in tables_of(matrices)))
    constants = (*out, *three(x.spatial, 1), line, pieces, piece)
    flops = 2.0 * line * y.blocks * math.prod(sum(map(len, matrix)) for matrix in matrices)
    program.step(resample(y.dtype), operands, (y,), constants, out[0] * out[1] * pieces, flops=flops)
