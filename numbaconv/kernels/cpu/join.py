"""Joining and cutting along a dimension: runs of numbers copied as vectors, in any layout."""

import math

from .lowering import BATCH, PLAIN, SAME, ceil_div, lowering
from .native import Pointer, kernel
from .runs import copy_run
from .target import LANES
from .vector import at

#: What one unit copies at most: runs are long where the last dimension is joined or cut, or the first.
PIECE = 256 * LANES


@kernel
def copy_runs(T):
    """``run`` elements of each row; rows lie ``x_row`` and ``y_row`` apart.  A unit is a piece of a row."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        run: int, x_first: int, x_row: int, y_first: int, y_row: int, pieces: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            row = unit // pieces
            start = (unit - row * pieces) * PIECE
            count = min(run - start, PIECE)
            source, target = x_first + row * x_row + start, y_first + row * y_row + start
            copy_run(at(x, source), at(y, target), count)

    return loop


def _layout(node):
    """Channels and pixels are joined within a block, batches in NumPy's order."""
    return (PLAIN,) if node.attrs["dim"] == 0 else (SAME,)


def _rows(buffer, dim: int) -> tuple[int, int]:
    """How often the elements of ``dim`` come in one copy of the buffer, and how many lie together."""
    shape = buffer.shape
    sizes: tuple[int, ...] = shape
    if buffer.layout == BATCH:  # [spatial][channels][lanes]
        sizes = (*shape[2:], shape[1], buffer.lanes)
        dim = len(shape) - 2 if dim == 1 else dim - 2
    return math.prod(sizes[:dim]), math.prod(sizes[dim:])


@lowering("concat", inputs=_layout, outputs=_layout)
def lower_concat(program, node, inputs, outputs):
    y = outputs[0]
    rows, y_row = _rows(y, node.attrs["dim"])
    start = 0
    for x in inputs:
        _, run = _rows(x, node.attrs["dim"])
        _copy(program, x, y, rows, run, 0, run, start, y_row)
        start += run


@lowering("split", inputs=_layout, outputs=_layout)
def lower_split(program, node, inputs, outputs):
    x = inputs[0]
    rows, x_row = _rows(x, node.attrs["dim"])
    start = 0
    for y in outputs:
        _, run = _rows(y, node.attrs["dim"])
        _copy(program, x, y, rows, run, start, x_row, 0, run)
        start += run


def _copy(program, x, y, rows: int, run: int, x_first: int, x_row: int, y_first: int, y_row: int) -> None:
    pieces = ceil_div(run, PIECE)
    constants = (run, x_first, x_row, y_first, y_row, max(pieces, 1))
    program.step(copy_runs(x.dtype), (x,), (y,), constants, rows * pieces)
