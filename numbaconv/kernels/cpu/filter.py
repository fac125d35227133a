"""How convolutions read a filter: the strides of its layouts.

With images in lanes a filter (out, in / groups, ...) lies as [out][taps][in].  With channels in lanes it lies in
vectors of output channels, [out / 16][taps][in][16], so that a register tile reads it from front to back; in the
filters of groups, which may begin within a vector, they follow each other: [taps][in][out].  For input gradients in and
out change places.  Vectors are padded.
"""

import math
from typing import NamedTuple

from .geometry import three
from .lowering import Buffer, ceil_div
from .target import LANES


class FilterStrides(NamedTuple):
    """Elements between planes, rows and columns of taps, channels that are summed, channels of the result, groups.

    With channels in lanes, vectors of channels of the result.
    """

    plane: int
    row: int
    column: int
    depth: int
    output: int
    group: int


def filter_strides(w: Buffer, lanes: int, groups: int = 1, transposed: bool = False) -> FilterStrides:
    """The strides of ``w``; ``transposed`` exchanges the roles of out and in (input gradient)."""
    outputs, inputs = w.shape[:2]
    _, height, width = three(w.shape[2:], 1)
    taps = math.prod(w.shape[2:])
    per_group = outputs // groups
    if lanes > 1:
        column, group = inputs, per_group * taps * inputs
        depth, output = (taps * inputs, 1) if transposed else (1, taps * inputs)
    else:
        summed = outputs if transposed else inputs
        if groups == 1:
            depth, column, group = LANES, summed * LANES, 0
            output = taps * column
        else:
            depth, output = ceil_div(inputs if transposed else outputs, LANES) * LANES, LANES
            column, group = summed * depth, per_group * depth if transposed else per_group
    return FilterStrides(height * width * column, width * column, column, depth, output, group)
