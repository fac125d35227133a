"""Dropout: the mask is a function of key, node and the unit's number in NumPy's order, whatever the layout."""

import math

import numpy as np

from .compiler import INT64, Pointer, block, kernel
from .counter import stream_of, word_at
from .intrinsics import block_x, i64, read_if, read_wide, thread, where, write_if
from .lowering import BATCH, PLAIN, SAME, ceil_div, lowering

THREADS = 256


@kernel
def dropout(T):
    """y = x * scale + shift where the unit is kept, else ``lost``; an element of [image][row][column] a thread.

    ``by_image``, ``by_row``, ``by_column``: what these add to the number of the unit that is kept or dropped.
    """

    @block(THREADS, 4)
    def loop(
        x: Pointer, key: INT64, threshold: INT64, y: Pointer, size: int, rows: int, columns: int,
        by_image: int, by_row: int, by_column: int, salt: int, scale: float, shift: float, lost: float,
    ):  # fmt: skip
        i = block_x() * THREADS + thread()
        inside = i < size
        line = i // columns
        image = line // rows
        number = image * by_image + (line - image * rows) * by_row + (i - line * columns) * by_column
        stream = stream_of(read_wide(key, 0), read_wide(key, 1), i64(salt))
        kept = word_at(stream, i64(number)) >= read_wide(threshold, 0)
        v = read_if(inside, x, i)
        write_if(inside, y, i, where(kept, v * scale + shift, 0.0 * v + lost))

    return loop


@lowering("dropout", inputs=(SAME, PLAIN), outputs=(SAME,))
def lower_dropout(program, node, inputs, outputs):
    (x, key), (y,) = inputs, outputs
    attrs, rank = node.attrs, len(x.shape)
    leading = attrs["leading"]
    if x.layout == BATCH:
        rows, columns = x.pixels, x.channels
        every = (columns * rows, 1, rows)
        steps = every if leading == rank else {0: (0, 0, 0), 1: (1, 0, 0), 2: (columns, 0, 1)}[leading]
    else:  # NumPy's order is the order of units
        rows, columns = math.prod(x.shape[:leading]), math.prod(x.shape[leading:])
        steps = (0, int(leading > 0), 0)
    threshold = program.constant(np.array([round(attrs["p"] * 2**32)]))
    numbers = (float(attrs[name]) for name in ("scale", "shift", "lost"))
    constants = (x.elements, max(rows, 1), max(columns, 1), *steps, attrs["salt"], *numbers)
    program.launch(dropout(y.dtype), ceil_div(x.elements, THREADS), (x, key, threshold), outputs, constants)
