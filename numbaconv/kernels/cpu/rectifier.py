"""Activations made of straight pieces.  Comparisons are false for NaN, which is why each keeps v where they are."""

from .counter import share_at, stream_of
from .elementwise import elementwise
from .lowering import BATCH, PLAIN, SAME, lowering
from .native import INT64, Pointer, kernel
from .vector import maximum, minimum, where


@elementwise("leaky")
def leaky(v, x, negative_slope):
    return where(x > 0.0, v, v * negative_slope)


@elementwise("above")
def above(v, x, threshold, value):
    return where(x <= threshold, value, v)


@elementwise("between")
def between(v, x, low, high, at_low, at_high):
    return where(x <= low, at_low, where(x >= high, at_high, v))


@elementwise("within")
def within(v, x, low, high, at_low, at_high):
    return where(x < low, at_low, where(x > high, at_high, v))


@elementwise("outside")
def outside(v, x, bound):
    return where(x < -bound, v, where(x <= bound, 0.0, v))


@elementwise("not_above")
def not_above(v, x):
    return where(x > 0.0, 0.0, v)


@elementwise("prelu")
def prelu(v, x, slope):
    return where(x > 0.0, v, v * slope)


@elementwise("hardswish")
def hardswish(x):
    bounded = maximum(-3.0, x)  # -infinity times 0 is not a number
    return bounded * minimum(6.0, bounded + 3.0) * (1.0 / 6.0)


@elementwise("hardswish_grad")
def hardswish_grad(g, x):
    return where(x <= -3.0, 0.0, where(x >= 3.0, g, g * (x * (1.0 / 3.0) + 0.5)))


@kernel
def uniform(T):
    """Numbers between ``low`` and ``low + span``, 24 bits each; positions as in ``dropout``."""

    def loop(
        begin, end, block: int, first: int, key: INT64, y: Pointer,
        channels: int, pixels: int, lanes: int, salt: int, low: float, span: float,
    ):  # fmt: skip
        stream = stream_of(key[0], key[1], salt)
        for p in range(begin, end):
            for c in range(channels):
                for lane in range(lanes):
                    position = ((block * lanes + lane) * channels + c) * pixels + p
                    y[(p * channels + c) * lanes + lane] = low + span * share_at(stream, position)

    return loop


@lowering("uniform_like", inputs=(SAME, PLAIN), outputs=(SAME,))
def lower_uniform_like(program, node, inputs, outputs):
    y, attrs = outputs[0], node.attrs
    channels, pixels, lanes = (y.channels, y.pixels, y.lanes) if y.layout == BATCH else (1, y.elements, 1)
    constants = (channels, pixels, lanes, attrs["salt"], float(attrs["low"]), float(attrs["high"] - attrs["low"]))
    program.step(uniform(y.dtype), inputs[1:], outputs, constants, pixels)
