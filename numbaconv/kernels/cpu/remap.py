"""Pixels put elsewhere: padding, cropping and turning, in any layout.

A map of a dimension is a few *segments*: runs of rows or columns that stay together, or that have no source.  So an
image is copied in blocks as large as possible, whatever a column is: one number in NumPy's order, channels times lanes
in a batch.
"""

import numpy as np

from .compiler import inline
from .geometry import three
from .lowering import BATCH, PLAIN, SAME, lowering
from .native import INT64, Ints, Pointer, kernel
from .runs import add_run, copy_run, fill_run
from .vector import at


@inline
def fill_block(y, value, rows, pitch, count):
    """``rows`` runs of ``count``, ``pitch`` apart."""
    if count > 0:
        for r in range(rows):
            fill_run(at(y, r * pitch), value, count)


@inline
def copy_block(x, x_pitch, y, y_pitch, rows, count):
    for r in range(rows):
        copy_run(at(x, r * x_pitch), at(y, r * y_pitch), count)


@inline
def add_block(x, x_pitch, y, y_pitch, rows, count):
    for r in range(rows):
        add_run(at(x, r * x_pitch), at(y, r * y_pitch), count)


@kernel
def remap(T):
    """A unit is a row of the result; ``planes`` and ``rows`` say where each comes from, -1: from nowhere.

    ``runs``: how many rows there are from each to the end of its segment.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, value: Pointer, planes: INT64, rows: INT64, runs: INT64,
        segments: INT64, y: Pointer, sizes: Ints(3), x_sizes: Ints(3), count: int, column: int,
    ):  # fmt: skip
        pitch, x_pitch = sizes[2] * column, x_sizes[2] * column
        unit = begin
        while unit < end:
            outer, plane, row = unit // (sizes[0] * sizes[1]), unit // sizes[1] % sizes[0], unit % sizes[1]
            n = min(runs[row], end - unit)
            to = at(y, unit * pitch)
            d, h = planes[plane], rows[row]
            if d < 0 or h < 0:
                fill_run(to, value[0], n * pitch)
            else:
                line = at(x, ((outer * x_sizes[0] + d) * x_sizes[1] + h) * x_pitch)
                for s in range(count):
                    start, source, run = segments[3 * s], segments[3 * s + 1], segments[3 * s + 2]
                    if source < 0:
                        fill_block(at(to, start * column), value[0], n, pitch, run * column)
                    else:
                        copy_block(at(line, source * column), x_pitch, at(to, start * column), pitch, n, run * column)
            unit += n

    return loop


@kernel
def remap_grad(T):
    """A unit is a row of the input's gradient, the sum of rows of g.

    ``planes`` and ``rows`` say which: of each plane or row the first place in the list that follows, and the end.
    ``runs``: of rows that are read once, how many there are from each that are read one after the other.  The first
    segment of the first reader is copied, all others are added.
    """

    @inline
    def add_rows(line, g_pitch, to, pitch, n, segments, begin, count, column):
        for s in range(begin, count):
            start, source, run = segments[3 * s], segments[3 * s + 1], segments[3 * s + 2]
            add_block(at(line, start * column), g_pitch, at(to, source * column), pitch, n, run * column)

    def loop(
        begin, end, block: int, first: int, g: Pointer, planes: INT64, rows: INT64, runs: INT64, segments: INT64,
        x: Pointer, sizes: Ints(3), x_sizes: Ints(3), count: int, column: int,
    ):  # fmt: skip
        g_pitch, pitch = sizes[2] * column, x_sizes[2] * column
        unit = begin
        while unit < end:
            outer, plane, row = unit // (x_sizes[0] * x_sizes[1]), unit // x_sizes[1] % x_sizes[0], unit % x_sizes[1]
            n = min(runs[row], end - unit)
            to = at(x, unit * pitch)
            is_first = True
            for i in range(planes[plane], planes[plane + 1]):
                for j in range(rows[row], rows[row + 1]):
                    line = at(g, ((outer * sizes[0] + planes[i]) * sizes[1] + rows[j]) * g_pitch)
                    if is_first:
                        start, low, high = segments[0], segments[1], segments[1] + segments[2]
                        fill_block(to, 0.0, n, pitch, low * column)
                        copy_block(
                            at(line, start * column), g_pitch, at(to, low * column), pitch, n, (high - low) * column
                        )
                        fill_block(at(to, high * column), 0.0, n, pitch, (x_sizes[2] - high) * column)
                        add_rows(line, g_pitch, to, pitch, n, segments, 1, count, column)
                        is_first = False
                    else:
                        add_rows(line, g_pitch, to, pitch, n, segments, 0, count, column)
            if is_first:
                fill_run(to, 0.0, n * pitch)
            unit += n

    return loop


def _segments(map_: tuple[int, ...]) -> list[list[int]]:
    """(first column, its source or -1, columns) of the runs of a map, the longest first."""
    found: list[list[int]] = []
    for i, source in enumerate(map_):
        if found and source == (-1 if found[-1][1] == -1 else sum(found[-1][1:])):
            found[-1][2] += 1
        else:
            found.append([i, source, 1])
    return sorted(found, key=lambda segment: -segment[2])


def _runs(map_: tuple[int, ...]) -> list[int]:
    """How many numbers of a map there are from each to the end of its segment."""
    return [start + run - i for start, _, run in sorted(_segments(map_)) for i in range(start, start + run)]


def _readers(map_: tuple[int, ...], size: int) -> list[list[int]]:
    """Who reads each source."""
    found: list[list[int]] = [[] for _ in range(size)]
    for i, source in enumerate(map_):
        if source >= 0:
            found[source].append(i)
    return found


def _joined(lists: list[list[int]]) -> list[int]:
    """Where each list begins (and ends: where the next one does), and behind that the lists."""
    starts = np.cumsum([len(lists) + 1, *map(len, lists)])
    return [*starts.tolist(), *(i for found in lists for i in found)]


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


def _tables(program, *tables) -> list:
    return [program.constant(np.array(table, np.int64).ravel()) for table in tables]


@lowering("remap", inputs=_layout, outputs=_layout)
def lower_remap(program, node, inputs, outputs):
    (x,), (y,) = inputs, outputs
    maps, sizes, x_sizes, column = _geometry(node, x, y)
    remap_step(program, x, y, maps, (sizes, x_sizes), column, node.attrs["value"])


def remap_step(program, x, y, maps, sizes, column: int, value: float) -> None:
    """Append the step for three maps, where ``sizes`` are y's and x's and -1 stands for ``value``."""
    segments = _segments(maps[2])
    tables = _tables(program, *maps[:2], _runs(maps[1]), segments)
    constants = (*sizes[0], *sizes[1], len(segments), column)
    units = y.elements // max(1, sizes[0][2] * column)
    program.step(remap(x.dtype), (x, program.number(value, x.dtype), *tables), (y,), constants, units)


@lowering("remap_grad", inputs=_layout, outputs=_layout)
def lower_remap_grad(program, node, inputs, outputs):
    (g,), (x,) = inputs, outputs
    maps, sizes, x_sizes, column = _geometry(node, x, g)
    segments = [segment for segment in _segments(maps[2]) if segment[1] >= 0]
    maps = maps if segments else ((), (), ())  # no column is read, and so no row
    planes, rows = (_readers(m, n) for m, n in zip(maps[:2], x_sizes[:2], strict=True))
    # rows of several readers and of none are by themselves
    alone = [found[0] if len(found) == 1 else -2 - i * 2 for i, found in enumerate(rows)]
    tables = _tables(program, _joined(planes), _joined(rows), _runs(tuple(alone)), segments)
    constants = (*sizes, *x_sizes, len(segments), column)
    units = x.elements // max(1, x_sizes[2] * column)
    program.step(remap_grad(x.dtype), (g, *tables), (x,), constants, units)
