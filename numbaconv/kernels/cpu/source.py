"""Batches picked by index out of resident arrays, straight into lanes."""

import numpy as np

from ..source import pixel_table
from .counter import stream_of, word_at
from .lowering import BATCH, PLAIN, lowering
from .native import FLOAT64, INT64, UINT8, Pointer, kernel


@kernel
def take_images(T, bytes_in):
    """Images as numbers, normalised, shifted, mirrored and cut out; a unit is a row of a channel with its border.

    Scale and offset of channel c are ``table[2 c]``, ``table[2 c + 1]``: value * scale + offset.
    """
    source = UINT8 if bytes_in else Pointer

    def loop(
        begin, end, block: int, first: int, images: source, indices: INT64, key: INT64, table: FLOAT64, y: Pointer,
        count: int, channels: int, height: int, width: int, pad: int, batch: int, lanes: int,
        shift: int, flip: int, cutout: int, down: int, right: int, mirrored: int, salt: int,
    ):  # fmt: skip
        out_width, out_height = width + 2 * pad, height + 2 * pad
        valid = min(lanes, batch - block * lanes)
        moves = shift > 0 or flip > 0
        stream = stream_of(key[0], key[1], salt) if moves or cutout > 0 else 0
        for unit in range(begin, end):
            row = unit // channels
            c = unit - row * channels
            scale, offset = table[2 * c], table[2 * c + 1]
            for lane in range(lanes):
                at = (row * out_width * channels + c) * lanes + lane
                step = channels * lanes
                n = block * lanes + lane
                h, start, direction = row - pad + down, right - pad, 1
                if moves:
                    h += word_at(stream, 3 * n) % (2 * shift + 1) - shift
                    start += word_at(stream, 3 * n + 1) % (2 * shift + 1) - shift
                mirror = mirrored > 0
                if flip > 0 and word_at(stream, 3 * n + 2) & 1:
                    mirror = not mirror
                if mirror:
                    start, direction = start + out_width - 1, -1
                # columns whose source, start + direction * w, lies inside the image: [low, high)
                low, high = (-start, width - start) if direction > 0 else (start - width + 1, start + 1)
                low, high = max(0, low), min(out_width, high)
                border = offset
                if lane >= valid:
                    border, high = 0.0, low
                if h < 0 or h >= height or high < low:
                    low = high = 0
                image = min(max(indices[min(n, batch - 1)], 0), count - 1)  # never read outside
                source_row = ((image * channels + c) * height + h) * width + start
                for w in range(low):
                    y[at + w * step] = border
                for w in range(low, high):
                    y[at + w * step] = images[source_row + direction * w] * scale + offset
                for w in range(high, out_width):
                    y[at + w * step] = border
                if cutout > 0:
                    top = word_at(stream, -1 - 2 * n) % out_height - cutout // 2
                    left = word_at(stream, -2 - 2 * n) % out_width - cutout // 2
                    if top <= row and row < top + cutout:
                        for w in range(max(0, left), min(out_width, left + cutout)):
                            y[at + w * step] = 0.0

    return loop


@lowering("take_images", inputs=(PLAIN,), outputs=(BATCH,))
def lower_take_images(program, node, inputs, outputs):
    images, indices, *key = inputs
    y = outputs[0]
    attrs, bytes_in = node.attrs, images.dtype == np.uint8
    table = program.constant(pixel_table(images.dtype, attrs["mean"], attrs["std"]))
    count, channels, height, width = images.shape
    constants = (
        count, channels, height, width, attrs["pad"], y.batch, y.lanes,
        attrs["shift"], int(attrs["flip"]), attrs["cutout"], *map(int, attrs["view"]), attrs["salt"],
    )  # fmt: skip
    units = (height + 2 * attrs["pad"]) * channels
    # Without a key nothing moves, and the operand is not read.
    operands = (images, indices, key[0] if key else indices, table)
    program.step(take_images(y.dtype, bytes_in=bytes_in), operands, outputs, constants, units)


@kernel
def take_labels(T):
    """labels[indices]; a unit is an index."""

    def loop(begin, end, block: int, first: int, labels: INT64, indices: INT64, y: INT64, count: int):
        for i in range(begin, end):
            y[i] = labels[min(max(indices[i], 0), count - 1)]

    return loop


@lowering("take_labels", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_take_labels(program, node, inputs, outputs):
    program.step(take_labels("int64"), inputs, outputs, (inputs[0].elements,), outputs[0].elements)
