"""Pixels put elsewhere: padding, cropping and turning, in any layout.

A map of columns is a few *segments*: runs of columns that stay together, or that have no source.  So a row is copied
in pieces as long as possible, whatever a column is: one number in NumPy's order, channels times lanes in a batch.
"""

import numpy as np
from numba import njit

from .geometry import three
from .lowering import BATCH, PLAIN, SAME, lowering
from .native import INT64, Ints, Pointer, kernel
from .target import LANES
from .vector import at, load, load_first, splat, store, store_first


@njit(error_model="numpy")
def fill_run(y, value, count):
    """``count`` times ``value``."""
    for i in range(0, count, LANES):
        store_first(y, i, splat(y, value), count - i)


@njit(error_model="numpy")
def copy_run(x, y, count):
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(y, i, load(x, i))
    if whole < count:
        store_first(y, whole, load_first(x, whole, count - whole), count - whole)


@njit(error_model="numpy")
def add_run(x, y, count):
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(y, i, load(y, i) + load(x, i))
    if whole < count:
        left = count - whole
        store_first(y, whole, load_first(y, whole, left) + load_first(x, whole, left), left)


@kernel
def remap(T):
    """A unit is a row of the result; ``planes`` and ``rows`` say where each comes from, -1: from nowhere."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, value: Pointer, planes: INT64, rows: INT64, segments: INT64,
        y: Pointer, sizes: Ints(3), x_sizes: Ints(3), count: int, column: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            outer, plane, row = unit // (sizes[0] * sizes[1]), unit // sizes[1] % sizes[0], unit % sizes[1]
            to = at(y, unit * sizes[2] * column)
            d, h = planes[plane], rows[row]
            if d < 0 or h < 0:
                fill_run(to, value[0], sizes[2] * column)
                continue
            line = at(x, ((outer * x_sizes[0] + d) * x_sizes[1] + h) * x_sizes[2] * column)
            for s in range(count):
                start, source, run = segments[3 * s], segments[3 * s + 1], segments[3 * s + 2]
                if source < 0:
                    fill_run(at(to, start * column), value[0], run * column)
                else:
                    copy_run(at(line, source * column), at(to, start * column), run * column)

    return loop


@kernel
def remap_grad(T):
    """A unit is a row of the input's gradient, the sum of rows of g.

    ``planes`` and ``rows`` say which: of each plane or row the first place in the list that follows, and the end.
    """

    def loop(
        begin, end, block: int, first: int, g: Pointer, planes: INT64, rows: INT64, segments: INT64, x: Pointer,
        sizes: Ints(3), x_sizes: Ints(3), count: int, column: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            outer, plane, row = unit // (x_sizes[0] * x_sizes[1]), unit // x_sizes[1] % x_sizes[0], unit % x_sizes[1]
            to = at(x, unit * x_sizes[2] * column)
            fill_run(to, 0.0, x_sizes[2] * column)
            for i in range(planes[plane], planes[plane + 1]):
                for j in range(rows[row], rows[row + 1]):
                    line = at(g, ((outer * sizes[0] + planes[i]) * sizes[1] + rows[j]) * sizes[2] * column)
                    for s in range(count):
                        start, source, run = segments[3 * s], segments[3 * s + 1], segments[3 * s + 2]
                        if source >= 0:
                            add_run(at(line, start * column), at(to, source * column), run * column)

    return loop


def _segments(map_: tuple[int, ...]) -> np.ndarray:
    """(first column, its source or -1, columns) of the runs of a map."""
    found: list[list[int]] = []
    for i, source in enumerate(map_):
        if found and (source == -1 if found[-1][1] < 0 else source == sum(found[-1][1:])):
            found[-1][2] += 1
        else:
            found.append([i, source, 1])
    return np.array(found, np.int64).ravel()


def _readers(map_: tuple[int, ...], size: int) -> np.ndarray:
    """For each source, where its list begins (and ends: where the next one's does); then the lists of who reads it."""
    lists: list[list[int]] = [[] for _ in range(size)]
    for i, source in enumerate(map_):
        if source >= 0:
            lists[source].append(i)
    starts = np.cumsum([size + 1, *map(len, lists)])
    return np.array([*starts, *(i for found in lists for i in found)], np.int64)


def _layout(node):
    """A batch may stay one if its images alone are moved."""
    rank = node.inputs[0].ndim
    return (SAME if 3 <= rank <= 5 and len(node.attrs["maps"]) <= rank - 2 else PLAIN,)


def _geometry(node, x, y):
    """Three maps, three sizes of y and of x, elements of a column, and rows of y and x in a block (or the whole)."""
    maps, in_batch = node.attrs["maps"], x.layout == BATCH
    count = len(x.shape) - 2 if in_batch else len(maps)
    sizes, x_sizes = (b.shape[len(b.shape) - count :] for b in (y, x))
    identity = tuple(tuple(range(n)) for n in x_sizes[: count - len(maps)])
    maps = three((*identity, *maps), (0,))
    column = x.channels * x.lanes if in_batch else 1
    return maps, three(sizes, 1), three(x_sizes, 1), column


@lowering("remap", inputs=_layout, outputs=_layout)
def lower_remap(program, node, inputs, outputs):
    (x,), (y,) = inputs, outputs
    maps, sizes, x_sizes, column = _geometry(node, x, y)
    segments = _segments(maps[2])
    planes, rows = (np.array(m, np.int64) for m in maps[:2])
    operands = (x, program.number(node.attrs["value"], x.dtype), *map(program.constant, (planes, rows, segments)))
    constants = (*sizes, *x_sizes, len(segments) // 3, column)
    units = y.elements // max(1, sizes[2] * column)
    program.step(remap(x.dtype), operands, (y,), constants, units)


@lowering("remap_grad", inputs=_layout, outputs=_layout)
def lower_remap_grad(program, node, inputs, outputs):
    (g,), (x,) = inputs, outputs
    maps, sizes, x_sizes, column = _geometry(node, x, g)
    segments = _segments(maps[2])
    planes, rows = (_readers(m, n) for m, n in zip(maps[:2], x_sizes[:2], strict=True))
    constants = (*sizes, *x_sizes, len(segments) // 3, column)
    units = x.elements // max(1, x_sizes[2] * column)
    operands = (g, *map(program.constant, (planes, rows, segments)))
    program.step(remap_grad(x.dtype), operands, (x,), constants, units)
