"""Resampling: weighted sums over tables of taps, one for each spatial dimension; the gradient reads them transposed."""

import math

import numpy as np

from ...ops.resize import taps
from .geometry import three
from .lowering import BATCH, lowering
from .native import INT64, Ints, Pointer, kernel
from .target import LANES
from .vector import load, load_first, splat, store, store_first

WIDE = 4  # vectors of channels that are summed at a time


@kernel
def weighted_sums(T):
    """y[d, h, w] = sum of taps' weights times x[tap]; a unit is a row of results.

    ``starts``: for each place along the depth, then height, then width, its first tap; ``places`` and ``weights`` are
    the taps'.  ``line`` numbers (channels x lanes) a pixel.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, starts: INT64, places: INT64, weights: Pointer, y: Pointer,
        sizes: Ints(3), source: Ints(3), line: int,
    ):  # fmt: skip
        rows_at, columns_at = sizes[0] + 1, sizes[0] + sizes[1] + 2
        x_row = source[2] * line
        whole = line // (WIDE * LANES) * WIDE * LANES
        for unit in range(begin, end):
            d = unit // sizes[1]
            h = rows_at + unit - d * sizes[1]
            for w in range(columns_at, columns_at + sizes[2]):
                to = (unit * sizes[2] + w - columns_at) * line
                c = 0
                while c < whole:
                    a0 = a1 = a2 = a3 = splat(x, 0.0)
                    for i in range(starts[d], starts[d + 1]):
                        for j in range(starts[h], starts[h + 1]):
                            row = (places[i] * source[1] + places[j]) * x_row + c
                            factor = weights[i] * weights[j]
                            for k in range(starts[w], starts[w + 1]):
                                at, weight = row + places[k] * line, factor * weights[k]
                                a0 = a0 + load(x, at) * weight
                                a1 = a1 + load(x, at + LANES) * weight
                                a2 = a2 + load(x, at + 2 * LANES) * weight
                                a3 = a3 + load(x, at + 3 * LANES) * weight
                    store(y, to + c, a0)
                    store(y, to + c + LANES, a1)
                    store(y, to + c + 2 * LANES, a2)
                    store(y, to + c + 3 * LANES, a3)
                    c += WIDE * LANES
                while c < line:
                    a0 = splat(x, 0.0)
                    for i in range(starts[d], starts[d + 1]):
                        for j in range(starts[h], starts[h + 1]):
                            row = (places[i] * source[1] + places[j]) * x_row + c
                            factor = weights[i] * weights[j]
                            for k in range(starts[w], starts[w + 1]):
                                a0 = a0 + load_first(x, row + places[k] * line, line - c) * (factor * weights[k])
                    store_first(y, to + c, a0, line - c)
                    c += LANES

    return loop


@lowering("resample", "resample_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_resample(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    attrs, backward = node.attrs, node.op.name == "resample_grad"
    small, large = (y, x) if backward else (x, y)  # the function's input and its result
    tables = [[[(0, 1.0)]]] * (3 - len(x.spatial))
    for size, output, scale in zip(small.spatial, large.spatial, attrs["scales"], strict=True):
        table = taps(attrs["mode"], size, output, scale, attrs["align_corners"], attrs["antialias"])
        tables.append(_transposed(table, size) if backward else table)
    counts = [[0, *(len(row) for row in table)] for table in tables]
    ends, base = [], 0
    for count in counts:
        ends.append(base + np.cumsum(count))
        base = ends[-1][-1]
    pairs = [pair for table in tables for row in table for pair in row]
    operands = (
        x,
        program.constant(np.concatenate(ends).astype(np.int64)),
        program.constant(np.array([place for place, _ in pairs], np.int64)),
        program.constant(np.array([weight for _, weight in pairs], x.dtype)),
    )
    constants = (*three(y.spatial, 1), *three(x.spatial, 1), x.channels * x.lanes)
    units = math.prod(constants[:2])
    flops = 2.0 * x.elements * x.blocks * math.prod(sum(map(len, table)) for table in tables) / x.pixels
    program.step(weighted_sums(x.dtype), operands, outputs, constants, units, flops=flops)


def _transposed(table, size: int):
    """For each input the outputs it belongs to."""
    found: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for output, row in enumerate(table):
        for place, weight in row:
            found[place].append((output, weight))
    return found
