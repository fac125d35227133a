"""Joining and cutting along a dimension: runs of numbers copied, in any layout."""

import math

from .compiler import Pointer, block, kernel
from .intrinsics import block_x, read_if, thread, write_if
from .lowering import BATCH, PLAIN, SAME, ceil_div, lowering, shared_layout

THREADS = 256


@kernel
def copy_runs(T):
    """``run`` elements of each row; rows lie ``x_row`` and ``y_row`` apart; an element a thread."""

    @block(THREADS, 8)
    def loop(x: Pointer, y: Pointer, n: int, run: int, x_first: int, x_row: int, y_first: int, y_row: int):
        i = block_x() * THREADS + thread()
        row = i // run
        k = i - row * run
        write_if(i < n, y, y_first + row * y_row + k, read_if(i < n, x, x_first + row * x_row + k))

    return loop


def _layout(node):
    """Channels and pixels are joined within an image, batches in NumPy's order."""
    return (PLAIN,) if node.attrs["dim"] == 0 else (SAME,)


def _rows(shape: tuple[int, ...], dim: int, layout: str) -> tuple[int, int]:
    """How often the elements of ``dim`` come in a value, and how many lie together."""
    if layout == BATCH:  # [batch][spatial][channels]
        shape = (shape[0], *shape[2:], shape[1])
        dim = len(shape) - 1 if dim == 1 else dim - 1 if dim else 0
    return math.prod(shape[:dim]), math.prod(shape[dim:])


@lowering("concat", inputs=_layout, outputs=_layout)
def lower_concat(program, node, inputs, outputs):
    (y,), dim, layout = outputs, node.attrs["dim"], shared_layout(*inputs, *outputs)
    _, y_row = _rows(y.shape, dim, layout)
    start = 0
    for x in inputs:
        rows, run = _rows(x.shape, dim, layout)
        _copy(program, x, y, rows, run, (0, run, start, y_row))
        start += run


@lowering("split", inputs=_layout, outputs=_layout)
def lower_split(program, node, inputs, outputs):
    (x,), dim, layout = inputs, node.attrs["dim"], shared_layout(*inputs, *outputs)
    _, x_row = _rows(x.shape, dim, layout)
    start = 0
    for y in outputs:
        rows, run = _rows(y.shape, dim, layout)
        _copy(program, x, y, rows, run, (start, x_row, 0, run))
        start += run


def _copy(program, x, y, rows: int, run: int, places) -> None:
    n = rows * run
    program.launch(copy_runs(x.dtype), ceil_div(n, THREADS), (x,), (y,), (n, max(run, 1), *places))
