"""Dropout: the mask is a function of key, node and the unit's number in NumPy's order, whatever the layout."""

import math

from .counter import STEP, state_at, stream_of, word_of
from .lowering import BATCH, PLAIN, SAME, ceil_div, lowering
from .native import INT64, Ints, Pointer, kernel

#: Elements of a unit of the loop where there are no lanes.
RUN = 1024


@kernel
def dropout(T):
    """y = x * scale + shift where the unit is kept, else ``lost``; a unit of the loop is a row of columns of lanes.

    ``steps``: what an image, a row and a column further add to the number of the unit that is kept or dropped.
    """

    number = T.type

    def loop(
        begin, end, block: int, first: int, x: Pointer, key: INT64, y: Pointer, elements: int,
        columns: int, lanes: int, steps: Ints(3), salt: int, threshold: int, scale: float, shift: float, lost: float,
    ):  # fmt: skip
        stream = stream_of(key[0], key[1], salt)
        by_image, by_row, by_column = steps
        factor, kept, dropped = number(scale), number(shift), number(lost)
        for row in range(begin, end):
            for column in range(columns):
                start = (row * columns + column) * lanes
                state = state_at(stream, block * lanes * by_image + row * by_row + column * by_column)
                for lane in range(min(lanes, elements - start)):
                    v = x[start + lane]
                    # threshold is p * 2^32
                    y[start + lane] = v * factor + kept if word_of(state) >= threshold else v * number(0.0) + dropped
                    state += by_image * STEP

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
        rows, columns, lanes = ceil_div(x.elements, RUN), 1, RUN
        steps = (int(leading > 0), RUN * int(leading > 0), 0)
    else:
        rows, columns, lanes = math.prod(x.shape[:leading]), 1, math.prod(x.shape[leading:])
        steps = (0, 1, 0)
    constants = (
        x.elements, columns, lanes, *steps, attrs["salt"], round(attrs["p"] * 2**32),
        attrs["scale"], attrs["shift"], attrs["lost"],
    )  # fmt: skip
    program.step(dropout(y.dtype), inputs, outputs, constants, rows)
