"""Numbers moved between dimensions: one loop over strides serves every permutation, in any layout."""

import math

from ...ops.rearrange import MOST_DIMENSIONS
from ..rearrange import permutation, reordered, strides_of
from .lowering import BATCH, PLAIN, SAME, lowering
from .native import Ints, Pointer, kernel
from .runs import copy_run
from .target import LANES
from .vector import at, deal

OUTER = MOST_DIMENSIONS - 1

#: Units that keep all threads busy.
LEAST_UNITS = 64


#: So many rows of numbers are dealt out in turn as vectors.
MOST_DEALT = 4


@kernel
def move(T, together, dealt):
    """y[o, i, j, k] = x[o, i, j, k] with any strides; a unit is an o, a place in ``OUTER`` dimensions.

    ``together``: along k the numbers lie side by side in x and y, and are moved as vectors.  ``dealt``, if not 0: the
    number of j; the numbers lie side by side along k in x, and along j in y.
    """
    interleave = deal(dealt) if dealt else None

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        sizes: Ints(OUTER), x_outer: Ints(OUTER), y_outer: Ints(OUTER), inner: Ints(3), x_inner: Ints(3),
        y_inner: Ints(3),
    ):  # fmt: skip
        planes, rows, columns = inner
        for unit in range(begin, end):
            source, target, rest, d = 0, 0, unit, OUTER
            while rest > 0:
                d -= 1
                quotient = rest // sizes[d]
                source += (rest - quotient * sizes[d]) * x_outer[d]
                target += (rest - quotient * sizes[d]) * y_outer[d]
                rest = quotient
            for i in range(planes):
                for j in range(rows):
                    s, t = source + i * x_inner[0] + j * x_inner[1], target + i * y_inner[0] + j * y_inner[1]
                    if together:
                        copy_run(at(x, s), at(y, t), columns)
                    elif dealt and columns >= LANES:
                        k = 0
                        while j == 0 and k < columns:
                            k = min(k, columns - LANES)  # the last vectors overlap their neighbours
                            interleave(at(x, s + k), x_inner[1], at(y, t + k * dealt))
                            k += LANES
                    else:
                        for k in range(columns):
                            y[t + k * y_inner[2]] = x[s + k * x_inner[2]]

    return loop


def _move(program, x, y, sizes, strides) -> None:
    """Append the step that gives y, of dimensions ``sizes``, what lies ``strides`` apart in x."""
    outer = [d for d in zip(sizes, strides, strides_of(sizes), strict=True) if d[0] != 1]
    column = outer.pop() if outer else (1, 1, 1)
    together, dealt = column[1] == 1, 0
    row, plane = (1, 0, 0), (1, 0, 0)
    if outer and not together:
        row = outer.pop()
        if row[0] > column[0]:  # the longer loop goes inside
            row, column = column, row
            dealt = row[0] if column[1] == 1 and row[0] <= MOST_DEALT else 0
    if outer:  # finding a unit's place takes divisions: it is worth some work
        chosen = max(outer, key=lambda d: (min(d[0], LANES), -d[1]))  # a long loop over what lies close together
        if math.prod(n for n, _, _ in outer) >= chosen[0] * LEAST_UNITS:
            outer.remove(chosen)
            plane = chosen
    elif not dealt:
        outer, row = [row], (1, 0, 0)
    outer = [(1, 0, 0)] * (OUTER - len(outer)) + outer
    constants = [d[i] for loops in (outer, (plane, row, column)) for i in range(3) for d in loops]
    units = math.prod(n for n, _, _ in outer)
    program.step(move(x.dtype, together=together, dealt=dealt), (x,), (y,), constants, units)


@lowering("permute", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_permute(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    _move(program, x, y, *permutation(node.attrs["dims"], x.shape))


@lowering("pixel_shuffle", "pixel_unshuffle", inputs=(SAME,), outputs=(SAME,))
def lower_pixel_shuffle(program, node, inputs, outputs):
    """Letters: images n, channels c, rows h and columns w, rows i and columns j of a square, lanes l."""
    r, shuffle = node.attrs["factor"], node.op.name == "pixel_shuffle"
    few, many = (outputs[0], inputs[0]) if shuffle else (inputs[0], outputs[0])  # channels
    h, w = many.spatial
    if few.layout == BATCH:
        channels, pixels = "hwcijl", "hiwjcl"
    else:
        channels, pixels = "ncijhw", "nchiwj"
    sizes = {"n": few.batch, "c": few.channels, "h": h, "w": w, "i": r, "j": r, "l": few.lanes}
    source, target = (channels, pixels) if shuffle else (pixels, channels)
    _move(program, inputs[0], outputs[0], *reordered(sizes, source, target))


@lowering("channel_shuffle", inputs=(SAME,), outputs=(SAME,))
def lower_channel_shuffle(program, node, inputs, outputs):
    x, groups = inputs[0], node.attrs["groups"]
    blocked = x.layout == BATCH
    before, behind = (x.pixels, x.lanes) if blocked else (x.batch, x.pixels)
    sizes = {"b": before, "g": groups, "c": x.channels // groups, "r": behind}
    _move(program, x, outputs[0], *reordered(sizes, "bgcr", "bcgr"))
