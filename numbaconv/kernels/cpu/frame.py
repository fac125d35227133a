"""A lone image with its padding written out, for convolutions whose rows are a few register tiles long.

At borders ``conv.correlate`` leaves taps out, which costs a row a tile or two of its own.  That is little for long
rows; the deep strided layers of a residual network have rows of 14 and 7 pixels.
"""

from .algorithm import FORWARD, Convolution
from .lowering import Buffer
from .native import Ints, Pointer, kernel
from .target import LANES
from .vector import at, load_first, splat, store_first

#: Channels from which copying a pixel is nothing beside multiplying it.
LEAST_CHANNELS = 32

#: Rows of so many output pixels have their padding written out.
LONGEST_ROW = 32


def worth_padding(c: Convolution) -> bool:
    """Whether the pass reads padding, and its rows are short."""
    lone = c.y.lanes == 1 and c.direction == FORWARD and c.groups == 1 and c.has_padding
    return lone and c.x.channels >= LEAST_CHANNELS and c.sizes[0][2] <= LONGEST_ROW


@kernel
def pad_pixels(T):
    """A unit is a row of the padded image; a dimension is (padded size, size, padding before)."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        planes: Ints(3), heights: Ints(3), widths: Ints(3), channels: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            d, h = unit // heights[0] - planes[2], unit % heights[0] - heights[2]
            outside = not (0 <= d < planes[1] and 0 <= h < heights[1])
            low = 0 if outside else widths[2] * channels
            high = 0 if outside else min(widths[2] + widths[1], widths[0]) * channels
            to, source = at(y, unit * widths[0] * channels), at(x, (d * heights[1] + h) * widths[1] * channels)
            for i in range(0, low, LANES):
                store_first(to, i, splat(x, 0.0), low - i)
            for i in range(0, high - low, LANES):
                store_first(to, low + i, load_first(source, i, high - low - i), high - low - i)
            for i in range(high, widths[0] * channels, LANES):
                store_first(to, i, splat(x, 0.0), widths[0] * channels - i)

    return loop


def padded(c: Convolution) -> tuple[Buffer, list[tuple[int, ...]]]:
    """Append the step that writes the padding out; gives the padded image, and the pass's dimensions on it."""
    dimensions: list[tuple[int, ...]] = []
    frames = []
    for o, i, k, phases, tap_step, step, stride, start, dilation in c.dimensions:
        size = (o - 1) * step + (k - 1) * dilation + 1  # what the pass reads
        frames.append((size, i, -start))
        dimensions.append((o, size, k, phases, tap_step, step, stride, 0, dilation))
    sizes = [size for size, _, _ in frames]
    room = c.program.per_block(c.x, sizes[0] * sizes[1] * sizes[2] * c.x.channels)
    constants = (*(v for frame in frames for v in frame), c.x.channels)
    c.program.step(pad_pixels(c.x.dtype), (c.x,), (room,), constants, sizes[0] * sizes[1])
    return room, dimensions
