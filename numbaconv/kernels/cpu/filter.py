"""How convolutions read a filter: the strides of its layouts.

With images in lanes a filter (out, in / groups, ...) lies as [out][taps][in], with channels in lanes as
[taps][in][out] or, for input gradients, [taps][out][in], the last dimension padded to whole vectors.
"""

import math
from typing import NamedTuple

from .geometry import three
from .lowering import Buffer, ceil_div
from .target import LANES


class FilterStrides(NamedTuple):
    """Elements between planes, rows and columns of taps, channels that are summed, channels of the result, groups."""

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
        output = 0
        depth = ceil_div(inputs if transposed else outputs, LANES) * LANES
        column, group = (outputs * depth, per_group * depth) if transposed else (inputs * depth, per_group)
    return FilterStrides(height * width * column, width * column, column, depth, output, group)
