"""Numbers moved between dimensions: one loop over strides serves every permutation, in any layout."""

import math

from ...ops.rearrange import MOST_DIMENSIONS, runs_of
from .lowering import BATCH, PLAIN, SAME, lowering
from .native import Ints, Pointer, kernel
from .target import LANES
from .vector import load, load_first, store, store_first

OUTER = MOST_DIMENSIONS - 2


@kernel
def move(T, together):
    """y[o, i, j] = x[o . x_strides, i, j]; a unit is an o, places in ``OUTER`` dimensions of sizes ``sizes``.

    ``together``: along j the numbers lie side by side in x and y, and are moved as vectors.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        sizes: Ints(OUTER), x_strides: Ints(OUTER), rows: int, columns: int, x_inner: Ints(2), y_inner: Ints(2),
    ):  # fmt: skip
        whole = columns // LANES * LANES
        for unit in range(begin, end):
            source, rest = 0, unit
            for d in range(OUTER - 1, -1, -1):
                quotient = rest // sizes[d]
                source += (rest - quotient * sizes[d]) * x_strides[d]
                rest = quotient
            target = unit * rows * columns
            for i in range(rows):
                s, t = source + i * x_inner[0], target + i * y_inner[0]
                if together:
                    for j in range(0, whole, LANES):
                        store(y, t + j, load(x, s + j))
                    if whole < columns:
                        store_first(y, t + whole, load_first(x, s + whole, columns - whole), columns - whole)
                else:
                    for j in range(columns):
                        y[t + j * y_inner[1]] = x[s + j * x_inner[1]]

    return loop


def _move(program, x, y, sizes, strides) -> None:
    """Append the step that gives y, of dimensions ``sizes``, what lies ``strides`` apart in x."""
    kept = [(n, s) for n, s in zip(sizes, strides, strict=True) if n != 1]
    kept = [(1, 1)] * (MOST_DIMENSIONS - len(kept)) + kept
    (rows, x_row), (columns, x_column) = kept[-2:]
    outer = kept[:-2]
    together = x_column == 1
    y_inner = (columns, 1)
    if not together and rows > columns:  # the longer loop goes inside
        rows, columns, x_row, x_column, y_inner = columns, rows, x_column, x_row, (1, columns)
    constants = (*(n for n, _ in outer), *(s for _, s in outer), rows, columns, x_row, x_column, *y_inner)
    program.step(move(x.dtype, together=together), (x,), (y,), constants, math.prod(n for n, _ in outer))


def _strides(sizes) -> list[int]:
    """Of an array in C order."""
    return [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]


@lowering("permute", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_permute(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    runs, strides = runs_of(node.attrs["dims"], x.shape), _strides(x.shape)
    _move(program, x, y, [math.prod(x.shape[d] for d in run) for run in runs], [strides[run[-1]] for run in runs])


def _permuted(program, x, y, sizes, names, order) -> None:
    """Append the move of a value whose dimensions ``names`` (a letter each) have ``sizes`` into another ``order``."""
    strides = dict(zip(names, _strides([sizes[name] for name in names]), strict=True))
    _move(program, x, y, [sizes[name] for name in order], [strides[name] for name in order])


@lowering("pixel_shuffle", "pixel_unshuffle", inputs=(SAME,), outputs=(SAME,))
def lower_pixel_shuffle(program, node, inputs, outputs):
    """Letters: images n, channels c, rows h and columns w, rows i and columns j of a square, lanes l."""
    r, shuffle = node.attrs["factor"], node.op.name == "pixel_shuffle"
    few, many = (outputs[0], inputs[0]) if shuffle else (inputs[0], outputs[0])  # channels
    n, c, h, w = few.shape[0], few.channels, *many.spatial
    if few.layout == BATCH:
        channels, pixels = "hwcijl", "hiwjcl"
    else:
        channels, pixels = "ncijhw", "nchiwj"
    sizes = {"n": n, "c": c, "h": h, "w": w, "i": r, "j": r, "l": few.lanes}
    source, target = (channels, pixels) if shuffle else (pixels, channels)
    _permuted(program, inputs[0], outputs[0], sizes, source, target)


@lowering("channel_shuffle", inputs=(SAME,), outputs=(SAME,))
def lower_channel_shuffle(program, node, inputs, outputs):
    x, groups = inputs[0], node.attrs["groups"]
    blocked = x.layout == BATCH
    before, behind = (x.pixels, x.lanes) if blocked else (x.batch, x.pixels)
    sizes = {"b": before, "g": groups, "c": x.channels // groups, "r": behind}
    _permuted(program, x, outputs[0], sizes, "bgcr", "bcgr")
