"""Dropout: the mask is a function of key, node and the element's position in NumPy's order, whatever the layout."""

from numba import njit

from .lowering import BATCH, PLAIN, SAME, lowering
from .native import INT64, Pointer, kernel


@njit(error_model="numpy")
def mix(x):
    """Final mixing of splitmix64 (Steele et al., OOPSLA 2014) on an int64."""
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


@kernel
def dropout(T):
    """y = x * scale where the element is kept, else 0; a unit is a pixel.

    Position in NumPy's order: ((n * channels + c) * pixels + p), n = block * lanes + lane.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, key: INT64, y: Pointer,
        channels: int, pixels: int, lanes: int, salt: int, threshold: int, scale: float,
    ):  # fmt: skip
        stream = mix(mix(key[0] + 0x632BE59BD9B4E019) + key[1] * 0x1E3779B97F4A7C15 + salt)
        for p in range(begin, end):
            for c in range(channels):
                for lane in range(lanes):
                    position = ((block * lanes + lane) * channels + c) * pixels + p
                    i = (p * channels + c) * lanes + lane
                    # 32 random bits against p * 2^32
                    bits = (mix(stream + position * -7046029254386353131) >> 32) & 0xFFFFFFFF
                    y[i] = x[i] * scale if bits >= threshold else 0.0 * x[i]

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
