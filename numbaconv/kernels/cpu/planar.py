"""Convolution of a lone image to few channels: pixels in lanes.

With channels in lanes, as lone images are otherwise, the 6 channels of LeNet-5's first layer would fill 6 of 16 lanes,
and each pixel be a store of its own.  Here the lanes hold neighbouring pixels of a row; a finished row is turned into
pixels of channels, which is the order of all lone images.
"""

from .activation import ACTIVATIONS
from .algorithm import FORWARD, SPECIAL, Convolution, Offer, algorithm
from .compiler import inline
from .filter import laid_out
from .frame import padded
from .geometry import ceil_div
from .lowering import Buffer
from .native import Ints, Pointer, kernel
from .shape import swap
from .target import LANES
from .tile import product, tiles_for
from .vector import at, deal, load, store

#: Making the planes of more input channels, which lie pixel by pixel in a lone image, would cost more than they save.
MOST_INPUTS = 4

#: Of pixels in a register tile.
VECTORS = 2


@kernel
def correlate_planes(T, outputs, activation, bias):
    """Rows of output pixels, at least a vector long; a unit is one row.

    Sizes: planes, rows, columns of the output.  Strides of the input: plane, row of the result; plane, row, column of
    the filter, channel.  Of the filter: plane, row, column, channel; outputs follow each other.
    """
    tile, turn = product(outputs, VECTORS), deal(outputs)
    act = ACTIVATIONS[activation] if activation else None

    @inline
    def finish(line, b, y, width, pitch):
        """Bias and activation of a row in lanes, and the row turned."""
        for j in range(0, width, LANES):
            for k in range(outputs):
                v = load(line, k * pitch + j)
                if bias:
                    v = v + b[k]
                if activation:
                    v = act(v)
                store(line, k * pitch + j, v)
            turn(at(line, j), pitch, at(y, min(j, width - LANES) * outputs))

    def loop(
        begin, end, block: int, first: int, x: Pointer, w: Pointer, b: Pointer, y: Pointer, line: Pointer,
        sizes: Ints(3), moves: Ints(2), counts: Ints(4), xs: Ints(4), ws: Ints(4),
    ):  # fmt: skip
        width = sizes[2]
        pitch = ceil_div(width, VECTORS * LANES) * VECTORS * LANES
        for unit in range(begin, end):
            row = at(x, unit // sizes[1] * moves[0] + unit % sizes[1] * moves[1])
            for j in range(0, width, VECTORS * LANES):
                # a vector that would pass the row's end begins earlier, and repeats pixels
                left, right = min(j, width - LANES), min(j + LANES, width - LANES)
                tile(w, at(row, left), at(line, j), counts, ws, xs, 1, right - left, pitch, LANES, 0)
            finish(line, b, at(y, unit * width * outputs), width, pitch)

    return loop


@algorithm(FORWARD, name="direct", rank=SPECIAL)
def offer_planes(c: Convolution) -> Offer:
    most = max(rows for rows, vectors in tiles_for(c.y.dtype.itemsize) if vectors == VECTORS)
    few = c.x.channels <= MOST_INPUTS and c.y.channels <= most
    if c.y.lanes > 1 or c.groups > 1 or not few or c.stride[2] > 1 or c.sizes[0][2] < LANES:
        return None
    return lambda: _correlate(c)


def _correlate(c: Convolution) -> None:
    """Append the steps of a forward pass."""
    x, dimensions = padded(c) if c.has_padding else (c.x, c.dimensions)
    outer, inner = ([d[i] for d in dimensions] for i in range(2))
    plane, row = inner[1] * inner[2], inner[2]
    if c.x.channels > 1:
        x = _planes(c, x, inner[0] * plane)
    w, ws = laid_out(c.program, c.w, c.y.lanes)
    kernel_ = correlate_planes(c.y.dtype, outputs=c.y.channels, activation=c.activation, bias=c.bias is not None)
    vectors = ceil_div(outer[2], VECTORS * LANES) * VECTORS
    line = c.program.per_thread(c.y.dtype, c.y.channels * vectors * LANES)
    constants = (
        *outer, c.stride[0] * plane, c.stride[1] * row, *c.filter_size, c.x.channels,
        c.dilation[0] * plane, c.dilation[1] * row, c.dilation[2], inner[0] * plane, *ws[:4],
    )  # fmt: skip
    # Without a bias the operand is still there, and not read.
    c.program.step(kernel_, (x, w, c.bias or w), (c.y, line), constants, outer[0] * outer[1], flops=c.flops)


def _planes(c: Convolution, x: Buffer, pixels: int) -> Buffer:
    """Append the step that turns pixels of channels into planes."""
    planes = c.program.per_block(c.x, pixels * c.x.channels)
    c.program.step(swap(c.x.dtype), (x,), (planes,), (pixels, c.x.channels, 1), pixels)
    return planes
