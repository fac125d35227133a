"""Dropout: the mask is a function of key, node and the unit's number in NumPy's order, whatever the layout."""

import math

from .counter import stream_of, word_at
from .lowering import BATCH, PLAIN, SAME, lowering
from .native import INT64, Ints, Pointer, kernel


@kernel
def dropout(T):
    """y = x * scale + shift where the unit is kept, else ``lost``; a unit of the loop is a row of columns of lanes.

    ``steps``: what an image, a row and a column further add to the number of the unit that is kept or dropped.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, key: INT64, y: Pointer,
        columns: int, lanes: int, steps: Ints(3), salt: int, threshold: int, scale: float, shift: float, lost: float,
    ):  # fmt: skip
        stream = stream_of(key[0], key[1], salt)
        by_image, by_row, by_column = steps
        for row in range(begin, end):
            for column in range(columns):
                for lane in range(lanes):
                    number = (block * lanes + lane) * by_image + row * by_row + column * by_column
                    i = (row * columns + column) * lanes + lane
                    # threshold is p * 2^32
                    kept = word_at(stream, number) >= threshold
                    y[i] = x[i] * scale + shift if kept else 0.0 * x[i] + lost

    return loop


@lowering("dropout", inputs=(SAME, PLAIN), outputs=(SAME,))
def lower_dropout(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    attrs = node.attrs
    leading, rank = attrs["leading"], len(x.shape)
    if x.layout == BATCH:
        rows, columns, lanes = x.pixels, x.channels, x.lanes
        if leading == rank:
            steps = (columns * rows, 1, rows)
        else:
            steps = {0: (0, 0, 0), 1: (1, 0, 0), 2: (columns, 0, 1)}[leading]
    elif leading in (0, rank):  # NumPy's order is the order of units
        rows, columns, lanes = x.elements, 1, 1
        steps = (0, int(leading > 0), 0)
    else:
        rows, columns, lanes = math.prod(x.shape[:leading]), math.prod(x.shape[leading:]), 1
        steps = (0, 1, 0)
    constants = (
        columns, lanes, *steps, attrs["salt"], round(attrs["p"] * 2**32), attrs["scale"], attrs["shift"], attrs["lost"],
    )  # fmt: skip
    program.step(dropout(y.dtype), inputs, outputs, constants, rows)
