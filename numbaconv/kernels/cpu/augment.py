"""Random colours, three numbers an image."""

from .counter import stream_of, word_at
from .lowering import BATCH, PLAIN, lowering
from .native import INT64, Pointer, kernel


@kernel
def jitter_colors(T):
    """y = contrast (grey + saturation (x - grey)) + brightness; a unit is a pixel."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, key: INT64, y: Pointer,
        channels: int, lanes: int, batch: int, salt: int, brightness: float, contrast: float, saturation: float,
    ):  # fmt: skip
        stream = stream_of(key[0], key[1], salt)
        for lane in range(lanes):
            n = block * lanes + lane
            # Lanes without an image stay zero.
            offset = brightness * (word_at(stream, 3 * n) / 2147483648.0 - 1.0) if n < batch else 0.0
            factor = 1.0 + contrast * (word_at(stream, 3 * n + 1) / 2147483648.0 - 1.0)
            colour = factor * (1.0 + saturation * (word_at(stream, 3 * n + 2) / 2147483648.0 - 1.0))
            for pixel in range(begin, end):
                at = pixel * channels * lanes + lane
                grey = 0.0
                for c in range(channels):
                    grey += x[at + c * lanes]
                grey /= channels
                for c in range(channels):
                    y[at + c * lanes] = colour * (x[at + c * lanes] - grey) + (factor * grey + offset)

    return loop


@lowering("jitter_colors", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_jitter_colors(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    attrs = node.attrs
    constants = (
        x.channels, x.lanes, x.batch, attrs["salt"], attrs["brightness"], attrs["contrast"], attrs["saturation"],
    )  # fmt: skip
    program.step(jitter_colors(y.dtype), inputs, outputs, constants, x.pixels)
