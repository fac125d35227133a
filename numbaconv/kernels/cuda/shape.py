"""Operators that move numbers: reshape, and repetition along dimensions."""

from .compiler import Pointer, block, kernel
from .intrinsics import block_x, read_if, thread, write_if
from .lowering import BATCH, PLAIN, ceil_div, lowering
from .reorder import copy_step, fill_step, transpose_step

THREADS = 256


def _reshape_layout(node):
    """Flattening and unflattening of channels and pixels stays within an image."""
    (x,), (y,) = node.inputs, node.outputs
    within = x.shape[:1] == y.shape[:1] and min(x.ndim, y.ndim) == 2 and max(x.ndim, y.ndim) > 2
    return (BATCH if within else PLAIN,)


@lowering("reshape", inputs=_reshape_layout, outputs=_reshape_layout)
def lower_reshape(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    if BATCH not in (x.layout, y.layout):
        copy_step(program, x, y)
        return
    # pixels x channels become channels x pixels, the order in which features are counted, or the reverse
    image = x if x.layout == BATCH else y
    sizes = (image.pixels, image.channels) if image is x else (image.channels, image.pixels)
    transpose_step(program, x, y, image.batch, *sizes)


@lowering("expand", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_expand(program, node, inputs, outputs):
    fill_step(program, inputs[0], outputs[0])


@kernel
def repeat(T):
    """y[pixel, channel] = x[channel]; an element a thread."""

    @block(THREADS, 8)
    def loop(x: Pointer, y: Pointer, n: int, channels: int):
        i = block_x() * THREADS + thread()
        write_if(i < n, y, i, read_if(i < n, x, i % channels))

    return loop


@lowering("channel_broadcast", inputs=(PLAIN,), outputs=(BATCH,))
def lower_channel_broadcast(program, node, inputs, outputs):
    y = outputs[0]
    program.launch(repeat(y.dtype), ceil_div(y.elements, THREADS), inputs, outputs, (y.elements, y.channels))


@kernel
def over_channels(T, total):
    """Sum over channels (``total``), a pixel a thread, or repetition in every channel, an element a thread."""

    @block(THREADS, 8)
    def sums(x: Pointer, y: Pointer, n: int, channels: int):
        i = block_x() * THREADS + thread()
        found = read_if(i < n, x, i * channels)
        for before in range(channels - 1):
            found = found + read_if(i < n, x, i * channels + (before + 1))
        write_if(i < n, y, i, found)

    @block(THREADS, 8)
    def repeated(x: Pointer, y: Pointer, n: int, channels: int):
        i = block_x() * THREADS + thread()
        write_if(i < n, y, i, read_if(i < n, x, i // channels))

    return sums if total else repeated


@lowering("channel_total", inputs=(BATCH,), outputs=(PLAIN,))
def lower_channel_total(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    grid = ceil_div(y.elements, THREADS)
    program.launch(over_channels(y.dtype, total=True), grid, inputs, outputs, (y.elements, x.channels))


@lowering("channel_repeat", inputs=(PLAIN,), outputs=(BATCH,))
def lower_channel_repeat(program, node, inputs, outputs):
    y = outputs[0]
    grid = ceil_div(y.elements, THREADS)
    program.launch(over_channels(y.dtype, total=False), grid, inputs, outputs, (y.elements, y.channels))
