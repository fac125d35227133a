"""Operators that move numbers: reshape, and repetition along dimensions."""

import numpy as np

from .lowering import BATCH, PLAIN, ceil_div, lowering
from .native import Ints, Pointer, kernel
from .reorder import copy_step
from .target import LANES
from .vector import load, load_first, splat, store, store_first

FILL_UNIT = 64 * LANES  # elements that one unit of a fill writes


def _reshape_layout(node):
    """Flattening and unflattening of channels and pixels stays within a block."""
    (x,), (y,) = node.inputs, node.outputs
    within = x.shape[:1] == y.shape[:1] and min(x.ndim, y.ndim) == 2 and max(x.ndim, y.ndim) > 2
    return (BATCH if within else PLAIN,)


@kernel
def swap(T):
    """[rows][columns][lanes] to [columns][rows][lanes]; a unit is a row."""

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, sizes: Ints(3)):
        rows, columns, lanes = sizes
        for i in range(begin, end):
            for j in range(columns):
                if lanes == LANES:
                    store(y, (j * rows + i) * LANES, load(x, (i * columns + j) * LANES))
                else:
                    y[j * rows + i] = x[i * columns + j]

    return loop


@lowering("reshape", inputs=_reshape_layout, outputs=_reshape_layout)
def lower_reshape(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    if x.layout == PLAIN:
        copy_step(program, x, y)
        return
    # pixels x channels become channels x pixels, the order in which features are counted, or the reverse
    image = x if len(x.shape) > 2 else y
    rows, columns = (image.pixels, image.channels) if image is x else (image.channels, image.pixels)
    program.step(swap(x.dtype), (x,), (y,), (rows, columns, x.lanes), rows)


@kernel
def fill(T):
    """One number everywhere; a unit is ``FILL_UNIT`` elements."""

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, n: int):
        v = splat(x, x[0])
        for i in range(begin * FILL_UNIT, min(n, end * FILL_UNIT), LANES):
            store_first(y, i, v, n - i)

    return loop


@lowering("expand", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_expand(program, node, inputs, outputs):
    y = outputs[0]
    program.step(fill(y.dtype), inputs, outputs, (y.elements,), ceil_div(y.elements, FILL_UNIT))


def zero_step(program, y) -> None:
    """Append a step that fills ``y`` with zeros."""
    zero = program.constant(np.zeros(1, y.dtype))
    program.step(fill(y.dtype), (zero,), (y,), (y.elements,), ceil_div(y.elements, FILL_UNIT))


@kernel
def repeat(T, images):
    """y[pixel, channel] = x[channel] for every pixel of a block; a unit is a pixel."""

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, channels: int, batch: int):
        for i in range(begin, end):
            if images:
                for c in range(channels):
                    # lanes without an image stay zero
                    store(y, (i * channels + c) * LANES, splat(x, 0.0))
                    store_first(y, (i * channels + c) * LANES, splat(x, x[c]), batch - block * LANES)
            else:
                for c in range(0, channels, LANES):
                    store_first(y, i * channels + c, load_first(x, c, channels - c), channels - c)

    return loop


@lowering("channel_broadcast", inputs=(PLAIN,), outputs=(BATCH,))
def lower_channel_broadcast(program, node, inputs, outputs):
    y = outputs[0]
    program.step(repeat(y.dtype, images=y.lanes > 1), inputs, outputs, (y.channels, y.batch), y.pixels)


@kernel
def over_channels(T, total):
    """Sum over channels (``total``) or repetition in every channel; a unit is a pixel."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer, channels: int, lanes: int, rows: int, rest: int
    ):
        for pixel in range(begin, end):
            i, flat = pixel, pixel % rest * rows + pixel // rest
            for lane in range(lanes):
                if total:
                    s = x[i * channels * lanes + lane]
                    for c in range(1, channels):
                        s += x[(i * channels + c) * lanes + lane]
                    y[flat * lanes + lane] = s
                else:
                    for c in range(channels):
                        y[(i * channels + c) * lanes + lane] = x[flat * lanes + lane]

    return loop


@lowering("channel_total", "channel_repeat", inputs=(BATCH,), outputs=(BATCH,))
def lower_over_channels(program, node, inputs, outputs):
    total = node.op.name == "channel_total"
    image, flat = (inputs[0], outputs[0]) if total else (outputs[0], inputs[0])
    # the value without channels has shape (N, *spatial): its first spatial dimension lies where channels would
    constants = (image.channels, image.lanes, flat.channels, flat.pixels)
    program.step(over_channels(image.dtype, total=total), inputs, outputs, constants, image.pixels)
