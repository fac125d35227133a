"""Batches picked by index out of resident arrays."""

import numpy as np

from ..source import pixel_table
from .compiler import FLOAT64, INT64, UINT8, Pointer, block, kernel
from .counter import stream_of, word_at
from .intrinsics import block_x, f32, i32, i64, maximum, minimum, read, read_if, read_wide, thread, where, write_if
from .lowering import BATCH, PLAIN, ceil_div, lowering

THREADS = 256


@kernel
def take_images(T, bytes_in, shift, flip, cutout):
    """Images as numbers, normalised, shifted, mirrored and cut out, in NHWC; an element a thread.

    Scale and offset of channel c are ``table[2 c]``, ``table[2 c + 1]``: value * scale + offset.  ``shift``, ``flip``
    and ``cutout`` say whether there is any.
    """
    source = UINT8 if bytes_in else Pointer
    random = shift or flip or cutout

    @block(THREADS, 4)
    def loop(
        images: source, indices: INT64, key: INT64, table: FLOAT64, y: Pointer,
        size: int, count: int, channels: int, height: int, width: int, pad: int,
        reach: int, square: int, down: int, right: int, mirrored: int, salt: int,
    ):  # fmt: skip
        i = block_x() * THREADS + thread()
        inside = i < size
        out_width, out_height = width + 2 * pad, height + 2 * pad
        pixel = i // channels
        c = i - pixel * channels
        line = pixel // out_width
        column = pixel - line * out_width
        n = line // out_height
        row = line - n * out_height
        h, w = row - pad + down, column
        start, mirror = right - pad, mirrored > 0
        if random:
            stream = stream_of(read_wide(key, 0), read_wide(key, 1), i64(salt))
            number = i64(n)
        if shift:
            choices = i64(2 * reach + 1)
            h = h + (i32(word_at(stream, 3 * number) % choices) - reach)
            start = start + (i32(word_at(stream, 3 * number + 1) % choices) - reach)
        if flip:
            mirror = mirror ^ ((i32(word_at(stream, 3 * number + 2)) & 1) > 0)
        w = start + where(mirror, out_width - 1 - w, w)
        shown = inside & (h >= 0) & (h < height) & (w >= 0) & (w < width)
        image = minimum(maximum(read_if(inside, indices, n), 0), count - 1)  # never read outside
        value = f32(read_if(shown, images, ((image * channels + c) * height + h) * width + w))
        scale, offset = read_if(inside, table, 2 * c), read_if(inside, table, 2 * c + 1)
        value = where(shown, value * scale + offset, offset)
        if cutout:
            top = i32(word_at(stream, -1 - 2 * number) % i64(out_height)) - square // 2
            left = i32(word_at(stream, -2 - 2 * number) % i64(out_width)) - square // 2
            hidden = (row >= top) & (row < top + square) & (column >= left) & (column < left + square)
            value = where(hidden, 0.0, value)
        write_if(inside, y, i, value)

    return loop


@lowering("take_images", inputs=(PLAIN,), outputs=(BATCH,))
def lower_take_images(program, node, inputs, outputs):
    images, indices, *key = inputs
    y = outputs[0]
    attrs, bytes_in = node.attrs, images.dtype == np.uint8
    table = program.constant(pixel_table(images.dtype, attrs["mean"], attrs["std"]))
    shift, cutout = attrs["shift"], attrs["cutout"]
    made = take_images(y.dtype, bytes_in=bytes_in, shift=shift > 0, flip=bool(attrs["flip"]), cutout=cutout > 0)
    constants = (
        y.elements, *images.shape, attrs["pad"], shift, cutout, *map(int, attrs["view"]), attrs["salt"],
    )  # fmt: skip
    # Without a key nothing moves, and the operand is not read.
    operands = (images, indices, key[0] if key else indices, table)
    program.launch(made, ceil_div(y.elements, THREADS), operands, outputs, constants)


@kernel
def take_labels(T):
    """labels[indices]; an index a thread."""

    @block(THREADS, 4)
    def loop(labels: INT64, indices: INT64, y: INT64, count: int, n: int):
        i = block_x() * THREADS + thread()
        at = minimum(maximum(read_if(i < n, indices, i), 0), count - 1)
        write_if(i < n, y, i, read(labels, at))

    return loop


@lowering("take_labels", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_take_labels(program, node, inputs, outputs):
    n = outputs[0].elements
    constants = (inputs[0].elements, n)
    program.launch(take_labels("int64"), ceil_div(n, THREADS), inputs, outputs, constants)
