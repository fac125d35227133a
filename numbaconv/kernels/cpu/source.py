"""Batches picked by index out of resident arrays, straight into lanes."""

import numpy as np

from .lowering import BATCH, PLAIN, lowering
from .native import FLOAT64, INT64, UINT8, Pointer, kernel


@kernel
def take_images(T, bytes_in):
    """Images as numbers, normalised; a unit is a row of a channel with its border.

    Scale and offset of channel c are ``table[2 c]``, ``table[2 c + 1]``: value * scale + offset.
    """
    source = UINT8 if bytes_in else Pointer

    def loop(
        begin, end, block: int, first: int, images: source, indices: INT64, table: FLOAT64, y: Pointer,
        count: int, channels: int, height: int, width: int, pad: int, batch: int, lanes: int,
    ):  # fmt: skip
        out_width = width + 2 * pad
        valid = min(lanes, batch - block * lanes)
        for unit in range(begin, end):
            row = unit // channels
            c = unit - row * channels
            h = row - pad
            scale, offset = table[2 * c], table[2 * c + 1]
            for lane in range(lanes):
                at = (row * out_width * channels + c) * lanes + lane
                step = channels * lanes
                border = offset if lane < valid else 0.0
                if lane >= valid or h < 0 or h >= height:
                    for w in range(out_width):
                        y[at + w * step] = border
                else:
                    image = min(max(indices[block * lanes + lane], 0), count - 1)  # never read outside
                    source_row = ((image * channels + c) * height + h) * width
                    for w in range(pad):
                        y[at + w * step] = border
                        y[at + (out_width - 1 - w) * step] = border
                    for w in range(width):
                        y[at + (w + pad) * step] = images[source_row + w] * scale + offset

    return loop


@lowering("take_images", inputs=(PLAIN,), outputs=(BATCH,))
def lower_take_images(program, node, inputs, outputs):
    images, indices = inputs
    y = outputs[0]
    attrs, bytes_in = node.attrs, images.dtype == np.uint8
    scales = [1.0 / (255.0 * s) if bytes_in else 1.0 for s in attrs["std"]]
    offsets = [-m / s if bytes_in else 0.0 for m, s in zip(attrs["mean"], attrs["std"], strict=True)]
    table = program.constant(np.array([v for pair in zip(scales, offsets, strict=True) for v in pair]))
    count, channels, height, width = images.shape
    constants = (count, channels, height, width, attrs["pad"], y.batch, y.lanes)
    units = (height + 2 * attrs["pad"]) * channels
    program.step(take_images(y.dtype, bytes_in=bytes_in), (images, indices, table), outputs, constants, units)


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
