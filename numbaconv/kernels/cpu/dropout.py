"""Dropout: the mask is a function of key, node and the element's position in NumPy's order, whatever the layout."""

from .counter import stream_of, word_at
from .lowering import BATCH, PLAIN, SAME, lowering
from .native import INT64, Pointer, kernel


@kernel
def dropout(T):
    """y = x * scale where the element is kept, else 0; a unit is a pixel.

    Position in NumPy's order: ((n * channels + c) * pixels + p), n = block * lanes + lane.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, key: INT64, y: Pointer,
        channels: int, pixels: int, lanes: int, salt: int, threshold: int, scale: float,
    ):  # fmt: skip
        stream = stream_of(key[0], key[1], salt)
        for p in range(begin, end):
            for c in range(channels):
                for lane in range(lanes):
                    position = ((block * lanes + lane) * channels + c) * pixels + p
                    i = (p * channels + c) * lanes + lane
                    # threshold is p * 2^32
                    y[i] = x[i] * scale if word_at(stream, position) >= threshold else 0.0 * x[i]

    return loop


@lowering("dropout", inputs=(SAME, PLAIN), outputs=(SAME,))
def lower_dropout(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    p = node.attrs["p"]
    if x.layout == BATCH:
        channels, pixels, lanes = x.channels, x.pixels, x.lanes
    else:  # NumPy's order is the order of positions
        channels, pixels, lanes = 1, x.elements, 1
    constants = (
        channels, pixels, lanes, node.attrs["salt"], round(p * 2**32), float(1.0 / (1.0 - p)) if p < 1.0 else 0.0,
    )  # fmt: skip
    program.step(dropout(y.dtype), inputs, outputs, constants, pixels)
