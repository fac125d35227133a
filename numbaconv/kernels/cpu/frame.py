"""A lone image with its padding written out, for convolutions whose rows are a few register tiles long.

At borders ``conv.correlate`` leaves taps out, which costs a row a tile or two of its own.  That is little for long
rows; the deep strided layers of a residual network have rows of 14 and 7 pixels.
"""

from .algorithm import FORWARD, Convolution
from .lowering import Buffer
from .remap import remap_step

#: Channels from which copying a pixel is nothing beside multiplying it.
LEAST_CHANNELS = 32

#: Rows of so many output pixels have their padding written out.
LONGEST_ROW = 32


def worth_padding(c: Convolution) -> bool:
    """Whether the pass reads padding, and its rows are short."""
    lone = c.y.lanes == 1 and c.direction == FORWARD and c.groups == 1 and c.has_padding
    return lone and c.x.channels >= LEAST_CHANNELS and c.sizes[0][2] <= LONGEST_ROW


def padded(c: Convolution) -> tuple[Buffer, list[tuple[int, ...]]]:
    """Append the step that writes the padding out; gives the padded image, and the pass's dimensions on it."""
    dimensions: list[tuple[int, ...]] = []
    maps = []
    for o, i, k, phases, tap_step, step, stride, start, dilation in c.dimensions:
        size = (o - 1) * step + (k - 1) * dilation + 1  # what the pass reads
        maps.append(tuple(p if 0 <= p < i else -1 for p in range(start, start + size)))
        dimensions.append((o, size, k, phases, tap_step, step, stride, 0, dilation))
    sizes = tuple(map(len, maps))
    room = c.program.per_block(c.x, sizes[0] * sizes[1] * sizes[2] * c.x.channels)
    remap_step(c.program, c.x, room, maps, (sizes, c.sizes[1]), c.x.channels, 0.0)
    return room, dimensions
